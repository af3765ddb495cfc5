"""One of few labels, such as "deny late", or a lettered choice: B, (b), "option B", or the text of the choice."""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_uppercase
from typing import Any

from realm.verify import label
from realm.verify.kind import AnswerKind

_LETTER = re.compile(r"[\s(\[*]*([A-Za-z])[\s)\].:*]*")
_OPTION = re.compile(r"\s*(?:the\s+)?(?:option|choice|answer)\s+(?=\W*[A-Za-z]\b)", re.IGNORECASE)
_LETTER_AND_TEXT = re.compile(r"\s*\(?([A-Z])[).:]\s+(\S.*)", re.DOTALL)


class LabelAnswers(AnswerKind):
    """Labels. A gold answer may be a list: each item is another way of saying it, as ["B", "blue"]."""

    def extract(self, text: str) -> str | None:
        """Return the final answer as it is written, or `None`."""
        return label.extract(text)

    def same(self, answer: Any, gold: Any) -> bool:
        """Tell whether two labels are equal but for case, brackets and the like; a letter decides over the text behind it.

        >>> labels = LabelAnswers()
        >>> labels.same("Option (b)", ["B", "blue"]), labels.same("B) green", ["B", "blue"]), labels.same("blue", ["B", "blue"])
        (True, True, True)
        """
        return any(label.same(left, right) for left in _ways(answer) for right in _ways(gold))

    def show(self, answer: Any) -> str:
        """Return the first way of saying it."""
        return str(answer[0] if isinstance(answer, list) else answer)


def with_choice(gold: Any, choices: Sequence[str] | None) -> Any:
    """Return `gold` and, where it is the letter of one of `choices`, the text of the choice.

    >>> with_choice("b", ["red", "blue"]), with_choice("red", ["red", "blue"])
    (['B', 'blue'], 'red')
    """
    letter = _LETTER.fullmatch(str(gold))
    if not choices or not letter or any(label.same(gold, choice) for choice in choices):
        return gold
    place = ascii_uppercase.index(letter[1].upper())
    return [ascii_uppercase[place], choices[place]] if place < len(choices) else gold


def _ways(value: Any) -> list[str]:
    if isinstance(value, list):
        return [way for item in value for way in _ways(item)]
    if value is None:
        return []
    text = _OPTION.sub("", str(value), count=1)
    lettered = _LETTER_AND_TEXT.fullmatch(text)
    return [lettered[1]] if lettered else [text]
