"""A JSON object: the fields that matter are compared one by one, numbers by value."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Literal, NamedTuple

from realm.verify.kinds import AnswerKind, normalize_text
from realm.verify.number import NumberAnswer

_LONGEST = 50_000
"""Characters at the end of a text in which an object is looked for."""
_DEEPEST = 50
"""Levels of objects in objects; deeper ones are not read."""
# A string, whose braces do not count, or a brace.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}]', re.DOTALL)
# A comma before a closing bracket, outside of strings: many models leave one.
_TRAILING_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.DOTALL)
# "..." or "<your answer>": the form of an answer, repeated from the prompt.
_PLACEHOLDER = re.compile(r"\s*(?:\.\.\.|…|<[^<>]*>)\s*")
# Between two objects of which neither is preferred: " or alternatively ", " | ".
_ALTERNATIVE = re.compile(
    r"[\s`]*(?:[,;|/]|and|(?:or|alternatively|otherwise|maybe|perhaps)\b[\w\s,:`]{0,40})[\s`]*",
    re.IGNORECASE,
)
_NUMBERS = NumberAnswer()


class JsonAnswer(AnswerKind):
    """A JSON object."""

    kind: Literal["json"] = "json"
    fields: list[str] | None = None
    """The fields that must agree; null: all fields of the gold answer."""

    def read(self, span: str) -> dict[str, Any] | None:
        """Return the last whole JSON object in `span`, fenced or bare; `None` if there is none.

        One that has the fields asked for goes before others, and an empty object or a template
        such as {"total": "..."} is not an answer. An object with a key twice is unclear.

        >>> JsonAnswer().read('First {"a": 1}. Then: ```json\\n{"a": {"b": 2}}\\n```')
        {'a': {'b': 2}}
        """
        text = span[-_LONGEST:]
        found = [one for one in _list_objects(text) if one.value and not _is_template(one.value)]
        asked = [
            one for one in found if self.fields and all(name in one.value for name in self.fields)
        ]
        found = asked or found
        if not found:
            return None
        # Of a draft and an answer the later counts, of two alternatives none.
        for one, other in pairwise(found):
            if _ALTERNATIVE.fullmatch(text[one.end : other.start]) and one.value != other.value:
                return None
        return found[-1].value

    def find(self, text: str) -> dict[str, Any] | None:
        """Return the last whole JSON object in free text."""
        return self.read(text)

    def same(self, answer: Any, gold: Any) -> bool:
        """Return whether the fields agree; what the answer has besides does not matter."""
        left, right = _to_object(answer), _to_object(gold)
        if left is None or right is None:
            return False
        names = self.fields or list(right)
        return bool(names) and all(
            name in left and name in right and _is_equal(left[name], right[name]) for name in names
        )

    def render(self, answer: Any) -> str:
        """Return the object on one line."""
        return json.dumps(_to_object(answer), ensure_ascii=False)


class _Object(NamedTuple):
    start: int
    end: int
    value: dict[str, Any]


def _list_objects(text: str) -> Iterator[_Object]:
    """Yield the outermost objects of `text` that can be read.

    Nothing is read from inside an object that cannot: a part of a broken answer is no answer.
    """
    start = text.find("{")
    while start >= 0:
        end = _find_end(text, start)
        if end is None:
            return
        found = _to_object(_TRAILING_COMMA.sub(lambda m: m[1] or "", text[start:end]))
        if found is not None:
            yield _Object(start, end, found)
        start = text.find("{", end)


def _find_end(text: str, start: int) -> int | None:
    """Return the end of the object that opens at `start`; `None` if it is cut off."""
    depth = 0
    for token in _TOKEN.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(token[0], 0)
        if depth == 0:
            return token.end()
    return None


def _refuse_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a key comes twice")
    return dict(pairs)


def _to_finite(written: str) -> float:
    value = float(written)
    if not math.isfinite(value):
        raise ValueError(written)
    return value


# Not strict: a raw newline in a string is meant as one.
_DECODER = json.JSONDecoder(
    strict=False,
    parse_float=_to_finite,
    parse_constant=_to_finite,
    object_pairs_hook=_refuse_repeats,
)


def _to_object(value: Any) -> dict[str, Any] | None:
    """Return the object that `value` is, or that it is the text of."""
    if isinstance(value, str):
        try:
            value = _DECODER.decode(value.strip())
        except (ValueError, RecursionError):
            return None
    is_object = isinstance(value, dict) and _is_shallow(value)
    return value if is_object else None


def _is_shallow(value: Any) -> bool:
    level = [value]
    for _ in range(_DEEPEST):
        if not level:
            return True
        inner = (one.values() if isinstance(one, dict) else one for one in level)
        level = [one for items in inner for one in items if isinstance(one, dict | list)]
    return False


def _is_template(found: dict[str, Any]) -> bool:
    return any(isinstance(one, str) and _PLACEHOLDER.fullmatch(one) for one in found.values())


def _is_equal(left: Any, right: Any) -> bool:
    if isinstance(left, dict) and isinstance(right, dict):
        is_same_shape = left.keys() == right.keys()
        return is_same_shape and all(_is_equal(left[name], right[name]) for name in right)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_is_equal, left, right))
    if isinstance(left, bool) or isinstance(right, bool) or left is None or right is None:
        return left is right
    if isinstance(left, dict | list) or isinstance(right, dict | list):
        return False
    if isinstance(left, str) and isinstance(right, str):
        return normalize_text(left) == normalize_text(right)
    return _NUMBERS.same(left, right)
