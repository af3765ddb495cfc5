"""Plain arithmetic in LaTeX, read to its value without computer algebra: numbers, fractions, roots, powers, polynomials."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction

_SPACE = re.compile(r"\s*")
_NUMBER = re.compile(r"\d+(?:\.\d+)?|\.\d+")
_DIGIT = re.compile(r"\d")
_MIXED = re.compile(r"\s*\\frac(?:\{(\d{1,40})\}\{(\d{1,40})\}|(\d)(\d))")
_WORD = re.compile(r"\\[A-Za-z]+|[A-Za-z]{3,}|.", re.DOTALL)
_PLACE = re.compile(r"\d\d|\d*\.")
_TIMES = {"*", "\\cdot", "\\times", "·", "×"}
_OVER = {"/", "\\div", "÷"}
_ENDS = {"", "+", "-", "−", ")", "}", "]"}
_CLOSING = {"(": ")", "{": "}"}
_GREEK = (
    "\\alpha",
    "\\beta",
    "\\gamma",
    "\\delta",
    "\\theta",
    "\\lambda",
    "\\mu",
    "\\sigma",
    "\\phi",
    "\\omega",
)
_CALLED = {*"fghpqFGHPQ", "\\sigma", "\\phi", "\\mu"}
"""Letters that a bracket makes a function of."""
_SUBSCRIPT = re.compile(r"_(?:([A-Za-z0-9])|\{([A-Za-z0-9])\})")
_FUNCTIONS = {
    "\\sin": math.sin,
    "\\cos": math.cos,
    "\\tan": math.tan,
    "\\cot": lambda angle: 1 / math.tan(angle),
    "\\exp": math.exp,
    "\\ln": math.log,
}
_FARTHEST = 1000
"""Beyond it a float is no good argument of a function."""
_DEEPEST = 20
_MOST_DIGITS = 40
_MOST_BITS = 8192
_SMALLEST, _LARGEST = 1e-3, 1e6
"""Between them a number that is not exact keeps enough digits, whatever is taken from it."""


class NotPlain(Exception):
    """The text is something else than plain arithmetic, or too large to be told here."""


@dataclass(frozen=True, kw_only=True)
class Value:
    """What an expression is worth."""

    at: tuple[Fraction | float, ...]
    """The value at one point and at another: exact where it is a `Fraction`, infinite where it is huge."""
    decimal: bool
    """A number in it is written with a decimal point, so that it may be rounded."""

    @property
    def constant(self) -> bool:
        """Tell whether no variable matters."""
        return self.at[0] == self.at[1]


def evaluate(text: str) -> Value:
    r"""Return the value of `text`, or raise `NotPlain`; nothing is ever handed to Python to evaluate.

    >>> evaluate(r"1\frac{1}{2} + \sqrt{4}").at[0]
    Fraction(7, 2)
    """
    try:
        readers = [_Reader(text, point) for point in (0, 1)]
        value = Value(at=(readers[0].whole(), readers[1].whole()), decimal=readers[0].decimal)
    except (ZeroDivisionError, OverflowError, RecursionError, ValueError):
        raise NotPlain from None
    if readers[0].roots != readers[1].roots:
        raise NotPlain  # a root of a variable: two points do not tell x from |x|
    return value


class _Reader:
    """Reads one text from left to right; `point` says which values the variables have."""

    def __init__(self, text: str, point: int) -> None:
        self.text, self.point = text, point
        self.position = self.depth = 0
        self.decimal = False
        self.roots: list[Fraction | float] = []

    def whole(self) -> Fraction | float:
        value = self._sum()
        if self._next():
            raise NotPlain
        return value

    def _sum(self) -> Fraction | float:
        value = self._signed()
        while (sign := self._next()) in {"+", "-", "−"}:
            self._take(sign)
            term = self._product()
            value = _exact_enough(value + term if sign == "+" else value - term)
        return value

    def _signed(self) -> Fraction | float:
        sign = self._next()
        if sign not in {"+", "-", "−"}:
            return self._product()
        self._take(sign)
        value = self._product()
        return value if sign == "+" else -value

    def _product(self) -> Fraction | float:
        value, divided = self._power(), False
        while (word := self._next()) not in _ENDS:
            if word in _TIMES | _OVER:
                self._take(word)
                negative = self._next() in {"-", "−"}
                if negative:
                    self._take(self._next())
                factor = -self._power() if negative else self._power()
                value = _exact_enough(value / factor if word in _OVER else value * factor)
                divided = word in _OVER
            elif divided or word.isdigit() or word == ".":
                raise NotPlain  # 1/2x and x2 are read in more than one way
            else:
                value = _exact_enough(value * self._power())
        return value

    def _power(self) -> Fraction | float:
        base = self._atom()
        if self._next() != "^":
            return base
        self._take("^")
        if _PLACE.match(self.text, self.position):
            raise NotPlain  # x^10 is x^1 times 0 in LaTeX, and meant otherwise
        exponent = self._argument()
        if exponent != int(exponent):
            self.roots.append(base)
        return _raise(base, exponent)

    def _argument(self) -> Fraction | float:
        """Return what a command applies to: a group, or one character."""
        word = self._next()
        if word == "{":
            return self._group(word)
        if word.isdigit():
            return Fraction(self._match(_DIGIT))
        return self._atom()

    def _atom(self) -> Fraction | float:
        word = self._next()
        if word in _CLOSING:
            return self._group(word)
        if word.isdigit() or word == ".":
            return self._number()
        self._take(word)
        if word in {"\\pi", "π"}:
            return math.pi
        if word in {"\\infty", "∞"}:
            return _variable("∞", self.point)  # equal to itself only
        if word == "\\frac":
            return _exact_enough(self._argument() / self._argument())
        if word == "\\sqrt":
            degree = self._degree()
            self.roots.append(self._argument())
            return _raise(self.roots[-1], Fraction(1, degree))
        if word == "|":
            return self._absolute()
        if word == "e":
            return math.e
        if word in _FUNCTIONS:
            return self._function(word)
        if (len(word) == 1 and word.isascii() and word.isalpha()) or word in _GREEK:
            return self._named(word)
        raise NotPlain

    def _function(self, name: str) -> float:
        exponent: Fraction | float = Fraction(1)
        if self._next() == "^":
            self._take("^")
            exponent = self._argument()
        grouped = self._next() in _CLOSING
        argument = self._atom()
        while (
            not grouped
            and (word := self._next()) not in _ENDS | _TIMES | _OVER
            and word not in _FUNCTIONS
            and word not in "({|^_"
        ):
            argument = argument * self._atom()
        if self._next() in {"^", "_"} or exponent < 1 or abs(argument) > _FARTHEST:
            raise NotPlain  # an inverse function, or a power of one does not know what
        return _raise(_exact_enough(_FUNCTIONS[name](argument)), exponent)

    def _named(self, word: str) -> Fraction:
        """Return the value of a variable, with its subscript if it has one; f(x) is none."""
        found = _SUBSCRIPT.match(self.text, self.position)
        if found is None and (
            self._next() == "_" or (word in _CALLED and self.text.startswith("(", self.position))
        ):
            raise NotPlain
        if found is None:
            return _variable(word, self.point)
        self.position = found.end()
        if self.text.startswith("(", self.position):
            raise NotPlain
        return _variable(word, self.point, found[1] or found[2])

    def _number(self) -> Fraction:
        written = self._match(_NUMBER)
        if len(written) > _MOST_DIGITS:
            raise NotPlain
        mixed = _MIXED.match(self.text, self.position)
        if "." in written or not mixed:
            self.decimal |= "." in written
            return Fraction(written)
        self.position = mixed.end()
        over, under = filter(None, mixed.groups())
        return Fraction(written) + Fraction(int(over), int(under))

    def _absolute(self) -> Fraction | float:
        end = self.text.find("|", self.position)
        inner = evaluate(self.text[self.position : max(end, self.position)])
        if not inner.constant:
            raise NotPlain
        self.position = end + 1
        self.decimal |= inner.decimal
        return abs(inner.at[0])

    def _degree(self) -> int:
        if self._next() != "[":
            return 2
        self._take("[")
        degree = int(self._match(_DIGIT))
        self._take("]")
        return degree or 2

    def _group(self, opening: str) -> Fraction | float:
        self._take(opening)
        self.depth += 1
        if self.depth > _DEEPEST:
            raise NotPlain
        value = self._sum()
        self._take(_CLOSING[opening])
        self.depth -= 1
        return value

    def _next(self) -> str:
        """Return the word or character that comes next, without taking it; "" at the end."""
        self.position = _SPACE.match(self.text, self.position).end()
        word = _WORD.match(self.text, self.position)
        return word[0] if word else ""

    def _take(self, word: str) -> None:
        if self._next() != word:
            raise NotPlain
        self.position += len(word)

    def _match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.position)
        if found is None:
            raise NotPlain
        self.position = found.end()
        return found[0]


def _variable(letter: str, point: int, subscript: str = "\0") -> Fraction:
    """Return the value of a variable, another for each letter and subscript."""
    place = 128 * ord(subscript) + (_GREEK.index(letter) if letter in _GREEK else ord(letter) % 128)
    return Fraction(place + 101, 89) if point == 0 else Fraction(53 - 5 * place, 97)


def _raise(base: Fraction | float, exponent: Fraction | float) -> Fraction | float:
    """Return a power: exact where it can be, and not at all where it is complex, or too large."""
    if isinstance(base, Fraction) and isinstance(exponent, Fraction):
        if exponent == Fraction(1, 2) and base >= 0:
            roots = math.isqrt(base.numerator), math.isqrt(base.denominator)
            if roots[0] ** 2 == base.numerator and roots[1] ** 2 == base.denominator:
                return Fraction(*roots)
        if exponent.denominator == 1:
            if (
                abs(exponent) * (base.numerator.bit_length() + base.denominator.bit_length())
                > _MOST_BITS
            ):
                return _huge(base, exponent)
            return base ** int(exponent)
    whole = exponent == int(exponent)
    if math.inf in (base, exponent) or abs(exponent) > _LARGEST or (base <= 0 and not whole):
        raise NotPlain
    return _exact_enough(float(base) ** (int(exponent) if whole else float(exponent)))


def _huge(base: Fraction, exponent: Fraction) -> float:
    if base < 2 or exponent < 0:
        raise NotPlain
    return math.inf


def _exact_enough(value: Fraction | float) -> Fraction | float:
    if value == math.inf:
        return value
    if isinstance(value, float) and not _SMALLEST < abs(value) < _LARGEST:
        raise NotPlain
    return value
