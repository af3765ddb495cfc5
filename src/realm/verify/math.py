"""A mathematical answer in LaTeX: exact cheap comparison first, symbolic comparison by math-verify for the rest."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from realm.verify.extract import final_answer, last_tagged
from realm.verify.kind import AnswerKind
from realm.verify.latex import compare, read
from realm.verify.workers import Workers

_BOX = re.compile(r"\\boxed\s*\{")
_BOXES_READ = 8
_FARTHEST_BOX = 30
"""Characters between two boxes that are one answer."""
_BETWEEN_BOXES = re.compile(r"[\s$]*(?:,|;|,?\s*(?:and|or)|,?\s*\\text\{\s*(?:and|or)\s*\})?[\s$]*")
_MATH = r"(?:\$\$?(?P<dollars>[^$]{1,2000})\$\$?|\\\((?P<round>.{1,2000}?)\\\)|\\\[(?P<square>.{1,2000}?)\\\])"
_MARKED = re.compile(
    rf"\banswers?\b[^.\n$\\]{{0,150}}(?::|=|\b(?:is|are)\b)[\s*:]*{_MATH}",
    re.IGNORECASE | re.DOTALL,
)
_FORMULA = re.compile(_MATH, re.DOTALL)
_CLOSING = re.compile(rf"{_MATH}[\s.*]*", re.DOTALL)
_ANNOUNCED = re.compile(r"\s*\\text\{[^{}]*\banswer is:?\s*\}", re.IGNORECASE)
_COMMAND = re.compile(r"\\(?:text|mbox|mathrm)\s*\{[^{}]*\}|\\[A-Za-z]+")
_WORD = re.compile(r"[A-Za-z]{2,}")
_LONGEST = 2000
"""Characters of an answer; what is longer is no answer."""
_LONGEST_BARE = 200
"""Characters of a text that is taken for an answer though nothing in it says so."""
_CLOSING_PART = 10_000
"""Characters at the end of a text in which formulas are looked for."""
_REMEMBERED = 200_000


class MathAnswers(AnswerKind):
    """Answers in LaTeX. Each pair is compared once; what takes more than its time is `None`, and counted."""

    def __init__(self, seconds: float) -> None:
        """Give each symbolic comparison `seconds`."""
        self._workers = Workers(seconds)
        self._known: dict[tuple[str, str], bool | None] = {}

    def extract(self, text: str) -> str | None:
        r"""Return the final answer in LaTeX: of a tag, a box, behind "the answer is", or a text that is nothing else.

        Where a text says none, it is the number that its last formula ends with; `None` where there is no such number.

        >>> MathAnswers(5).extract(r"So $x = \frac12$. The answer is $\boxed{\frac{1}{2}}$.")
        '\\frac{1}{2}'
        """
        tagged = last_tagged(text)
        said = text.strip() if tagged is None else tagged
        span = _boxed(said) or _marked(said) or _bare(said) or _stated(said) or _worked_out(said)
        span = _ANNOUNCED.sub("", span or "").strip()
        return span if 0 < len(span) <= _LONGEST and "\\boxed" not in span else None

    def same(self, answer: Any, gold: Any) -> bool | None:
        """Tell whether `answer` is equal to `gold`; `None` where that took too long."""
        return self.same_all([(answer, gold)])[0]

    def same_all(self, pairs: Sequence[tuple[Any, Any]]) -> list[bool | None]:
        """Return the verdict on each pair; those that take symbolic comparison are spread over processes."""
        texts = [(_latex(answer), _latex(gold)) for answer, gold in pairs]
        if len(self._known) > _REMEMBERED:
            self._known.clear()
        new = [pair for pair in dict.fromkeys(texts) if pair not in self._known]
        self._known.update((pair, _told(*pair)) for pair in new)
        open_ = [pair for pair in new if self._known[pair] is None]
        self._known.update(zip(open_, self._workers.compare(open_), strict=True))
        self.undecided += sum(self._known[pair] is None for pair in open_)
        return [self._known[pair] for pair in texts]


def _latex(value: Any) -> str:
    """Return the one-line text of an answer; "" for `None`, which equals nothing."""
    return "" if value is None else " ".join(str(value).strip().strip("$").split())


def _told(answer: str, gold: str) -> bool | None:
    return compare(answer, gold) if answer and gold else False


def _boxed(text: str) -> str | None:
    """Return what the last complete box holds, with the boxes right before it: "$\\boxed{3}$ or $\\boxed{5}$" are two answers."""
    boxes = [
        (box.start(), box.end(), _closed(text, box.end()))
        for box in list(_BOX.finditer(text))[-_BOXES_READ:]
    ]
    boxes = [
        box for box in boxes if box[2] and not _BOX.search(text, box[1], box[2])
    ]  # of a box in a box the inner one
    if not boxes:
        return None
    first = len(boxes) - 1
    while first and _side_by_side(text[boxes[first - 1][2] : boxes[first][0]]):
        first -= 1
    return ", ".join(
        dict.fromkeys(text[start : end - 1].strip() for _, start, end in boxes[first:])
    )


def _side_by_side(between: str) -> bool:
    return len(between) <= _FARTHEST_BOX and _BETWEEN_BOXES.fullmatch(between) is not None


def _closed(text: str, start: int) -> int | None:
    """Return where the brace that opens before `start` has been closed."""
    depth = 1
    for position in range(start, min(len(text), start + _LONGEST)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return position + 1
    return None


def _marked(text: str) -> str | None:
    """Return the formula behind the last "the answer is"."""
    found = list(_MARKED.finditer(text[-_CLOSING_PART:]))
    return _formula(found[-1]) if found else None


def _bare(text: str) -> str | None:
    """Return `text` where it is nothing but a formula, or the formula that is its last line."""
    last = text.rsplit("\n", 1)[-1].strip()
    closing = _CLOSING.fullmatch(last)
    if closing:
        return _formula(closing)
    wordless = (
        last == text and len(text) <= _LONGEST_BARE and not _WORD.search(_COMMAND.sub(" ", text))
    )
    return text.rstrip(".") if wordless else None


def _stated(text: str) -> str | None:
    """Return what a sentence states; "The answer", cut off there, is none."""
    stated = final_answer(text)
    return stated if stated and "answer" not in stated.casefold() else None


def _worked_out(text: str) -> str | None:
    """Return the number that the last formula ends with, of a text that never says what its answer is: 4 of "so $x = 4$ and"."""
    formulas = list(_FORMULA.finditer(text[-_CLOSING_PART:]))
    result = _formula(formulas[-1]).rpartition("=")[2] if formulas else ""
    return result if read(result).is_number else None


def _formula(match: re.Match[str]) -> str:
    return next(filter(None, match.groupdict().values())).strip()
