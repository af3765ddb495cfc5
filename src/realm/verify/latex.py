"""Tell of two answers in LaTeX whether they are equal, where that is cheap: numbers, expressions, pairs, lists, matrices, words.

Both sides are read to their exact values; what is not read is `None` here and left to symbolic comparison.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from realm.verify.arithmetic import NotPlain, Value, evaluate

_LONGEST = 1000
"""Characters of an answer that is read here."""
_TEXT = r"\\(?:text|textbf|textit|textrm|textnormal|mathrm|mathbf|mbox)\s*\{([^{}]*)\}"
_DRESS = re.compile(
    r"\\(?:left|right|displaystyle|[bB]ig[lr]?)(?![A-Za-z])|(?<!\\)\\[,;: ()]|~|\\?\$"
    r"|°|\^\s*(?:\{\s*\\circ\s*\}|\\circ)(?![A-Za-z])"
)
_DEGREES = re.compile(r"°|\\circ|\\deg|degree")
_ANGLE = re.compile(r"\\(?:sin|cos|tan|cot)")
_UNIT = re.compile(rf"(?<=\S)\s*{_TEXT}(?:\^\d|\^\{{\d\}})?$")
_MAY_BE_UNIT = re.compile(r"(?:\d|\}|\s)\s*(?:[A-Za-z]{2,}|[othclsdgm])$")
"""A unit or a factor, as in "15 cm" and "15 m"."""
_THOUSANDS = re.compile(r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_EQUATION = re.compile(r"([^=<>,]*[^=<>,!\\])=(?:[^=<>,]*=)*([^=<>,]+)")
_NUMERIC = re.compile(r"(?:[^A-Za-z\\]|\\(?:frac|sqrt|cdot|times|pi)(?![A-Za-z]))+")
_BASED = re.compile(r"(\d+)_(?:\{(\d+)\}|(\d))")
_MATRIX = re.compile(r"\\begin\{([pb]?matrix)\}(.*)\\end\{\1\}", re.DOTALL)
_WORDS = re.compile(r"(?=.*[A-Za-z]{3})[A-Za-z]+(?: [A-Za-z]+)*")
_PROSE = re.compile(r"(?:(?<![\\A-Za-z])[A-Za-z]{3,}\b.*?){4}", re.DOTALL)
_LINEAR = re.compile(r"(?:(?:(?<![\da-z])|[-+])(?:\d+[a-z]?|[a-z])(?![a-z]))+")
_BROKEN = re.compile(r"\\frac\{[^{}]*\}$|=$")
"""Ends before its second half."""
_UNION = "\\cup"
_PAIRS = {"()", "(]", "[)", "[]"}
_BETWEEN = re.compile(r"([^<]+?)\s*(<|\\leq?(?![a-z]))\s*[a-z]\s*(<|\\leq?(?![a-z]))\s*([^<]+)")
_DECIMALS = 6
"""Places to which a decimal answer is compared, as math-verify does."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """An answer as far as it is read here."""

    text: str
    """Without dress: equal texts are equal answers, and the empty text says nothing."""
    words: str | None
    """The answer in lower case where it is marked as words, or looks like one."""
    marked: bool
    """It is marked as words, so that it is no product of variables."""
    left: str | None
    """What an equation, or a chain of them, begins with: x in x = 1 + 1 = 2."""
    base: str | None
    """The base that a number is written in: 8 in 52_8."""
    shape: str
    """The brackets around the parts, or the rows and columns of a matrix; empty for a bare list and a single value."""
    parts: tuple[Value | None, ...] | None
    """`None` where nothing is read, and in place of a part that is not."""
    linear: tuple[Fraction | float, ...] | None
    """Left side less right side of a linear equation, at both points."""

    @property
    def is_number(self) -> bool:
        """Tell whether every part is a number."""
        return self.parts is not None and all(
            part is not None and part.constant for part in self.parts
        )


def compare(answer: str, gold: str) -> bool | None:
    r"""Tell whether two answers are equal; `None` where that takes symbolic comparison.

    >>> compare(r"\frac{2}{4}", "0.5"), compare("(1, 2)", "(2, 1)"), compare(r"\binom{4}{2}", "6")
    (True, False, None)
    """
    a, b = read(answer), read(gold)
    if a.text == b.text:
        return True if a.text else None
    if a.words and b.words and (a.marked or b.marked or min(len(a.words), len(b.words)) > 3):
        return a.words == b.words
    if (a.words and b.is_number) or (b.words and a.is_number):
        return False
    if bool(_BROKEN.search(a.text)) != bool(_BROKEN.search(b.text)):
        return False
    if a.text.casefold() == b.text.casefold() or a.parts is None or b.parts is None:
        return None
    if a.linear and b.linear:
        return a.linear[0] * b.linear[1] == a.linear[1] * b.linear[0]
    if a.base and b.base and a.base != b.base:
        return None
    same = _same_parts(a, b)
    if (
        b.left is None
        or _NUMERIC.fullmatch(b.left)
        or (len(b.left) == 1 and a.left in {None, b.left})
    ):
        return same
    return (
        False if same is False and a.left is None else None
    )  # y + z = 2 is more than 2, and never 3


def _same_parts(a: Form, b: Form) -> bool | None:
    """Compare the parts, in order where there are brackets; 1, 2 and (1, 2) are the same answer, [1, 2] and (1, 2) are not."""
    same = _same_items(a.parts, b.parts)
    if same is False or not (a.shape or b.shape):
        return same
    in_order = len(a.parts) == len(b.parts) and _all(map(_same, a.parts, b.parts))
    if a.shape == b.shape:
        return None if in_order is False and _UNION in a.shape else in_order
    if {a.shape, b.shape} == {"", "()"} and in_order:
        return True
    return False if a.shape in _PAIRS and b.shape in _PAIRS else None


@lru_cache(maxsize=65536)
def read(text: str) -> Form:
    """Return the form of `text`, whatever it holds."""
    if len(text) > _LONGEST:
        return Form(
            text="",
            words=None,
            marked=False,
            left=None,
            base=None,
            shape="",
            parts=None,
            linear=None,
        )
    bare = _DRESS.sub(" ", re.sub(r"\\!\s*", "", text).replace("{,}", ","))
    bare = re.sub(r"√\s*(\d+)", r"\\sqrt{\1}", bare)
    bare = re.sub(r"\\[dtc]frac", r"\\frac", bare).strip().rstrip(" .\\")
    degrees = (
        _DEGREES.search(text) is not None and _ANGLE.search(text) is not None
    )  # 30 and 30 degrees are one number, no one angle
    said = re.sub(_TEXT, r"\1", bare).strip(" .()")
    bare = re.sub(_TEXT, r"\1", _UNIT.sub("", bare)).strip()
    bare = bare[1:-1] if re.fullmatch(r"\([A-Z]\)", bare) else bare
    prose = _PROSE.search(said) is not None
    equation = _EQUATION.fullmatch(bare)
    body = equation[2].strip() if equation else bare
    based = _BASED.fullmatch(body)
    shape, parts = _split(based[1] if based else body)
    return Form(
        text=re.sub(r"(?<!\d)\s+|\s+(?!\d)", "", bare),
        words=said.casefold() if prose or _WORDS.fullmatch(said) else None,
        marked=prose or re.search(_TEXT, text) is not None,
        left=equation[1].strip() if equation else None,
        base=(based[2] or based[3]) if based else None,
        shape=shape,
        parts=None
        if prose or degrees or _MAY_BE_UNIT.search(bare)
        else tuple(_value(way) for part in parts for way in _ways(part)),
        linear=_linear(bare),
    )


def _ways(part: str) -> list[str]:
    """Return the two answers of 1 \\pm 2, and any other by itself."""
    return (
        [part.replace("\\pm", "+"), part.replace("\\pm", "-")]
        if part.count("\\pm") == 1
        else [part]
    )


def _linear(text: str) -> tuple[Fraction | float, ...] | None:
    sides = "".join(text.split()).split("=")
    if (
        len(sides) != 2
        or not all(_LINEAR.fullmatch(side) for side in sides)
        or not re.search("[a-z]", text)
    ):
        return None
    left, right = map(_value, sides)
    return tuple(a - b for a, b in zip(left.at, right.at, strict=True)) if left and right else None


def _split(text: str) -> tuple[str, list[str]]:
    """Return the brackets around `text`, and its parts; of intervals, one after another."""
    matrix = _MATRIX.fullmatch(text)
    if matrix:
        rows = [row.split("&") for row in re.split(r"\\\\", matrix[2]) if row.strip()]
        return f"{len(rows)} x {max(map(len, rows), default=0)}", [
            cell for row in rows for cell in row
        ]
    if _THOUSANDS.fullmatch(text):
        return "", [text.replace(",", "")]
    between = _BETWEEN.fullmatch(text)
    if between:
        opening, closing = "[("[between[2] == "<"], "])"[between[3] == "<"]
        return _bracketed(f"{opening}{between[1]}, {between[4]}{closing}") or ("", [text])
    pairs = [
        _bracketed(pair.strip())
        for pair in re.sub(r"^[a-z]\s*\\in(?![a-z])", "", text).split(_UNION)
    ]
    if all(pairs):
        return _UNION.join(shape for shape, _ in pairs), [
            part for _, parts in pairs for part in parts
        ]
    if text.startswith("\\{") and text.endswith("\\}"):
        text = text[2:-2]
    return "", _split_at_commas(text) or [text]


def _bracketed(text: str) -> tuple[str, list[str]] | None:
    """Return the brackets and the parts of a pair, a tuple or an interval; nothing is closed at infinity."""
    if text[:1] not in {"(", "["} or text[-1:] not in {")", "]"}:
        return None
    parts = _split_at_commas(text[1:-1])
    if parts is None or len(parts) < 2:
        return None
    opening = "(" if "\\infty" in parts[0] else text[0]
    return opening + (")" if "\\infty" in parts[-1] else text[-1]), parts


def _split_at_commas(text: str) -> list[str] | None:
    """Return what is between the commas outside of brackets; `None` where the brackets do not match."""
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth < 0:
            return None
        if character == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    return [*parts, text[start:]] if depth == 0 else None


def _value(part: str) -> Value | None:
    try:
        return evaluate(part)
    except NotPlain:
        return None


def _same_items(left: Sequence[Value], right: Sequence[Value]) -> bool | None:
    """Tell whether two lists hold the same values, in any order."""
    return _all(
        _any(_same(x, y) for y in ys) for xs, ys in ((left, right), (right, left)) for x in xs
    )


def _same(left: Value | None, right: Value | None) -> bool | None:
    """Tell whether two values are equal; `None` where one is not read, or rounding leaves it open."""
    if left is None or right is None:
        return None
    if (left.decimal or right.decimal) and not (left.constant or right.constant):
        return None
    return _all(
        map(_same_number, left.at, right.at, [left.decimal or right.decimal] * len(left.at))
    )


def _same_number(left: Fraction | float, right: Fraction | float, rounded: bool) -> bool | None:
    if math.inf in (left, right):
        return None if left == right else False
    if left == right:
        return True
    apart = abs(left - right)
    if rounded:
        return False if apart > 1.01 * 10**-_DECIMALS else None
    if isinstance(left, Fraction) and isinstance(right, Fraction):
        return False
    if apart > 1e-5 * max(abs(left), abs(right)):
        return False
    return True if apart < 1e-12 * max(abs(left), abs(right)) else None


def _all(told: Iterable[bool | None]) -> bool | None:
    """Return False where one is, True where all are, and `None` where it is open."""
    verdicts = list(told)
    return False if False in verdicts else None if None in verdicts else True


def _any(told: Iterable[bool | None]) -> bool | None:
    verdicts = list(told)
    return True if True in verdicts else None if None in verdicts else False
