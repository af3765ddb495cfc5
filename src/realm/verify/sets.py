"""A set of items, as WikiTableQuestions compares denotations: without order, numbers and dates by value."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Any

from realm.verify import text
from realm.verify.extract import clean, conclude
from realm.verify.kind import AnswerKind
from realm.verify.normal import plain, read_number, with_iso_times
from realm.verify.statement import states

_BETWEEN = re.compile(r"(?<!\d),\s*(?:and\s+)?|,\s+(?:and\s+)?|;\s*|\s+(?:and|&)\s+|\n+|\|")
_DATE_COMMA = re.compile(r"(\b[A-Za-z]{3,9}\.? \d{1,2}(?:st|nd|rd|th)?),(?= ?\d{4}\b)")
_DETAIL = re.compile(
    r"(?<=\S)\s*(?:\([^()]*\)|\[[^\[\]]*\])$|(?<=\S) from (?:the )?[a-z][a-z' -]*$|"
    r"^(?:\w+ed )?(?:from|in|at|on|by) (?:the )?(?=[a-z])"
)
"""Detail that an item may carry or lack: "Guam (GUM)", "Ann from Peru", "located in Peru"."""

_QUANTITY = re.compile(
    r"(?:[a-z]+\.? )?#?([-+]?[$€£]?[\d,]*\.?\d+|\b[a-z]+)(?:(?:st|nd|rd|th)\b|%)?(?:[\s-]+([a-z][a-z\s/'-]{0,40}))?"
)
_TRUTH = {"true": "yes", "false": "no"}


def extract(said: str) -> list[str] | None:
    """Return the items of the final answer as they are written, or `None`.

    >>> extract("The answer is Japan and South Korea.")
    ['Japan', 'South Korea']
    """
    conclusion = conclude(said)
    if conclusion is None:
        return None
    return [conclusion.text] if conclusion.form == "closing" else _items(conclusion.text) or None


def same(answer: Any, gold: Any) -> bool:
    """Tell whether two sets hold the same items.

    A text is split at commas, semicolons and "and" first, on both sides alike, so "Newbury, Ohio" equals itself. A
    quantity equals another with the same value where their units agree or one has none. Where one side is a sentence, it
    must commit to the other as its answer.

    >>> same(["South Korea (KOR)", "Japan"], "Japan, South Korea"), same("1,000 km", [1000]), same("8 km", "8 miles")
    (True, True, False)
    >>> same(["Ann won 7 games in 2004"], ["7"]), same(["Ann won more games than Bo"], ["Bo"])
    (True, False)
    """
    if answer is None or gold is None:
        return False
    left, right = _normals(answer), _normals(gold)
    if len(left) == len(right) > 0 and all(any(_equal(a, b) for b in right) for a in left):
        return all(any(_equal(a, b) for a in left) for b in right)
    return states(_sentence(answer), _whole(gold)) or states(
        _sentence(gold), _whole(answer), last=True
    )


def show(answer: Any) -> str:
    """Return the items with commas between them."""
    return (
        ", ".join(str(item) for item in answer)
        if isinstance(answer, list | tuple | set)
        else str(answer)
    )


def _items(span: str) -> list[str]:
    parts = _BETWEEN.split(
        _DATE_COMMA.sub("\\1\0", span)
    )  # the comma of a date does not end an item
    return [item for item in (clean(part).replace("\0", ",") for part in parts) if item]


def _sentence(value: Any) -> str:
    """Return all items as one sentence; nothing where they are several short ones: a list states none of its items alone."""
    several = isinstance(value, list | tuple | set) and len(value) > 1
    return "" if several and all(str(item).count(" ") < 3 for item in value) else show(value)


def _whole(value: Any) -> str:
    """Return the normal form of all items as one text."""
    return _normal(with_iso_times(show(value)))


def _normals(value: Any) -> tuple[str, ...]:
    """Return the normal form of each item, each once."""
    parts = value if isinstance(value, list | tuple | set) else [value]
    return _normals_of(" ; ".join(str(part) for part in parts))


@lru_cache(maxsize=65536)
def _normals_of(joined: str) -> tuple[str, ...]:
    return tuple(
        dict.fromkeys(
            normal for item in _BETWEEN.split(with_iso_times(joined)) if (normal := _normal(item))
        )
    )


def _normal(item: str) -> str:
    before = None
    while before != item:
        before, item = item, _DETAIL.sub("", text.normal(item))
    return _TRUTH.get(item, item)


def _equal(left: str, right: str) -> bool:
    if left == right:
        return True
    a, b = _quantity(left), _quantity(right)
    if a is None or b is None or not math.isclose(a[0], b[0], rel_tol=1e-6):
        return False
    return a[1].startswith(b[1]) or b[1].startswith(a[1])


def _quantity(item: str) -> tuple[float, str] | None:
    """Return (value, unit) of "15 mm", "2nd", "$1,000", "seven goals"; a noun's plural is its singular."""
    match = _QUANTITY.fullmatch(plain(item))
    value = read_number(match[1]) if match else None
    return None if value is None else (value, " ".join((match[2] or "").split()).rstrip("s"))


class SetAnswers(AnswerKind):
    """Sets of items."""

    def __init__(self) -> None:
        self.extract, self.same, self.show = extract, same, show
