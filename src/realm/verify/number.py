"""A number: compared by value, however it is written, with or without a unit."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any, Literal, NamedTuple

from pydantic import NonNegativeFloat

from realm.verify.extract import unwrap_answer
from realm.verify.kinds import AnswerKind
from realm.verify.normal import NUMBER_WORDS, fold_text

_LONGEST = 200
"""Characters of a number with its unit and its remarks."""
_MOST_DIGITS = 100
_MOST_POWER = 400
"""Largest power that is written out; floats end at 1e308."""
_CLOSE, _CLOSE_TO_WHOLE = 1e-6, 1e-9
"""Relative difference between two roundings of one number: of one that is not whole, and between a
whole number and the rounding of a calculation (4.999999999999999)."""

# Thousands in groups of three, by comma, space, apostrophe or underscore; in groups of two as in
# India; by dots where a decimal comma or a second group leaves no other reading; a decimal comma
# before a number of digits other than three.
_GROUPED = (
    r"\d{1,3}(?:[,' _]\d{3})+(?![,\d])(?:\.\d+)?|\d{1,2}(?:,\d{2})+,\d{3}(?!\d)(?:\.\d+)?"
    r"|\d{1,3}(?: \d{3})+,\d{1,2}(?!\d)"
)
_FOREIGN = r"\d{1,3}(?:\.\d{3})+,\d+|\d{1,3}(?:\.\d{3}){2,}|\d+,(?:\d{1,2}|\d{4,})(?![,\d])"
_PLAIN = r"\d+(?:\.\d+)?(?:e[-+]?\d{1,3}(?!\d))?|\.\d+"
_NUMERAL = rf"(?:{_FOREIGN}|{_GROUPED}|{_PLAIN})"
_CURRENCY = r"(?:[$€£¥₹]|us\$|rs\.?)"
_VALUE = re.compile(
    rf"(?P<sign>[-+] ?)?(?P<currency>{_CURRENCY})? ?(?P<sign2>-)?(?P<number>{_NUMERAL})"
    rf"(?:(?P<between> |-| and )(?P<over>\d{{1,15}})/(?P<under>\d{{1,15}})"  # 2 1/2, 1-1/2
    r"| ?/ ?(?P<divisor>\d{1,15}(?:\.\d+)?)"  # 3/4
    r"| ?[*x] ?10\^(?P<exponent>-?\d{1,3})"  # 1.5 x 10^6
    r"|\^(?P<power>-?\d{1,3}))?(?![\d.,:^]*\d)"
)
_SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9}
_SCALES |= {"trillion": 10**12, "dozen": 12, "lakh": 10**5, "crore": 10**7}
_ASIAN_SCALES = {"万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
_SCALE = re.compile(rf"-?(?:({'|'.join(_SCALES)})s?\b|([{''.join(_ASIAN_SCALES)}]))")
# Thousands and more that are not read, in the forms that `fold_text` gives; but 千克 is a kilogram.
_OTHER_SCALE = re.compile(
    r"-?(?:tens?|score|gross|\w+illi(?:on|ard)\w*|mil|mille|mil[ij][ao]\w*|milh\w+|mil[lh]?on\w*"
    r"|m[lr][nd]|tausend|tusen\w*|duizend|tys\w*|ribu|juta|тыс\w*|миллион\w*|миллиард\w*|млн|млрд"
    r"|الف|مليون|مليار|लाख|करोड)\b|[百兆]|千(?![克米瓦卡])|" + fold_text("만|천|억|조")
)
_SHORT_SCALES = {"k": 10**3, "m": 10**6, "mn": 10**6, "b": 10**9, "bn": 10**9, "t": 10**12}
# Behind a currency only, as in "$3k": elsewhere m is a metre.
_SHORT_SCALE = re.compile(r" ?(k|mn?|bn?|t)(?!\w)")
# A unit right behind the digits: "2.5kg", "12米", "30°"; one letter may as well be a variable.
_UNIT = re.compile(r"[a-z]{2,12}(?![\w])|[gmslhlvwajcf°'\"]?(?!\w)|[^\x00-\x7f]")
_PERCENT = re.compile(r" ?(?:%|per ?cent\b|percentage points?\b)")
_MINUS = re.compile(r"(?:negative|minus) ")
# Words and signs that change a number which is not read with them.
_CHANGED = re.compile(
    r"\b(?:half|halves|thirds?|quarters?|double|twice|triple|negative|minus|plus|times|squared"
    r"|cubed|divided|multiplied|or|nor|not|except|without|between|than|least|most|over|under"
    r"|above|below|up to|maybe|perhaps|possibly|alternatively|(?:" + "|".join(_SCALES) + r")s?"
    r"|(?!one\b|once\b)(?:" + "|".join(NUMBER_WORDS) + r"))\b|[+<>≤≥*^=±√π∞‰|&\\]|\d"
)
_CHANGED_BEFORE = re.compile(
    r"\b(?:root|sqrt|log|ln|sin|cos|tan|factorial|reciprocal|inverse|opposite|but|almost|nearly"
    r"|close to|never|unlikely|wrong|incorrect|exceed\w*|beyond|\w+n't)\b|-\W*$|/$"
)
# "x != 3", "x >= 3", "x = 3 or 4": none of them is one number.
_RELATION = re.compile(r"≠|[!<>/]=|=[<>/]|=.*\bor\b")
# "x = 3, y = 5": the value of several names.
_ASSIGNMENT = re.compile(
    r"(?:^|[,;/&|∨]|\d |\b(?:and|or)\b)\s*[a-z](?:_?\{?\w{1,3}\}?)? ?=", re.IGNORECASE
)
# A remark in brackets explains the number, but not where it names another: "42 (6 * 7)".
_REMARK = re.compile(
    r"(?P<said>.*\d.*?) [(\[](?!(?:or|not|maybe|perhaps|possibly|alternatively|if)\b)"
    r"(?P<remark>[^()\[\]]*)[)\]](?P<rest>[^=]*)"
)
_ROUNDLY = re.compile(r"(?:about|approximately|around|exactly|roughly|~|≈)\s*")
_TENS = "thirty forty fifty sixty seventy eighty ninety".split()  # noqa: SIM905
_WORDS = NUMBER_WORDS | {word: 30 + 10 * index for index, word in enumerate(_TENS)}
_WORD_NUMBER = re.compile(
    rf"\b(?:{'|'.join(_WORDS)})(?:[ -](?:and )?(?:{'|'.join([*_WORDS, *_SCALES])}))*\b"
)
_INFINITY = re.compile(r"[-+]?(?:∞|infinity|\\infty)")


class Number(NamedTuple):
    """A number as it is written: "12%" is Number(Fraction(12), is_percent=True)."""

    value: Fraction
    is_percent: bool


class NumberAnswer(AnswerKind):
    """A number. Whole numbers are equal or not; others may differ by a rounding.

    The gold answer says what a percentage means: 12% equals the gold 12% and the gold 12, and a
    gold between 0 and 1, such as 0.12, is a share of one.
    """

    kind: Literal["number"] = "number"
    tolerance: NonNegativeFloat | None = None
    """How far two equal numbers may lie apart, as a share of the larger; null: whole numbers are
    compared exactly, and others to a millionth."""

    def read(self, span: str) -> int | float | str | None:
        """Return the one number in `span`, a percentage as text; of several, none.

        >>> numbers = NumberAnswer()
        >>> numbers.read("$1,250 per year"), numbers.read("3 + 4 = 7"), numbers.read("12 %")
        (1250, 7, '12%')
        >>> numbers.read("3 or 4") is None
        True
        """
        number = read_number(span)
        if number is None:
            infinite = _INFINITY.fullmatch(span.strip())
            return span.strip() if infinite else None
        plain = _to_plain(number.value)
        return f"{plain}%" if number.is_percent and plain is not None else plain

    def same(self, answer: Any, gold: Any) -> bool:
        """Return whether two numbers are equal."""
        left, right = read_number(answer), read_number(gold)
        if left is None or right is None:
            texts = [str(side).strip() for side in (answer, gold)]
            return texts[0] == texts[1] and _INFINITY.fullmatch(texts[0]) is not None
        if left.is_percent == right.is_percent:
            return self._is_close(left.value, right.value)
        share, other = (left, right) if left.is_percent else (right, left)
        if left.is_percent and 0 < abs(other.value) < 1:
            return self._is_close(share.value / 100, other.value)
        if right.is_percent and self._is_close(share.value / 100, other.value):
            return True
        return self._is_close(share.value, other.value)

    def render(self, answer: Any) -> str:
        """Return the shortest text of the number: 7, not 7.0."""
        number = read_number(answer)
        plain = None if number is None else _to_plain(number.value)
        if number is None or plain is None:
            return str(answer)
        return f"{plain}%" if number.is_percent else str(plain)

    def _is_close(self, left: Fraction, right: Fraction) -> bool:
        if left == right:
            return True
        num_whole = [left.denominator, right.denominator].count(1)
        # By how many of the two are whole: none, one or both.
        close = (_CLOSE, _CLOSE_TO_WHOLE, 0)[num_whole]
        tolerance = Fraction(close if self.tolerance is None else self.tolerance)
        return abs(left - right) <= tolerance * max(abs(left), abs(right))


def read_number(value: Any) -> Number | None:
    """Return the number that `value` is or writes, or `None` if it is not one number.

    >>> read_number("2½ cups").value, read_number("-1,250 km").value
    (Fraction(5, 2), Fraction(-1250, 1))
    >>> read_number("7 or 8"), read_number("2x"), read_number("> 7")
    (None, None, None)
    """
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, Fraction | int):
        return Number(Fraction(value), False)
    if isinstance(value, float):
        return Number(Fraction(str(value)), False) if math.isfinite(value) else None
    span = unwrap_answer(str(value))
    if len(span) > _LONGEST or _RELATION.search(span) or len(_ASSIGNMENT.findall(span)) > 1:
        return None
    span = _tidy(span)
    explained = _REMARK.fullmatch(span)
    if explained is None:
        return _read_equation(span)
    number, remark = _read_equation(explained["said"] + explained["rest"]), explained["remark"]
    is_other = _VALUE.fullmatch(remark) or _WORD_NUMBER.fullmatch(remark)
    return None if is_other and _read_equation(remark) != number else number


def _read_equation(span: str) -> Number | None:
    """Return what stands behind the last equals sign, or 56 of "56 = 7 * 8"; 7 = 8 says nothing."""
    sides = [side.strip(' ,;:!?*_"').rstrip(".") for side in span.split("=")]
    numbers = [_read_signed(_ROUNDLY.sub("", side, count=1)) for side in sides]
    bare = [
        number
        for side, number in zip(sides, numbers, strict=True)
        if number and not number.is_percent and _VALUE.fullmatch(side)
    ]
    found = numbers[-1] or (bare[0] if bare and numbers[0] else None)
    if found is None or (not found.is_percent and any(one != found for one in bare)):
        return None
    return found


def _read_signed(span: str) -> Number | None:
    negative = _MINUS.match(span)
    span = span[negative.end() :] if negative else span
    found = _read_digits(span) or _read_words(span)
    if found is None or (negative and found.value < 0):
        return None
    return Number(-found.value, found.is_percent) if negative else found


def _tidy(span: str) -> str:
    r"""Return `span` in plain text: "\frac{3}{4}" as "3/4", "8{,}000" as "8,000", "x²" as "x^2"."""
    span = re.sub(r"\\(?:text|mathrm|textbf|mathbf|operatorname)\s*\{([^{}]*)\}", r" \1", span)
    span = re.sub(r"\{,\}|,\\!", ",", re.sub(r"<<[^<>]*>>", "", span))
    span = re.sub(r"(?<=\d) and a half\b", " 1/2", span)
    span = re.sub(r"(?<=\d)\\[,;:! ](?=\d{3}(?!\d))", ",", span)
    fraction = r"\\[dtc]?frac\s*(?:\{(-?\d+)\}\s*\{(\d+)\}|(\d)\s*(\d))"
    span = re.sub(fraction, lambda m: f" {m[1] or m[3]}/{m[2] or m[4]}", span)
    span = re.sub(r"\\(?:times|cdot)(?![a-z])|[×·]", "*", span.replace("**", "^"))
    span = re.sub(r"\\(?:approx|left|right)(?![a-z])|\\[,;:! ()\[\]]|\$(?!\s?[\d.-])|`", " ", span)
    span = re.sub(r"\^\{(-?\d+)\}", r"^\1", span.replace("\\$", "$").replace("\\%", "%"))
    span = re.sub(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ)|\\degree", "°", span)
    span = fold_text(span.rpartition("≈")[2]).strip(' ,;:!?*_"').rstrip(".")
    return re.sub(rf"^an? (?=(?:{'|'.join(_SCALES)})\b)", "one ", span.lstrip("…").strip())


def _read_digits(span: str) -> Number | None:
    """Return the number in digits in `span`, if nothing around it makes it another one."""
    found = next((m for m in _VALUE.finditer(span) if _stands_alone(span, m.start("number"))), None)
    if found is None:
        return None
    value = _compute(found)
    before, after = span[: found.start()], span[found.end() :]
    # A unit may have a power and a slash: "25 cm^2", "3 m/s", "kg*m/s^2".
    after = re.sub(r"(?<=[a-z])\^?-?\d(?!\d)", "", after)
    after = re.sub(r"(?<=[a-z])[*/](?=[a-z])", " ", after)
    if value is None or _CHANGED.search(before) or _CHANGED_BEFORE.search(before):
        return None
    after = re.sub(r"^ ?/ ?(?=[a-z]{2,})", " per ", after)
    percent = _PERCENT.match(after)
    if percent:
        after = after[percent.end() :]
    scale = _SCALE.match(after.lstrip())
    short = _SHORT_SCALE.match(after) if found["currency"] else None
    if not scale and _OTHER_SCALE.match(after.lstrip()):
        return None
    if scale:
        factor = _SCALES[scale[1]] if scale[1] else _ASIAN_SCALES[scale[2]]
        value, after = value * factor, after.lstrip()[scale.end() :]
    elif short:
        value, after = value * _SHORT_SCALES[short[1]], after[short.end() :]
    else:
        unit = _UNIT.match(after)
        if not unit or _CHANGED.match(after):
            return None
        after = after[unit.end() :]
    is_changed = _CHANGED.search(after) or after[:1] in ("-", "/", ":", "(")
    return None if is_changed else Number(value, percent is not None)


def _stands_alone(span: str, start: int) -> bool:
    """Return whether the numeral at `start` is no part of a name or of another numeral: "H2O"."""
    before = span[start - 1 : start]
    return not re.fullmatch(r"[a-zA-Z0-9_.,^#]", before)


def _compute(found: re.Match[str]) -> Fraction | None:
    """Return the value of a match of `_VALUE`."""
    written = found["number"]
    if re.fullmatch(_FOREIGN + r"|\d{1,3}(?: \d{3})+,\d{1,2}", written):
        written = re.sub(r"[. ]", "", written).replace(",", ".")
    written = re.sub(r"[,' _]", "", written)
    if len(written) > _MOST_DIGITS:
        return None
    value = Fraction(written)
    if found["under"] or found["divisor"]:
        divisor = Fraction(found["under"] or found["divisor"])
        if not divisor:
            return None
        value = value + int(found["over"]) / divisor if found["under"] else value / divisor
    if found["exponent"]:
        value *= Fraction(10) ** int(found["exponent"])
    if found["power"]:
        power = int(found["power"])
        if abs(power) > _MOST_POWER or not value or len(written) > _MOST_DIGITS / 10:
            return None
        value = value**power
    if found["sign"] and found["sign2"]:
        return None  # "--7"
    return -value if "-" in (found["sign"] or "") + (found["sign2"] or "") else value


def _read_words(span: str) -> Number | None:
    """Return the number that `span` writes in words: "seven days", "two hundred and five"."""
    found = _WORD_NUMBER.search(span)
    if not found or _CHANGED_BEFORE.search(span[: found.start()]):
        return None
    around = span[: found.start()] + " " + span[found.end() :]
    if _CHANGED.search(around) or _OTHER_SCALE.match(span[found.end() :].lstrip()):
        return None
    total = group = 0
    previous = ""
    for word in re.findall(r"[a-z]+", found[0]):
        if word == "and":
            continue
        if word in _SCALES and _SCALES[word] > 100:  # "two thousand", not "two hundred"
            total, group = total + (group or 1) * _SCALES[word], 0
        elif word in _SCALES:
            group = (group or 1) * _SCALES[word]
        elif previous in _WORDS and not (_WORDS[previous] >= 20 and 0 < _WORDS[word] < 10):
            return None  # "seven eight" is two numbers
        else:
            group += _WORDS[word]
        previous = word
    return Number(Fraction(total + group), False)


def _to_plain(value: Fraction) -> int | float | None:
    """Return a number of Python; `None` if its rounding would be another, whole number."""
    if value.denominator == 1:
        return int(value)
    plain = float(value)
    return None if plain.is_integer() else plain
