"""What every kind of answer offers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class AnswerKind:
    """Reads, compares and writes answers of one kind. Nothing here raises on model text."""

    undecided = 0
    """Comparisons that could not be told."""

    def extract(self, text: str) -> Any | None:
        """Return the final answer in `text`; `None` when it is not said."""
        raise NotImplementedError

    def same(self, answer: Any, gold: Any) -> bool | None:
        """Tell whether `answer` means `gold`, which `None` never does; `None` where that could not be told."""
        raise NotImplementedError

    def same_all(self, pairs: Sequence[tuple[Any, Any]]) -> list[bool | None]:
        """Return `same` of each pair."""
        return [self.same(answer, gold) for answer, gold in pairs]

    def show(self, answer: Any) -> str:
        """Return the text of `answer`, as a completion writes it."""
        return str(answer)
