"""One number: compared by value, whatever its thousands separators, currency sign or unit."""

from __future__ import annotations

import math
from typing import Any

from realm.answers.final import final_answer
from realm.answers.normal import find_numbers, read_number


def extract(text: str) -> float | None:
    """Return the number in the final answer; where that is a calculation, its result; `None` where there are several.

    >>> extract("So the answer is $1,250 per year."), extract("the answer is 3 + 4 = 7"), extract("the answer is 3 or 4")
    (1250, 7, None)
    """
    span = final_answer(text)
    return None if span is None else _value(span)


def same(answer: Any, gold: Any) -> bool:
    """Tell whether two numbers are equal, to one part in a million."""
    left, right = _value(answer), _value(gold)
    return left is not None and right is not None and math.isclose(left, right, rel_tol=1e-6, abs_tol=1e-9)


def show(answer: Any) -> str:
    """Return the shortest text of the number: 7, not 7.0."""
    value = _value(answer)
    return str(answer) if value is None else str(int(value) if float(value).is_integer() else value)


def _value(value: Any) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value if math.isfinite(value) else None
    span = str(value).rsplit("=", 1)[-1] if value is not None else ""
    number = read_number(span)
    if number is not None:
        return number
    found = {read_number(written) for written in find_numbers(span)} or {read_number(word) for word in span.split()} - {None}
    return found.pop() if len(found) == 1 else None
