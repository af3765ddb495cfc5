"""Answer kinds: how a final answer is read from free text, compared with the gold answer, and written."""

from __future__ import annotations

from typing import Any, Protocol

from realm.answers import label, number, sets, text
from realm.answers.final import final_answer

__all__ = ["KINDS", "AnswerKind", "final_answer", "get_answers"]


class AnswerKind(Protocol):
    """What each module of this package offers. None of it raises on model text."""

    def extract(self, text: str) -> Any | None:
        """Return the final answer in `text`; `None` when it is not said."""

    def same(self, answer: Any, gold: Any) -> bool:
        """Tell whether `answer` means `gold`; `None` never does."""

    def show(self, answer: Any) -> str:
        """Return the text of `answer`, as a completion writes it."""


KINDS: dict[str, AnswerKind] = {"label": label, "number": number, "set": sets, "text": text}


def get_answers(kind: str) -> AnswerKind:
    """Return the answer kind called `kind`; the config has already refused an unknown one."""
    return KINDS[kind]
