"""The reward of a completion: named terms, each a function of what the completion said.

    R = w_answer * answer + w_verdict * verdict + w_format * format + w_localization * localization

Each term is in [0, 1], or `None` where it does not apply. TRL receives one function per term and
the weights, and does the sum. The idea of paying for verdicts on outside chains of thought is from
ReaLM (arXiv 2508.12387); the formulas are our own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field, NonNegativeFloat

from realm.core.settings import Section
from realm.method.steps import score_flaws

if TYPE_CHECKING:
    from realm.core.records import Judged

RewardTerm = Callable[["Judged"], float | None]


class ExtraTerm(Section):
    """A reward term of the user's own."""

    weight: float
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
    localization: NonNegativeFloat = 0.0
    """The first step of a flawed route that does not hold is named, where it is known."""
    verdict_label: Literal["outcome", "process"] = "outcome"
    """What a verdict is compared with: the route reaches the gold answer, or each step holds."""
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


def score_localization(judged: Judged) -> float | None:
    """Return how well the first flaws of the flawed routes are named; `None` if none is known."""
    if not judged.flaws:
        return None
    return score_flaws(judged.verdicts, judged.checks, judged.labels, judged.flaws)


TERMS: Mapping[str, RewardTerm] = {
    "answer": score_answer,
    "verdict": score_verdicts,
    "format": score_format,
    "localization": score_localization,
}
"""The built-in terms, in the order in which TRL receives them."""


def weigh_terms(weights: RewardWeights) -> dict[str, tuple[float, RewardTerm]]:
    """Return the built-in terms with their weights; localization only if it is paid."""
    weighed = {name: (getattr(weights, name), function) for name, function in TERMS.items()}
    if not weights.localization:
        del weighed["localization"]
    return weighed


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
