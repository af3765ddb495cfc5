"""Self-consistency: the answer that most of several give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def majority(answers: Sequence[Any], same: Callable[[Any, Any], bool | None]) -> Any | None:
    """Return the answer given most often, of equals the earlier; `None` if nobody gives one.

    >>> majority(["7", None, "8", "8"], str.__eq__)
    '8'
    """
    return majorities([answers], lambda pairs: [same(*pair) for pair in pairs])[0]


def majorities(
    sets: Sequence[Sequence[Any]],
    same_all: Callable[[Sequence[tuple[Any, Any]]], Sequence[bool | None]],
) -> list[Any | None]:
    """Return the majority of each set; the comparisons of all sets are asked for together.

    >>> majorities([["7", "8", "8"], ["9"]], lambda pairs: [a == b for a, b in pairs])
    ['8', '9']
    """
    groups: list[list[list[Any]]] = [[] for _ in sets]
    waiting = [[answer for answer in answers if answer is not None] for answers in sets]
    while any(waiting):
        # One answer of each set in a round: it is compared with the first answer of each group.
        asked = [(index, answers.pop(0)) for index, answers in enumerate(waiting) if answers]
        pairs = [(answer, group[0]) for index, answer in asked for group in groups[index]]
        verdicts = iter(same_all(pairs) if pairs else [])
        for index, answer in asked:
            told = [next(verdicts) for _ in groups[index]]
            same = [group for group, verdict in zip(groups[index], told, strict=True) if verdict]
            if same:
                same[0].append(answer)
            else:
                groups[index].append([answer])
    return [max(found, key=len)[0] if found else None for found in groups]
