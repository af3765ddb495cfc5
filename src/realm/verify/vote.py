"""Self-consistency: the answer that most of several give."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any


def majority(answers: Sequence[Any], same: Callable[[Any, Any], bool | None]) -> Any | None:
    """Return the answer given most often, the earlier of equals; `None` where nobody says anything.

    >>> majority(["7", None, "8", "8"], str.__eq__)
    '8'
    """
    return majorities([answers], lambda pairs: [same(*pair) for pair in pairs])[0]


def majorities(
    sets: Sequence[Sequence[Any]],
    same_all: Callable[[Sequence[tuple[Any, Any]]], Sequence[bool | None]],
) -> list[Any | None]:
    """Return the majority of each set; what the sets ask next is compared all at once.

    >>> majorities([["7", "8", "8"], ["9"]], lambda pairs: [a == b for a, b in pairs])
    ['8', '9']
    """
    votes: list[Any | None] = [None] * len(sets)
    counts = dict(enumerate(map(_count, sets)))
    verdicts: dict[int, list[bool | None] | None] = dict.fromkeys(counts)
    while verdicts:
        asked: dict[int, list[tuple[Any, Any]]] = {}
        for index, verdict in verdicts.items():
            try:
                asked[index] = counts[index].send(verdict)
            except StopIteration as counted:
                votes[index] = counted.value
        told = (
            iter(same_all([pair for pairs in asked.values() for pair in pairs]))
            if asked
            else iter(())
        )
        verdicts = {index: [next(told) for _ in pairs] for index, pairs in asked.items()}
    return votes


def _count(
    answers: Sequence[Any],
) -> Generator[list[tuple[Any, Any]], list[bool | None] | None, Any | None]:
    """Ask of one answer after another which of those before it is the same, and return the one of the largest group."""
    groups: list[list[Any]] = []
    for answer in answers:
        if answer is None:
            continue
        verdicts = (yield [(answer, group[0]) for group in groups]) if groups else []
        group = next(
            (group for group, verdict in zip(groups, verdicts, strict=True) if verdict), None
        )
        if group is None:
            groups.append([answer])
        else:
            group.append(answer)
    return max(groups, key=len)[0] if groups else None
