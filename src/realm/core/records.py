"""The records that stages exchange: problems, routes, and what completions say."""

from __future__ import annotations

from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from realm.method.steps import Flaw


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One question with its gold answer.

    Example: `Problem(id="p1", split="train", question="What is 3 + 4?", answer=7)`.
    """

    id: str
    split: str
    """train, validation, test or test_rules."""
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
    """The process label: whether every step is right. None if unknown."""
    check: str | None = None
    """The guided teacher's check of this route, up to the first wrong step, without a verdict."""
    flaw: str | None = None
    """The first wrong step, as a part of `text`. None if there is none, or if it is unknown."""
    usage: dict[str, int] = field(default_factory=dict)
    cost_usd: float | None = None


@dataclass(frozen=True, kw_only=True)
class RouteSet:
    """The routes that a prompt shows, in this order. An autonomous prompt has an empty set.

    >>> RouteSet(problem_id="p1").labels()
    ()
    """

    problem_id: str
    routes: tuple[Route, ...] = ()

    def labels(self, kind: str = "outcome") -> tuple[bool | None, ...]:
        """Return the true verdict of each route; None if the verifier could not decide.

        Args:
            kind: `outcome`, or `process` for the label of the steps where it is known.
        """
        is_process = kind == "process"
        return tuple(
            route.process if is_process and route.process is not None else route.correct
            for route in self.routes
        )


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What one completion says, before the verifier reads its answer. None: not said.

    >>> Judgement(verdicts=(True, False), answer="7", well_formed=True).verdicts
    (True, False)
    """

    verdicts: tuple[bool | None, ...] = ()
    """Per route shown: True if the completion calls it sound, False if flawed."""
    checks: tuple[str | None, ...] = ()
    """What the completion says of each route, verdict included."""
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
    checks: tuple[str | None, ...] = ()
    """What the completion says of each route, verdict included."""
    flaws: tuple[Flaw | None, ...] = ()
    """The first flawed step of each route where it is known."""
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
