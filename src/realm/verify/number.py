"""One number: compared by value, whatever its thousands separators, currency sign, unit, or way of being written."""

from __future__ import annotations

import math
import re
from typing import Any

from realm.verify.arithmetic import NotPlain, evaluate
from realm.verify.extract import final_answer
from realm.verify.kind import AnswerKind
from realm.verify.normal import find_numbers, plain, read_number

_PERCENT = re.compile(
    r"(.*\d)\s*(?:\\?%|per ?cent\b|percentage points?\b).*", re.IGNORECASE | re.DOTALL
)
_SCALE = re.compile(
    r"([-+]?[$€£¥]?\s*[\d.,]*\d)\s*(thousand|million|billion|trillion)\b.*", re.DOTALL
)
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_SCIENTIFIC = re.compile(r"[-+]?\d+(?:\.\d+)?e[-+]?\d{1,2}")
_SPACED = re.compile(r"(?<![\d.])(\d{1,3}(?:[ \u00a0\u202f]\d{3})+)(?! ?\d)")
_MIXED = re.compile(r"([-+]?)(\d{1,15})\s+(\d{1,15})\s*/\s*(\d{1,15})(?!\d)")
_WRITTEN_OUT = re.compile(r"\\[a-z]|[\^×·√]")
_LONGEST = 200


class NumberAnswers(AnswerKind):
    """A percentage is a number and a part of one hundred: 12% equals 12 and equals 0.12, which are not equal to each other."""

    def __init__(self, tolerance: float) -> None:
        """Take two numbers for equal that lie apart by no more than `tolerance`, as a share of the larger."""
        self.tolerance = tolerance

    def extract(self, text: str) -> float | str | None:
        """Return the number in the final answer, a percentage as text; where that is a calculation, its result.

        `None` where there is no number, or several.

        >>> numbers = NumberAnswers(1e-6)
        >>> numbers.extract("So the answer is $1,250 per year."), numbers.extract("the answer is 3 + 4 = 7")
        (1250, 7)
        >>> numbers.extract("the answer is 3 or 4"), numbers.extract("the answer is 12 %")
        (None, '12%')
        """
        span = final_answer(text)
        value, percent = _read(span)
        return f"{_shortest(value)}%" if value is not None and percent else value

    def same(self, answer: Any, gold: Any) -> bool:
        """Tell whether two numbers are equal within the tolerance."""
        (left, left_percent), (right, right_percent) = _read(answer), _read(gold)
        if left is None or right is None:
            return False
        if self._close(left, right):
            return True
        if left_percent == right_percent:
            return False
        return self._close(left / 100, right) if left_percent else self._close(left, right / 100)

    def show(self, answer: Any) -> str:
        """Return the shortest text of the number: 7, not 7.0."""
        value, percent = _read(answer)
        return str(answer) if value is None else _shortest(value) + "%" * percent

    def _close(self, left: float, right: float) -> bool:
        return math.isclose(left, right, rel_tol=self.tolerance, abs_tol=1e-12)


def _read(value: Any) -> tuple[float | None, bool]:
    """Return the number that `value` is, and whether it is a percentage."""
    if value is None or isinstance(value, bool):
        return None, False
    if isinstance(value, int | float):
        return (value if math.isfinite(value) else None), False
    span = str(value)[-_LONGEST:].rsplit("=", 1)[-1].strip()
    percent = _PERCENT.fullmatch(span)
    return _number(percent[1] if percent else span), percent is not None


def _number(span: str) -> float | None:
    span = _SPACED.sub(lambda number: re.sub(r"\s", "", number[1]), plain(span).strip())
    number = read_number(span)
    if number is not None:
        return number
    if _SCIENTIFIC.fullmatch(span):
        return float(span)
    scaled = _SCALE.fullmatch(span)
    if scaled and (count := read_number(scaled[1])) is not None:
        return count * _SCALES[scaled[2]]
    mixed = _MIXED.match(span)
    if mixed and int(mixed[4]):
        return float(f"{mixed[1]}1") * (int(mixed[2]) + int(mixed[3]) / int(mixed[4]))
    return _calculated(span) if _WRITTEN_OUT.search(span) else _only(span)


def _calculated(span: str) -> float | None:
    """Return the value of a formula without variables, as `\\frac{3}{4}` or `1.5 × 10^{6}`."""
    try:
        value = evaluate(re.sub(r"\\?[$€£]|\\[,;! ]", "", re.sub(r"\^(-?\d+)", r"^{\1}", span)))
        return float(value.at[0]) if value.constant else None
    except (NotPlain, OverflowError):
        return None


def _only(span: str) -> float | None:
    """Return the one number in `span`; of several, none."""
    found = {read_number(written) for written in find_numbers(span)} or {
        read_number(word) for word in span.split()
    } - {None}
    return found.pop() if len(found) == 1 else None


def _shortest(value: float) -> str:
    return str(int(value) if float(value).is_integer() else value)
