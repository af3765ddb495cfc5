"""A set of items, as WikiTableQuestions compares denotations: without order, numbers and dates by value."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Any

from realm.answers import text
from realm.answers.final import clean, final_answer
from realm.answers.normal import plain, read_number, with_iso_dates

_BETWEEN = re.compile(r"(?<!\d),\s*(?:and\s+)?|,\s+(?:and\s+)?|;\s*|\s+(?:and|&)\s+|\n+|\|")
_DATE_COMMA = re.compile(r"(\b[A-Za-z]{3,9}\.? \d{1,2}(?:st|nd|rd|th)?),(?= ?\d{4}\b)")
_DETAIL = re.compile(r"(?<=\S)\s*(?:\([^()]*\)|\[[^\[\]]*\])$|(?<=\S) from (?:the )?[a-z][a-z' -]*$|^from (?:the )?(?=[a-z])")
"""Detail that an item may carry or lack: "Guam (GUM)", "Ann from Peru"."""

_QUANTITY = re.compile(
    r"(?:[a-z]+\.? )?#?([-+]?[$€£]?[\d,]*\.?\d+|\b[a-z]+)(?:(?:st|nd|rd|th)\b|%)?(?:[\s-]+([a-z][a-z\s/'-]{0,40}))?"
)
_COMPARISON = re.compile(r"(above|below|over|under|more|less|fewer|higher|lower|before|after|greater|yes|no)\b.*")
_RESULT = re.compile(r"[\d\s.+*/x-]+=\s*([-+]?[\d,.]+)")
_TRUTH = {"true": "yes", "false": "no"}


def extract(said: str) -> list[str] | None:
    """Return the items of the final answer as they are written, or `None`.

    >>> extract("The answer is Japan and South Korea.")
    ['Japan', 'South Korea']
    """
    span = final_answer(said)
    return None if span is None else _items(span) or None


def same(answer: Any, gold: Any) -> bool:
    """Tell whether two sets hold the same items.

    A text is split at commas, semicolons and "and" first, on both sides alike, so "Newbury, Ohio" equals itself. A
    quantity equals another with the same value where their units agree or one has none.

    >>> same(["South Korea (KOR)", "Japan"], "Japan, South Korea"), same("1,000 km", [1000]), same("8 km", "8 miles")
    (True, True, False)
    """
    if answer is None or gold is None:
        return False
    left, right = _normals(answer), _normals(gold)
    if not left or len(left) != len(right):
        return False
    return all(any(_equal(a, b) for b in right) for a in left) and all(any(_equal(a, b) for a in left) for b in right)


def show(answer: Any) -> str:
    """Return the items with commas between them."""
    return ", ".join(str(item) for item in answer) if isinstance(answer, list | tuple | set) else str(answer)


def _items(span: str) -> list[str]:
    parts = _BETWEEN.split(_DATE_COMMA.sub("\\1\0", span))  # the comma of a date does not end an item
    return [item for item in (clean(part).replace("\0", ",") for part in parts) if item]


def _normals(value: Any) -> tuple[str, ...]:
    """Return the normal form of each item, each once."""
    parts = value if isinstance(value, list | tuple | set) else [value]
    return _normals_of(" ; ".join(str(part) for part in parts))


@lru_cache(maxsize=65536)
def _normals_of(joined: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(normal for item in _BETWEEN.split(with_iso_dates(joined)) if (normal := _normal(item))))


def _normal(item: str) -> str:
    before = None
    while before != item:
        before, item = item, _DETAIL.sub("", text.normal(item))
    result = _RESULT.fullmatch(item)
    return result[1] if result else _TRUTH.get(item, item)


def _equal(left: str, right: str) -> bool:
    if left == right or _comparison(left) == right or left == _comparison(right):
        return True
    a, b = _quantity(left), _quantity(right)
    if a is None or b is None or not math.isclose(a[0], b[0], rel_tol=1e-6):
        return False
    return a[1].startswith(b[1]) or b[1].startswith(a[1])


def _comparison(item: str) -> str:
    """Return "above" of "above 50 points": the word that answers "above or below?"."""
    match = _COMPARISON.fullmatch(item)
    return match[1] if match else item


def _quantity(item: str) -> tuple[float, str] | None:
    """Return (value, unit) of "15 mm", "2nd", "$1,000", "seven goals"; a noun's plural is its singular."""
    match = _QUANTITY.fullmatch(plain(item))
    value = read_number(match[1]) if match else None
    return None if value is None else (value, " ".join((match[2] or "").split()).rstrip("s"))
