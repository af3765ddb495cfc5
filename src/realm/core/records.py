"""The data that crosses a stage: problems, routes, what a completion said, and how it scored."""

from __future__ import annotations

from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from realm.method.steps import Flaw


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One question with its gold answer."""

    id: str
    split: str
    question: str
    answer: Any
    """The gold answer: a string, a number, or a list of strings, as the domain's answer kind reads it."""
    choices: list[str] | None = None
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Route:
    """One outside chain of thought for a problem, with the verifier's label."""

    problem_id: str
    source: str
    text: str
    answer: Any
    """What the verifier extracted from `text`; `None` when the route does not say."""
    correct: bool | None
    """The outcome label: the route reached the gold answer. `None` where the verifier could not tell in its time; such a
    route is neither shown nor taught."""
    guided: bool = False
    """The author had the rule book at hand: a chain to distil, never a route to show."""
    rationalized: bool = False
    """The author was shown the gold answer."""
    guide: tuple[str, ...] = ()
    """Which units of the guide were in the prompt, by the hash of their text."""
    process: bool | None = None
    """The process label: every step holds. `None` where nobody knows."""
    check: str | None = None
    """A verification of this route by the guided teacher, up to the first step that does not hold; without a verdict."""
    flaw: str | None = None
    """The first step of the text that does not hold, as the text has it. `None` where there is none, or nobody knows."""
    usage: dict[str, int] = field(default_factory=dict)
    cost_usd: float | None = None


@dataclass(frozen=True, kw_only=True)
class RouteSet:
    """The routes that one assisted prompt shows, in the order shown. An empty set is an autonomous prompt."""

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
    """What one completion said. `None` means "not said"."""

    verdicts: tuple[bool | None, ...] = ()
    """One verdict per shown route: `True` sound, `False` flawed."""
    checks: tuple[str | None, ...] = ()
    """What is said of each route, verdict included."""
    reasoning: str | None = None
    answer: str | None = None
    """The text of the answer block; where there is none, the text outside the verification block."""
    well_formed: bool = False
    """Every block that the prompt asks for is there, once, in order."""


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
    """Every block that the prompt asks for is there, once, in order."""
    num_tokens: int = 0
    """Length of the completion in tokens; 0 if it was not counted."""


def to_row(record: Any) -> dict[str, Any]:
    """Return `record` as a JSON-ready dict, without the optional fields that are `None` or empty."""
    needed = {
        field.name
        for field in fields(record)
        if field.default is MISSING and field.default_factory is MISSING
    }
    return {
        key: value
        for key, value in asdict(record).items()
        if key in needed or value not in (None, {}, ())
    }
