"""Where a route goes wrong: its steps, the first flawed one, and whether a check names it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from realm.core.records import Route

NEAR = 0.5
"""Similarity below which a right route is too unlike a wrong one to say where the wrong one departs."""
_QUOTED = 0.6
"""Share of a step's words that a check must repeat to quote it."""
_NUMBER = re.compile(r"\b(?:step|line)\s*#?\s*(\d{1,4})\b", re.IGNORECASE)
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Flaw:
    """The first flawed step of a route, among all its steps."""

    steps: tuple[str, ...]
    index: int
    answers: tuple[str, ...] = ()
    """What the route and the problem answer: a check that repeats these names no step by it."""


def words(text: str) -> list[str]:
    """Return the words and numbers of `text`, in lower case."""
    return _WORD.findall(text.lower())


def steps_of(route: Route) -> tuple[str, ...]:
    """Return the steps of a route: its lines or, of a single one, its sentences; a line that is its answer is none.

    >>> steps_of(Route(problem_id="p", source="s", text="22. 30 - 8 = 24. So it is 24.", answer="24", correct=False))
    ('22.', '30 - 8 = 24.', 'So it is 24.')
    """
    lines = [line.strip() for line in route.text.splitlines() if line.strip()]
    if len(lines) == 1:
        lines = re.split(r"(?<=[.!?;])\s+", lines[0])
    return tuple(line for line in lines if words(line) and words(line) != words(str(route.answer)))


def similarity(a: str, b: str) -> float:
    """Return how alike two texts are, word by word: 1 for the same words, 0 for none in common."""
    return SequenceMatcher(None, words(a), words(b), autojunk=False).ratio()


def departure(route: Route, positives: Sequence[Route]) -> int | None:
    """Return the index of the first step of `route` that the nearest of `positives` does not have.

    `None` where no positive is near: two ways of putting the same thing differ from their first line on, and say nothing.
    """
    alike = [(similarity(route.text, positive.text), positive) for positive in positives]
    nearest, positive = max(alike, key=lambda pair: pair[0], default=(0.0, None))
    if positive is None or nearest < NEAR:
        return None
    there = {tuple(words(step)) for step in steps_of(positive)}
    return next(
        (index for index, step in enumerate(steps_of(route)) if tuple(words(step)) not in there),
        None,
    )


def without_opening_answer(route: Route) -> str:
    """Return the text of a route without a first line that is its answer and nothing else: who is taught it must reason first."""
    first, _, rest = route.text.strip().partition("\n")
    return rest if rest.strip() and words(first) == words(str(route.answer)) else route.text


def check_against(route: Route, chain: Route, gold: str, show: Callable[[Any], str]) -> str:
    """Return the check of a labelled route that no teacher wrote one for: what it answers and, where that is wrong, what it
    should answer and the first step of the right `chain` that it does not have, if the two are near enough to say so.
    """
    said = "no answer" if route.answer is None else show(route.answer)
    if route.correct:
        return f"{said} holds"
    there = {tuple(words(step)) for step in steps_of(route)}
    missing = next((step for step in steps_of(chain) if tuple(words(step)) not in there), None)
    if missing is None or similarity(route.text, chain.text) < NEAR:
        return f"{said} not {gold}"
    return f"{said} not {gold} from {missing}"


def find_flaw(route: Route, gold: Any, positives: Sequence[Route]) -> Flaw | None:
    """Return the first flawed step of a route: where its author knows it, else where it departs from the nearest positive.

    `None` where neither is known. With no `positives` only the author is asked.
    """
    steps = steps_of(route)
    if route.flaw is not None:
        index = next(
            (place for place, step in enumerate(steps) if words(step) == words(route.flaw)), None
        )
    else:
        index = departure(route, positives)
    return None if index is None else Flaw(steps, index, (str(route.answer), str(gold)))


def names_flaw(check: str | None, flaw: Flaw) -> float:
    """Return the credit for naming the flawed step in a check: 1 for it alone, a share for it among others, else 0.

    A step is named by its number ("step 3"), else by quoting it, else by its first word where no other step begins so (the
    topic of the steps of `claims`). Only the first of these ways that names any step counts, so what quotes all of n steps
    earns 1/n.

    >>> flaw = Flaw(("fee 42 allows 30", "copay 6 leaves 21"), 1, ("pay 21", "pay 24"))
    >>> [names_flaw(check, flaw) for check in ("pay 21 not pay 24 from copay 24", "step 1", "fee and copay", "wrong")]
    [1.0, 0.0, 0.5, 0.0]
    """
    if check is None:
        return 0.0
    named = _numbered(check, flaw) or _quoted(check, flaw) or _begun(check, flaw)
    return 1 / len(named) if flaw.index in named else 0.0


def localization(
    verdicts: Sequence[bool | None],
    checks: Sequence[str | None],
    labels: Sequence[bool],
    flaws: Sequence[Flaw | None],
) -> float | None:
    """Return how well the flawed routes' first flaws are named: the mean credit, times the share of sound routes called sound.

    Credit takes the verdict "flawed". `None` unless the set holds both classes and a flaw is known. The factor keeps a policy
    from calling everything flawed: that earns nothing here.
    """
    assert len(verdicts) == len(checks) == len(labels) == len(flaws), (
        verdicts,
        checks,
        labels,
        flaws,
    )
    pairs = list(zip(verdicts, checks, labels, flaws, strict=True))
    credits = [
        names_flaw(check, flaw) if verdict is False else 0.0
        for verdict, check, label, flaw in pairs
        if not label and flaw is not None
    ]
    sound = [verdict is True for verdict, label in zip(verdicts, labels, strict=True) if label]
    if not credits or not sound:
        return None
    return sum(credits) / len(credits) * sum(sound) / len(sound)


def _numbered(check: str, flaw: Flaw) -> set[int]:
    return {
        int(number) - 1 for number in _NUMBER.findall(check) if 1 <= int(number) <= len(flaw.steps)
    }


def _quoted(check: str, flaw: Flaw) -> set[int]:
    said = _without(words(check), flaw.answers)
    pairs = [(index, set(words(step))) for index, step in enumerate(flaw.steps)]
    return {index for index, there in pairs if len(there & set(said)) >= _QUOTED * len(there)}


def _begun(check: str, flaw: Flaw) -> set[int]:
    said, heads = set(_without(words(check), flaw.answers)), [words(step)[0] for step in flaw.steps]
    return {index for index, head in enumerate(heads) if head in said and heads.count(head) == 1}


def _without(said: list[str], answers: Sequence[str]) -> list[str]:
    """Return `said` without the answers in it: "deny network" is an answer and names no step on the network."""
    for answer in sorted(map(words, answers), key=len, reverse=True):
        place = 0
        while answer and place + len(answer) <= len(said):
            if said[place : place + len(answer)] == answer:
                said = said[:place] + said[place + len(answer) :]
            else:
                place += 1
    return said
