"""A JSON object: the fields that matter are compared one by one, numbers by value and texts without their dress."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from realm.verify import text
from realm.verify.kind import AnswerKind
from realm.verify.number import NumberAnswers

_LONGEST = 50_000
"""Characters at the end of a text in which an object is looked for."""
_TRIES = 200
"""Opening braces that are tried."""
_numbers = NumberAnswers(1e-6)


class JsonAnswers(AnswerKind):
    """Answers that are JSON objects."""

    def __init__(self, fields: Sequence[str] | None) -> None:
        """Compare `fields`; with `None`, every field that the gold answer has."""
        self.fields = fields

    def extract(self, text: str) -> dict[str, Any] | None:
        """Return the last whole JSON object in `text`, fenced or bare; `None` where there is none.

        >>> JsonAnswers(None).extract('First {"a": 1}. Then: ```json\\n{"a": {"b": 2}}\\n```')
        {'a': {'b': 2}}
        """
        text = text[-_LONGEST:]
        found, position = None, text.find("{")
        for _ in range(_TRIES):
            if position < 0:
                break
            try:
                found, end = _DECODER.raw_decode(text, position)
            except (ValueError, RecursionError):
                end = position + 1
            position = text.find("{", end)
        return found

    def same(self, answer: Any, gold: Any) -> bool | None:
        """Tell whether the fields agree; what the answer has besides does not matter."""
        left, right = _object(answer), _object(gold)
        if left is None or right is None:
            return False
        try:
            return all(
                name in left and name in right and _equal(left[name], right[name])
                for name in self.fields or right
            )
        except RecursionError:
            self.undecided += 1
            return None

    def show(self, answer: Any) -> str:
        """Return the object on one line."""
        return json.dumps(_object(answer), ensure_ascii=False)


def _finite(written: str) -> float:
    value = float(written)
    if not math.isfinite(value):
        raise ValueError(written)
    return value


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_finite)


def _object(value: Any) -> dict[str, Any] | None:
    """Return the object that `value` is, or that it is the text of."""
    if isinstance(value, str):
        try:
            value = _DECODER.decode(value)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, dict) else None


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(
            _equal(left[name], right[name]) for name in right
        )
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    if isinstance(left, bool) or isinstance(right, bool) or left is None or right is None:
        return left is right
    if isinstance(left, dict | list) or isinstance(right, dict | list):
        return False
    if isinstance(left, str) and isinstance(right, str):
        return text.same(left, right)
    return _numbers.same(left, right)
