"""Where a route goes wrong: its steps, the first flawed one, and whether a check names it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from realm.core.records import Route

NEAR = 0.5
"""Below this similarity a right route does not show where a wrong one departs from it."""
_QUOTED = 0.6
"""Share of a step's words that a check must repeat to count as quoting it."""
_MAX_WORDS = 1000
"""Words of a text that are compared: matching is quadratic, and texts that loop can be long."""
_STEP_NUMBER = re.compile(r"\b(?:step|line)\s*#?\s*(\d{1,4})\b", re.IGNORECASE)
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Flaw:
    """The first flawed step of a route, among all its steps.

    Example: `Flaw(("3 + 4 = 8", "8 - 1 = 7"), index=0, answers=("7", "6"))`.
    """

    steps: tuple[str, ...]
    index: int
    answers: tuple[str, ...] = ()
    """The answers of the route and of the problem: a check that repeats them names no step."""


def split_words(text: str) -> list[str]:
    """Return the words and numbers of `text`, in lower case."""
    return _WORD.findall(text.lower())


def split_steps(route: Route) -> tuple[str, ...]:
    """Return the steps of a route: its lines, or its sentences if it has one line only.

    A line that only repeats the answer is not a step.

    >>> from realm.core.records import Route
    >>> text = "22. 30 - 8 = 24. So it is 24."
    >>> split_steps(Route(problem_id="p", source="s", text=text, answer="24", correct=False))
    ('22.', '30 - 8 = 24.', 'So it is 24.')
    """
    lines = [line.strip() for line in route.text.splitlines() if line.strip()]
    if len(lines) == 1:
        # Only before white space, so that 3.5 stays whole.
        lines = re.split(r"(?<=[.!?;])\s+", lines[0])
    answer = split_words(str(route.answer))
    return tuple(line for line in lines if split_words(line) not in ([], answer))


def word_similarity(a: str, b: str) -> float:
    """Return how alike two texts are, word by word: 1 for the same words, 0 for none in common."""
    words = split_words(a)[:_MAX_WORDS], split_words(b)[:_MAX_WORDS]
    return SequenceMatcher(None, *words, autojunk=False).ratio()


def find_departure(route: Route, positives: Sequence[Route]) -> int | None:
    """Return the index of the first step of `route` that the nearest of `positives` lacks.

    It is `None` if no positive is near: two different ways of solving a problem differ from their
    first line on, which says nothing.
    """
    alike = [(word_similarity(route.text, positive.text), positive) for positive in positives]
    nearest, positive = max(alike, key=lambda pair: pair[0], default=(0.0, None))
    if positive is None or nearest < NEAR:
        return None
    return _find_new_step(route, positive)


def _find_new_step(route: Route, other: Route) -> int | None:
    """Return the index of the first step of `route` that `other` lacks, word by word."""
    known = {tuple(split_words(step)) for step in split_steps(other)}
    steps = enumerate(split_steps(route))
    return next((i for i, step in steps if tuple(split_words(step)) not in known), None)


def drop_opening_answer(route: Route) -> str:
    """Return the text of a route without a first line that only states its answer.

    A model that is taught the text must reason before it answers.
    """
    first, _, rest = route.text.strip().partition("\n")
    is_answer = split_words(first) == split_words(str(route.answer))
    return rest if rest.strip() and is_answer else route.text


def write_check(route: Route, chain: Route, gold: str, render: Callable[[Any], str]) -> str:
    """Return the check of a labelled route that no teacher wrote one for.

    It says what the route answers. If that is wrong, it adds the right answer and, if the two texts
    are near enough to tell, the first step of the right `chain` that the route lacks.
    """
    said = "no answer" if route.answer is None else render(route.answer)
    if route.correct:
        return f"{said} holds"
    new = _find_new_step(chain, route)
    if new is None or word_similarity(route.text, chain.text) < NEAR:
        return f"{said} not {gold}"
    return f"{said} not {gold} from {split_steps(chain)[new]}"


def find_flaw(route: Route, gold: Any, positives: Sequence[Route]) -> Flaw | None:
    """Return the first flawed step of a route, or `None` if it is not known.

    It is the one its author names, else the step where it departs from the nearest of `positives`.
    """
    steps = split_steps(route)
    if route.flaw is not None:
        flaw = split_words(route.flaw)
        index = next((i for i, step in enumerate(steps) if split_words(step) == flaw), None)
    else:
        index = find_departure(route, positives)
    return None if index is None else Flaw(steps, index, (str(route.answer), str(gold)))


def score_check(check: str | None, flaw: Flaw) -> float:
    """Return the credit for naming the flawed step: 1 for it alone, a share for it among others.

    A step is named by its number ("step 3"), else by quoting it, else by its first word if no other
    step begins so. Only the first of these ways that names any step counts, and quoting all of n
    steps earns 1/n.

    >>> flaw = Flaw(("fee 42 allows 30", "copay 6 leaves 21"), 1, ("pay 21", "pay 24"))
    >>> checks = ("pay 21 not pay 24 from copay 24", "step 1", "fee and copay", "wrong")
    >>> [score_check(check, flaw) for check in checks]
    [1.0, 0.0, 0.5, 0.0]
    """
    if check is None:
        return 0.0
    words = _remove_answers(split_words(check), flaw.answers)
    named = (
        _find_numbered(check, flaw)
        or _find_quoted(set(words), flaw)
        or _find_first_words(set(words), flaw)
    )
    return 1 / len(named) if flaw.index in named else 0.0


def score_flaws(
    verdicts: Sequence[bool | None],
    checks: Sequence[str | None],
    labels: Sequence[bool | None],
    flaws: Sequence[Flaw | None],
) -> float | None:
    """Return how well the first flaws of the flawed routes are named.

    It is the mean credit of the checks whose verdict is "flawed", times the share of sound routes
    called sound. That factor makes calling everything flawed earn nothing. It is `None` unless both
    classes are shown and a flaw is known.
    """
    rows = list(zip(verdicts, checks, labels, flaws, strict=True))
    credits = [
        score_check(check, flaw) if verdict is False else 0.0
        for verdict, check, label, flaw in rows
        if label is False and flaw is not None
    ]
    sound = [verdict is True for verdict, _, label, _ in rows if label is True]
    if not credits or not sound:
        return None
    return sum(credits) / len(credits) * sum(sound) / len(sound)


def _find_numbered(check: str, flaw: Flaw) -> set[int]:
    numbers = [int(number) for number in _STEP_NUMBER.findall(check)]
    # A check may name a step that the route does not have.
    return {number - 1 for number in numbers if 1 <= number <= len(flaw.steps)}


def _find_quoted(words: set[str], flaw: Flaw) -> set[int]:
    steps = [set(split_words(step)) for step in flaw.steps]
    return {i for i, step in enumerate(steps) if len(step & words) >= _QUOTED * len(step)}


def _find_first_words(words: set[str], flaw: Flaw) -> set[int]:
    heads = [split_words(step)[0] for step in flaw.steps]
    return {i for i, head in enumerate(heads) if head in words and heads.count(head) == 1}


def _remove_answers(words: list[str], answers: Sequence[str]) -> list[str]:
    """Return `words` without the answers in them.

    "deny network" may be an answer; repeating it does not name the step on the network.
    """
    text = " ".join(words)
    # The longest first: "pay 21" must not be torn by an answer "21".
    for answer in sorted(map(split_words, answers), key=len, reverse=True):
        if answer:
            text = re.sub(rf"(?<!\S){re.escape(' '.join(answer))}(?!\S)", " ", text)
    return text.split()
