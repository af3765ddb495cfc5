"""What every kind of answer offers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


class AnswerKind:
    """Reads, compares and writes answers of one kind. Nothing here raises on model text."""

    undecided = 0
    """Comparisons that could not be told."""

    extract: Callable[[str], Any | None]
    """Returns the final answer in a text; `None` when it is not said."""
    same: Callable[[Any, Any], bool | None]
    """Tells whether an answer means the gold one, which `None` never does; `None` where that could not be told."""

    def same_all(self, pairs: Sequence[tuple[Any, Any]]) -> list[bool | None]:
        """Return `same` of each pair."""
        return [self.same(answer, gold) for answer, gold in pairs]

    def show(self, answer: Any) -> str:
        """Return the text of `answer`, as a completion writes it."""
        return str(answer)
