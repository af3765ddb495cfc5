"""What every kind of answer offers, and the two kinds of text: `text` and `label`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any, Literal

from realm.core.settings import Section
from realm.verify.extract import find_answer, find_stated, is_one_line, unwrap_answer
from realm.verify.normal import clean_span, fold_text

_LONGEST_CHOICE = 300
"""Characters of a letter with the text of its choice."""
# A letter that stands for a choice, as B, (b), [B], "B) 36", "B - 36"; a small letter or one
# before a word needs a bracket or a stop, else it is a word: "a cat", "I agree".
_LETTER = re.compile(r"[\s(\[{*<]*([A-Za-z])[\s)\]}*>.:]*")
_LETTER_FIRST = re.compile(
    r"\W*(?:([A-Z])\s*(?:[)\].:,*}>]+|\s[-–—(])|(?:[(\[]([a-z])[)\]]|([a-z])\)))\W*(?P<rest>.*)",
    re.DOTALL,
)
# What stands before the letter in "The option (B)" and "la letra b".
_OPTION = re.compile(
    r"^\W*(?:选项|選項|(?:the|la|le|el|die|a(?= letra)|option|choice|answer|opción|letter|letra"
    r"|lettre)\s+)+"
    r"(?=\W*[A-Za-z]\b)",
    re.IGNORECASE,
)
_OPTION_BEHIND = re.compile(r"(?<=[A-Za-z])(?:选项|選項|项|項)$")
# What follows a letter where two choices are named: "or (C)", "/ B", ", C".
_SECOND_CHOICE = re.compile(
    r"(?:(?i:or|and|vs)\b|[/&]|\W*[A-Za-z]\W*(?:$|[,;/&]|\b(?:or|and)\b))"
    r"|.*(?:\b(?:or|and)|[,;/&])\s*[(\[]?[A-Z][)\].]"
    r"|.*(?:^|(?<!not)\s)(?:[(\[][A-Z][)\]]|[A-Z][):]|[A-Z] [-–—])(?:\s|$)|.*\n\W*[A-Z][).:]"
    r"|(?:[A-Z]\W+)+$|.*\b(?i:it is|it's|answer is|choose|pick|select)\s+[(\[]?[A-Z]\b"
    r"|(?i:(?:is|was) (?:not|wrong|incorrect|false)|wait|no,|actually|maybe|perhaps|possibly)\b",
    re.DOTALL,
)
# A text that opens with a letter and then explains it.
_LETTER_ALONE = re.compile(
    r"[\s(\[*]*([A-Z])[)\]*.:]*(?:,? (?:because|since|as)\b|[ \t]*\n(?!\W*[A-Z]\W*(?:\n|$)))"
)
# "B, wait, C": what is stated first does not stand.
_REVOKED = re.compile(r"\b(?:wait|actually|correction)\b", re.IGNORECASE)
# "I would pick B", "it must be (D)", "故选D"; "B is the correct answer".
_CHOSEN = re.compile(
    r"(?:\b(?:pick|choose|select|go with|opt for|must be|[Ii]t(?: is|'s)"
    r"|(?i:so|therefore|thus|hence),?)\b|[选選][择擇项項]?)[\s*,:]*"
    r"(?:(?i:option|choice|answer)[\s*]+)?[(\[*]*([A-Z])\b(?!')"
    r"|(?:^|[\s(\[*])([A-Z])[)\]*]*\s+(?:is|must be)\s+(?:the\s+)?(?:right|correct|best)\b"
    r"|(?<![A-Za-z])([A-Z])(?:选?项|選?項)?是?正[确確]",
)


class AnswerKind(Section):
    """Reads, compares and writes answers of one kind. Nothing here raises on model text.

    A subclass declares its settings as fields. `read` and `same` are what a kind must know.
    """

    def prepare(self, folder: Path) -> None:
        """Load what the kind needs; `folder` is where a user's module is looked for."""

    def read(self, span: str) -> Any | None:
        """Return the answer that `span` is, where nothing but an answer stands; `None` if none."""
        raise NotImplementedError

    def find(self, text: str) -> Any | None:
        """Return the answer that free text states, or `None`."""
        found = find_answer(text)
        return None if found is None else self.read(found.text)

    def same(self, answer: Any, gold: Any) -> bool | None:
        """Return whether two answers, neither of them `None`, mean the same."""
        raise NotImplementedError

    def same_all(self, pairs: Sequence[tuple[Any, Any]]) -> list[bool | None]:
        """Return `same` of each pair; nothing equals `None`."""
        return [
            False if answer is None or gold is None else self.same(answer, gold)
            for answer, gold in pairs
        ]

    def make_exact(self, answer: Any) -> Any:
        """Return `answer`, found in prose, as an answer tag would state it."""
        return answer

    def render(self, answer: Any) -> str:
        """Return the text of `answer`, as a completion writes it."""
        return str(answer)


