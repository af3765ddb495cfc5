"""The records that stages exchange: problems, routes, and what completions say."""

from __future__ import annotations

from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One question with its gold answer.

    Example: `Problem(id="p1", split="train", question="What is 3 + 4?", answer=7)`.
    """

    id: str
    split: str
    """train, validation, test, test_rules or test_larger."""
    question: str
    answer: Any
    """The gold answer: a text, a number or a list of texts, depending on the verifier."""
    choices: list[str] | None = None
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Route:
    """One chain of thought for a problem, written by somebody else, with the verifier's label.

    Example: `Route(problem_id="p1", source="gpt-4o", text="3 + 4 = 8. Answer: 8", answer=8,
    correct=False)`.
    """

    problem_id: str
    source: str
    text: str
    answer: Any
    """The answer as the verifier reads it; None if the text states none."""
    correct: bool | None
    """The outcome label: whether the answer is right. None if the verifier could not decide; such
    a route is neither shown nor taught."""
    guided: bool = False
    """The author had the rule book. Such a chain is taught, and never shown as a route."""
    rationalized: bool = False
    """The author was shown the gold answer."""
    guide: tuple[str, ...] = ()
    """The units of the guide that were in the prompt, by the hash of their text."""
    process: bool | None = None
    """The process label: whether every step holds. None if unknown."""
    flaw: int | None = None
    """Number, from 1, of the first step that does not hold, as `method.steps.split_steps` counts
    them. None if there is none, or if it is unknown."""
    fix: str | None = None
    """What should stand at that step. None if unknown."""
    usage: dict[str, int] = field(default_factory=dict)
    cost_usd: float | None = None

    def is_sound(self, kind: str = "process") -> bool | None:
        """Return the true verdict of this route; None if the verifier could not decide.

        Args:
            kind: `process` for the label of its steps where that is known, and else of its
                outcome; `outcome` for whether its answer is right.
        """
        return self.process if kind == "process" and self.process is not None else self.correct


@dataclass(frozen=True, kw_only=True)
class RouteSet:
    """The routes that a prompt shows, in this order. An autonomous prompt has an empty set.

    >>> RouteSet(problem_id="p1").labels()
    ()
    """

    problem_id: str
    routes: tuple[Route, ...] = ()

    def labels(self, kind: str = "process") -> tuple[bool | None, ...]:
        """Return the true verdict of each route, see `Route.is_sound`."""
        return tuple(route.is_sound(kind) for route in self.routes)


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What one completion says, before the verifier reads its answer. None: not said.

    >>> Judgement(verdicts=(True, False), answer="7", well_formed=True).verdicts
    (True, False)
    """

    verdicts: tuple[bool | None, ...] = ()
    """Per route shown: True if the completion calls it sound, False if flawed."""
    named: tuple[int | None, ...] = ()
    """Per route shown: the number of the step that the completion says does not hold."""
    reasoning: str | None = None
    answer: str | None = None
    """The text of the answer block. Without one: the text outside the verification block."""
    well_formed: bool = False
    """Whether every block that the prompt asks for is there, once and in order."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What one completion says, and whether it is right.

    >>> Judged(text="<answer>7</answer>", answer=7, correct=True).verdicts
    ()
    """

    text: str
    answer: Any = None
    """The answer as the verifier reads it; `None` if the completion states none."""
    correct: bool | None
    """`False` if wrong or not said, `None` if the verifier could not decide (timed out)."""
    verdicts: tuple[bool | None, ...] = ()
    """Per route shown: `True` if the completion calls it sound, `False` if flawed."""
    labels: tuple[bool | None, ...] = ()
    """The true verdict of each route; empty for an autonomous prompt."""
    named: tuple[int | None, ...] = ()
    """Per route shown: the number of the step that the completion says does not hold."""
    flaws: tuple[int | None, ...] = ()
    """Per route shown: the number of the first step that does not hold, where it is known."""
    reasoning: str | None = None
    well_formed: bool = False
    """Whether every block that the prompt asks for is there, once and in order."""
    num_tokens: int = 0
    """Length of the completion in tokens; 0 if it was not counted."""


def find_required(record: Any) -> list[str]:
    """Return the fields of a record, or of its class, that have no default."""
    return [
        field.name
        for field in fields(record)
        if field.default is MISSING and field.default_factory is MISSING
    ]


def to_row(record: Any) -> dict[str, Any]:
    """Return a record as a JSON-ready dict, without optional fields that are None or empty."""
    needed = find_required(record)
    # A needed field stays when it is None: that a route states no answer is worth keeping.
    return {
        key: value
        for key, value in asdict(record).items()
        if key in needed or value not in (None, {}, ())
    }
