"""The steps of a route, and the first of them that does not hold.

A route is read as a sequence of steps with the answer last. "The first step that does not hold" is
what ProcessBench (arXiv 2412.06559) asks for, the earliest error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realm.core.records import Route

NEAR = 0.5
"""Below this similarity a right route does not show where a wrong one departs from it."""
_MAX_WORDS = 1000
"""Words of a text that are compared: matching is quadratic, and texts that loop can be long."""
_WORD = re.compile(r"[^\W_]+")
# "[3]" at the start of a line: only our own numbers may stand there (see `render_routes`).
_NUMBERS = re.compile(r"^(?:\[\s*\d{1,6}\s*\]\s*)+")
# Words around an answer in a line that states nothing else, as in "So the final answer is: 24".
_FILLERS = frozenset(
    ("a", "ans", "answer", "final", "hence", "is", "result", "so", "the", "therefore", "thus")
)


@dataclass(frozen=True)
class Flaw:
    """The first step of a route that does not hold.

    Example: `Flaw(2, "8 - 1 = 7")` for the route "3 + 5 = 8", "8 - 1 = 6", "6".
    """

    number: int
    """Number of the step, from 1."""
    fix: str | None = None
    """What should stand there; None if nobody said."""


def split_words(text: str) -> list[str]:
    """Return the words and numbers of `text`, in lower case."""
    return _WORD.findall(text.lower())


def split_steps(route: Route) -> tuple[str, ...]:
    """Return the steps of a route: its lines, or its sentences if it has one line only.

    A line that states the answer and nothing else is the last step, wherever it stood: a reader
    who meets the answer first compares answers and does not read the steps.

    >>> from realm.core.records import Route
    >>> text = "Answer: 22. 30 - 8 = 24. 24 - 2 = 22."
    >>> split_steps(Route(problem_id="p", source="s", text=text, answer="22", correct=False))
    ('30 - 8 = 24.', '24 - 2 = 22.', 'Answer: 22.')
    """
    lines = route.text.splitlines()
    if len([line for line in lines if line.strip()]) == 1:
        # Only before white space, so that 3.5 stays whole.
        lines = re.split(r"(?<=[.!?;])\s+", route.text.strip())
    lines = [_NUMBERS.sub("", line.strip()) for line in lines]
    # A line without a letter or digit, such as "---", is no step; "[]" may be an answer.
    lines = [line for line in lines if split_words(line) or line == str(route.answer)]
    answers = [line for line in lines if _states_answer(line, route)]
    return (*(line for line in lines if line not in answers), *answers[-1:])


def has_answer_step(route: Route) -> bool:
    """Return whether the last step of a route states its answer and nothing else."""
    steps = split_steps(route)
    return bool(steps) and _states_answer(steps[-1], route)


def drop_answer_step(route: Route) -> str:
    """Return the steps of a route as text, without one that only states the answer.

    A model that is taught the text reasons before it answers, and answers once.
    """
    steps = split_steps(route)
    return "\n".join(steps[:-1] if len(steps) > 1 and has_answer_step(route) else steps)


def _states_answer(line: str, route: Route) -> bool:
    if route.answer is None:
        return False
    words, answer = split_words(line), split_words(str(route.answer))
    return words == answer or (
        bool(answer)
        and words[-len(answer) :] == answer
        and _FILLERS.issuperset(words[: -len(answer)])
    )


def word_similarity(a: str, b: str) -> float:
    """Return how alike two texts are, word by word: 1 for the same words, 0 for none in common."""
    words = split_words(a)[:_MAX_WORDS], split_words(b)[:_MAX_WORDS]
    return SequenceMatcher(None, *words, autojunk=False).ratio()


def find_flaw(route: Route, positives: Sequence[Route]) -> Flaw | None:
    """Return the first step of a flawed route that does not hold, or `None` if it is not known.

    It is the one that the route's process label names. Without one, it is a guess: the step where
    the route departs from the nearest of the right routes `positives`.
    """
    if route.flaw is not None:
        return Flaw(route.flaw, route.fix)
    alike = [(word_similarity(route.text, positive.text), positive) for positive in positives]
    nearest, positive = max(alike, key=lambda pair: pair[0], default=(0.0, None))
    if positive is None or nearest < NEAR:
        # Two ways of solving a problem differ from their first line on, which says nothing.
        return None
    return find_departure(split_steps(route), split_steps(positive))


def find_taught_flaw(route: Route, chain: Route, gold: str) -> Flaw:
    """Return the step of a flawed route that its check names.

    Without a process label it is guessed from the right chain, and where the two are too far apart
    for that, the last step: it states a wrong answer.
    """
    return find_flaw(route, [chain]) or Flaw(len(split_steps(route)), gold)


def find_departure(steps: Sequence[str], right_steps: Sequence[str]) -> Flaw | None:
    """Return the first of `steps` that the right steps lack, and the right step of that place.

    >>> find_departure(("3 + 5 = 8", "8 - 1 = 6", "6"), ("3 + 5 = 8", "8 - 1 = 7", "7"))
    Flaw(number=2, fix='8 - 1 = 7')
    """
    known = {tuple(split_words(step)) for step in right_steps}
    shown = {tuple(split_words(step)) for step in steps}
    new = (number for number, step in enumerate(steps, 1) if tuple(split_words(step)) not in known)
    missing = (step for step in right_steps if tuple(split_words(step)) not in shown)
    number = next(new, None)
    return None if number is None else Flaw(number, next(missing, None))
