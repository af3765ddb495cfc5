"""The reward of a completion: named terms, each a function of what the completion said.

    R = w_answer * answer + w_verdict * verdict + w_format * format + w_first_flaw * first_flaw

Each term is in [0, 1], or `None` where it does not apply. TRL receives one function per term and
the weights, and does the sum. The idea of paying for verdicts on outside chains of thought is from
ReaLM (arXiv 2508.12387); the formulas are our own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field, NonNegativeFloat

from realm.core.settings import Section

if TYPE_CHECKING:
    from realm.core.records import Judged

RewardTerm = Callable[["Judged"], float | None]


class ExtraTerm(Section):
    """A reward term of the user's own."""

    weight: float
    """What the term is multiplied by."""
    function: str
    """`module:function`, a function of a `realm.Judged` that returns a number, or `None` where the
    term does not apply. The module is looked for beside the config file first."""


class RewardWeights(Section):
    """The weight of each reward term."""

    answer: NonNegativeFloat = 1.0
    """The answer is right."""
    verdict: NonNegativeFloat = 0.5
    """The routes are judged rightly: the mean of the accuracies on right and on wrong routes."""
    format: NonNegativeFloat = 0.1
    """All blocks that the prompt asks for are there, once, in order."""
    first_flaw: NonNegativeFloat = 0.25
    """The first step of a flawed route that does not hold is named, where it is known."""
    verdict_label: Literal["process", "outcome"] = "process"
    """What a verdict is compared with. `process`: every step holds, or where that is unknown, the
    route reaches the gold answer. `outcome`: it reaches the gold answer."""
    extra: dict[str, ExtraTerm] = Field(default={})
    """Further terms by name."""


def score_answer(judged: Judged) -> float | None:
    """Return 1 for a right answer, 0 for a wrong one or none, `None` if it is undecided."""
    return None if judged.correct is None else float(judged.correct)


def score_verdicts(judged: Judged) -> float | None:
    """Return how well the routes shown are judged; `None` unless right and wrong ones are shown."""
    return balance_verdicts(judged.verdicts, judged.labels)


def score_format(judged: Judged) -> float:
    """Return 1 if all blocks that the prompt asks for are there, once, in order."""
    return float(judged.well_formed)


def score_first_flaws(judged: Judged) -> float | None:
    """Return how exactly the routes are checked; `None` unless both classes are shown.

    It is the product of two shares: of the sound routes, those called sound; of the flawed routes
    whose first flaw is known, those called flawed with exactly that step named. So a constant
    verdict earns nothing. Their mean would pay 1/2 for "always sound", more than an honest reader
    who still errs, and drove a training there.
    """
    sound = [
        verdict is True
        for verdict, label in zip(judged.verdicts, judged.labels, strict=True)
        if label is True
    ]
    exact = find_named_flaws(judged)
    if not sound or not exact:
        return None
    return sum(sound) / len(sound) * sum(exact) / len(exact)


def find_named_flaws(judged: Judged) -> list[bool]:
    """Return, of each flawed route whose first flaw is known, whether exactly that step is named.

    A route that is called sound names no step.
    """
    shown = zip(judged.verdicts, judged.named, judged.labels, judged.flaws, strict=False)
    return [
        verdict is False and named == flaw
        for verdict, named, label, flaw in shown
        if label is False and flaw is not None
    ]


TERMS: Mapping[str, RewardTerm] = {
    "answer": score_answer,
    "verdict": score_verdicts,
    "format": score_format,
    "first_flaw": score_first_flaws,
}
"""The built-in terms, in the order in which TRL receives them."""


def weigh_terms(weights: RewardWeights) -> dict[str, tuple[float, RewardTerm]]:
    """Return the built-in terms with their weights."""
    return {name: (getattr(weights, name), function) for name, function in TERMS.items()}


def balance_verdicts(
    verdicts: Sequence[bool | None], labels: Sequence[bool | None]
) -> float | None:
    """Return the mean of the accuracy on sound and the accuracy on flawed routes.

    It is `None` unless both classes are shown. There every constant verdict earns exactly 1/2; if
    sets of one class were paid as well, "always sound" would be the best policy wherever right
    routes are common. A verdict that is not stated is wrong.

    >>> balance_verdicts([True, True, None], [True, False, False])
    0.5
    """
    # A label of `None` (undecided) belongs to neither class.
    hits = {
        wanted: [
            verdict is label
            for verdict, label in zip(verdicts, labels, strict=True)
            if label is wanted
        ]
        for wanted in (True, False)
    }
    if not hits[True] or not hits[False]:
        return None
    return (sum(hits[True]) / len(hits[True]) + sum(hits[False]) / len(hits[False])) / 2
