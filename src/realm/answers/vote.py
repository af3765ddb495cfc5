"""Self-consistency: the answer that most of several give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def majority(answers: Sequence[Any], same: Callable[[Any, Any], bool]) -> Any | None:
    """Return the answer given most often, the earlier of equals; `None` where nobody says anything.

    >>> majority(["7", None, "8", "8"], str.__eq__)
    '8'
    """
    groups: list[list[Any]] = []
    for answer in answers:
        if answer is None:
            continue
        group = next((group for group in groups if same(answer, group[0])), None)
        if group is None:
            groups.append([answer])
        else:
            group.append(answer)
    return max(groups, key=len)[0] if groups else None
