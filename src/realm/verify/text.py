"""A short text: compared without case, accents, articles, quotes and outer punctuation."""

from __future__ import annotations

import re
from typing import Any

from realm.verify.extract import final_answer
from realm.verify.kind import AnswerKind
from realm.verify.normal import plain


def extract(text: str) -> str | None:
    """Return the final answer as it is written, or `None`."""
    return final_answer(text)


def same(answer: Any, gold: Any) -> bool:
    """Tell whether two texts are equal but for their dress."""
    return answer is not None and gold is not None and normal(answer) == normal(gold)


def show(answer: Any) -> str:
    """Return `answer` as text."""
    return str(answer)


def normal(value: Any) -> str:
    """Return the form that two equal texts share.

    >>> normal('The "Palais Royal!"')
    'palais royal'
    """
    text = plain(str(value)).replace('"', "")
    return re.sub(r"^(?:the|an?) (?=\S)", "", text.strip(" .,;:!?'")).strip(" .,;:!?'")


class TextAnswers(AnswerKind):
    """Short texts."""

    def __init__(self) -> None:
        self.extract, self.same, self.show = extract, same, show