class TextAnswer(AnswerKind):
    """A short text: compared without case, accents, articles, quotes and outer punctuation."""

    kind: Literal["text"] = "text"

    def read(self, span: str) -> str | None:
        """Return `span` without what announces an answer."""
        return unwrap_answer(span) or None

    def same(self, answer: Any, gold: Any) -> bool:
        """Return whether two texts are equal apart from their form."""
        said, normal = unwrap_answer(str(answer)), normalize_text(unwrap_answer(str(gold)))
        return normalize_text(said) == normal or normalize_text(clean_span(said)) == normal


class LabelAnswer(AnswerKind):
    """One of a few labels, such as "deny late", or a lettered choice: B, (b), "B) blue".

    A gold answer may be a list: each item is another way of saying it, as ["B", "blue"].
    """

    kind: Literal["label"] = "label"

    def read(self, span: str) -> str | None:
        """Return `span` without what announces an answer."""
        return unwrap_answer(span) or None

    def find(self, text: str) -> str | None:
        """Return the label that free text states; a short line is a label, whatever it says."""
        stated = find_stated(text, is_label=True)
        chosen = list(_CHOSEN.finditer(text))
        if stated is not None and not (chosen and _REVOKED.search(stated.text)):
            return self.read(stated.text)
        if chosen:
            return str(next(filter(None, chosen[-1].groups())))
        alone = _LETTER_ALONE.match(text)
        if alone:
            return alone[1]
        if is_one_line(text):
            return self.read(clean_span(text.strip()))
        found = find_answer(text)
        return None if found is None else self.read(found.text)

    def same(self, answer: Any, gold: Any) -> bool:
        """Return whether two labels are equal apart from case, brackets, currency signs.

        A letter decides over the text behind it. Two choices are never one answer.

        >>> labels = LabelAnswer()
        >>> labels.same("Option (b)", ["B", "blue"]), labels.same("B) green", ["B", "blue"])
        (True, True)
        >>> labels.same("(A) or (C)", "A")
        False
        """
        return any(
            _is_same_label(one, other) for one in _list_ways(answer) for other in _list_ways(gold)
        )

    def render(self, answer: Any) -> str:
        """Return the first way of saying it."""
        return str(answer[0] if isinstance(answer, list) and answer else answer)


def normalize_text(value: Any) -> str:
    """Return the form that two equal texts share.

    >>> normalize_text('The "Palais Royal!"')
    'palais royal'
    """
    whole = fold_text(str(value))
    text = re.sub(r"^(?:the|an?) (?=\S)", "", whole.replace('"', "").strip(" .,;:!?'"))
    return text.strip(" .,;:!?'") or whole  # a text that is all punctuation is itself


def with_choice(gold: Any, choices: Sequence[str] | None) -> Any:
    """Return `gold` and, if it is the letter of one of `choices`, the text of the choice.

    >>> with_choice("b", ["red", "blue"]), with_choice("red", ["red", "blue"])
    (['B', 'blue'], 'red')
    """
    letter = _LETTER.fullmatch(str(gold))
    normals = [_normalize_label(choice) for choice in choices or ()]
    if not letter or _normalize_label(gold) in normals:
        return gold
    place = ascii_uppercase.index(letter[1].upper())
    return [ascii_uppercase[place], choices[place]] if choices and place < len(choices) else gold


def _is_same_label(left: str, right: str) -> bool:
    if _normalize_label(left) == _normalize_label(right):
        return True
    letters = [_LETTER.fullmatch(side) for side in (left, right)]
    if letters[0]:
        return letters[0][1].upper() == _read_choice(right)
    return letters[1] is not None and letters[1][1].upper() == _read_choice(left)


def _read_choice(text: str) -> str | None:
    """Return the letter of the one choice that `text` names, as B of "B) 36"."""
    alone = _LETTER.fullmatch(text)
    if alone:
        return alone[1].upper()
    first = _LETTER_FIRST.fullmatch(text) if len(text) <= _LONGEST_CHOICE else None
    if not first or _SECOND_CHOICE.match(first["rest"]):
        return None
    return str(first[1] or first[2] or first[3]).upper()


def _list_ways(value: Any) -> list[str]:
    several = value if isinstance(value, list) else [value]
    ways = [unwrap_answer(str(way)) for way in several if way is not None]
    if len(ways) == 2 and _LETTER.fullmatch(ways[0]):
        ways += [f"{ways[0]} {ways[1]}", f"{ways[1]} ({ways[0]})"]
    return [_OPTION.sub("", _OPTION_BEHIND.sub("", way), count=1).strip() for way in ways]


def _normalize_label(value: Any) -> str:
    whole = fold_text(str(value))
    text = re.sub(r"[$€£](?=\s?\d)", "", whole)
    text = re.sub(r"(?<=\d),(?=\d{3}\b)|(?<=\d)\.00?\b", "", text)
    text = re.sub(r"[()\[\]{}\"'*]", " ", text).strip(" .,;:!?").replace("_", " ")
    return " ".join(text.split()) or whole  # a label that is all punctuation is itself
