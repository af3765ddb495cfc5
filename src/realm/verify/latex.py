"""Rewrite answers in LaTeX to plain forms, and decide what needs no symbolic comparison."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import Any

from realm.verify.normal import LONGEST, find_box
from realm.verify.number import NumberAnswer

ANNOUNCED = re.compile(r"\s*\\text\{[^{}]*\banswer is:?\s*\}|\s*(?:A|Ans|Answer):\s*|####\s*", re.I)
# The key of a multiple-choice test before the value: "\textbf{(B)}\ 12".
_KEY = re.compile(r"\\text\w*\s*\{\s*\(?([A-Z])\)?\s*\}(?:[\s~]|\\[ ,;])*(?=\S)")

_SYMBOLS = str.maketrans(
    {
        **dict.fromkeys("‐‑‒–—−", "-"),
        **{"×": r"\times ", "·": r"\cdot ", "÷": "/", "∞": r"\infty ", "π": r"\pi "},
        **{"≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "∪": r"\cup ", "∩": r"\cap "},
        **{"½": r"\frac{1}{2}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}", "⅓": r"\frac{1}{3}"},
        **{"∈": r"\in ", "∅": r"\emptyset ", "ℝ": r"\mathbb{R}", "°": r"^\circ ", "±": r"\pm "},
    }
)
_POWER = re.compile("⁻?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_DIGITS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "dozen": 12}
_SCALED = re.compile(
    rf"(?<=[\d}}])\$?\s*(?:\\text\s*\{{\s*)?((?i:{'|'.join(SCALES)}))s?\b(?:\s*\}})?"
)
# Words that make a number another one, and numbers side by side: "2 \text{ h } 30 \text{ min}".
_CHANGED = re.compile(
    r"\b(?:not|or (?:more|less)|at (?:least|most)|more|less|than|over|under|above|below|between"
    r"|negative|minus|half|except|up to)\b|^-?[\d.]+ ?[a-z]* [\d.]+ ?[a-z]*$",
    re.IGNORECASE,
)
_EQUATION = re.compile(r"([^=]+?)\s*=\s*([^=]+)")
# Rewritten one after another: dress that changes no value, then other ways of writing the same.
_REWRITES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\(?:displaystyle|bf|rm|it|color\s*\{[^{}]*\})(?![A-Za-z])\s*", ""),
        (r"\\!\s*|\\(?:left|right|[bB]igg?[lr]?)(?![A-Za-z])|\\?\$", ""),
        (r"(?<=\d)(?:\{,\}|\\[, ])(?=\d{3}(?!\d))", ""),
        (r"(?<=\d)\{,\}(?=\d)", "."),
        (r"\\[,;: ]|~|\s+", " "),
        (r"^\\text\s*\{\s*(-?\d[^{}]*)\}$", r"\1"),
        (_SCALED.pattern, lambda m: rf" \cdot {SCALES[m[1].casefold()]}"),
        (r"\\[lr]angle(?![A-Za-z])", lambda m: "(" if m[0][1] == "l" else ")"),
        (r"\\(?:lor|vee)(?![A-Za-z])|∨", ", "),
        (r"√\s*(\w+)", r"\\sqrt{\1}"),
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\leq?(?:slant)?(?![A-Za-z])", r"\\le"),
        (r"\\geq?(?:slant)?(?![A-Za-z])", r"\\ge"),
        (r"\\varnothing(?![A-Za-z])", r"\\emptyset"),
        (r"\s*,?\s*(?:\\text\s*\{\s*,?\s*(?:or|and)\s*\}|\b(?:or|and)\b)\s*", ", "),
        (r"^[A-Za-z]\s*\\in(?![A-Za-z])", ""),
        (r"^(-?\d{1,3}(?:[ ,]\d{3})+(?:\.\d+)?)$", lambda m: re.sub("[ ,]", "", m[1])),
        (r"^(-?\d+(?:\.\d+)?)[eE]\+?(-?\d+)$", r"\1 \\cdot 10^{\2}"),
        (r"^(-?\d+) (\d+)/(\d+)$", r"\1\\frac{\2}{\3}"),
    )
]
# All spaces but those between digits: "1 2" is not 12.
_SPACE = re.compile(r"(?<!\d) +| +(?!\d)")
# A number with its base: "101_2", "17_{10}".
_BASED = re.compile(r"(\d+)_(?:\{(\d+)\}|(\d))")
_TEXT = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
# One of them has three letters or more: "ab" may be a product.
_WORDS = re.compile(r"(?=.*[A-Za-z]{3})[A-Za-z]+(?:[ .'-]+[A-Za-z]+)*")
# Four words of three letters or more, LaTeX commands not counted: a sentence.
_PROSE = re.compile(r"(?:(?<![\\A-Za-z])[A-Za-z]{3,}\b.*?){4}", re.DOTALL)
_NUMBER = re.compile(
    r"(?P<whole>-?\d{1,40})|-?\d{0,40}\.\d{1,40}"
    r"|(?P<sign>-?)\\frac\s*(?:\{(-?\d{1,40})\}\s*\{(\d{1,40})\}|(\d)(\d))|(-?\d{1,40})/(\d{1,40})"
)
_ROUNDING = Fraction(2, 10**6)
"""math-verify compares decimals to six places; a larger difference is one."""
# "12.5 %", "0.125": compared as percentages if one of two has the sign.
_SHARE = re.compile(r"-?\d*\.?\d+ ?%?")
_PERCENTAGES = NumberAnswer()
# A part of "x = 3, x = -3", whose values are the answer if all have one name.
_ASSIGNED = re.compile(r"([A-Za-z])\s*=\s*([^=,]+)")
# "3 \le x < 5" and "x > 2" as intervals; "{x : x > 2}" around them is dropped before.
_BUILDER = re.compile(r"\\?\{\s*[a-z]\s*(?:\\in[^:|]*)?(?::|\\mid|\|)(.*?)\\?\}")
_BETWEEN = re.compile(r"([^<>]+?)\s*(<|\\le)\s*[a-z]\s*(<|\\le)\s*([^<>]+)")
_BEYOND = re.compile(r"[a-z]\s*(<|>|\\le|\\ge)\s*([^<>\\]+(?:\\(?!le|ge)[^<>]*)?)")
_INTERVAL = re.compile(r"[(\[].*,.*[)\]]|.*\\cup", re.DOTALL)


def decide_exactly(answer: str, gold: str) -> bool | None:
    r"""Return whether two rewritten answers are equal, or `None` if that takes symbolic comparison.

    Equal texts are equal, plain numbers are compared by value, words as words.

    >>> decide_exactly(r"\frac{2}{4}", "1/2"), decide_exactly("3", "4"), decide_exactly("2^3", "8")
    (True, False, None)
    """
    if not answer or not gold:
        return False
    if _SPACE.sub("", answer) == _SPACE.sub("", gold):
        return True
    if any(map(_is_contradiction, (answer, gold))):
        return False
    shares = [side.replace("\\%", "%") for side in (answer, gold)]
    if all(map(_SHARE.fullmatch, shares)) and "%" in "".join(shares):
        return _PERCENTAGES.same(*shares)
    return _decide_texts(answer, gold)


def _decide_texts(answer: str, gold: str) -> bool | None:
    """Return whether times, numbers in a base, changed numbers or words are equal, as texts."""
    texts = [" ".join(_TEXT.sub(r"\1", side).split()).strip(" .()") for side in (answer, gold)]
    if any(":" in text for text in texts):  # times and ratios
        return len({re.sub(r"[\s.]", "", text).casefold() for text in texts}) == 1
    based = [_BASED.fullmatch(text) for text in texts]
    if any(based):  # a subscript of digits is a base, which math-verify ignores
        return len({tuple(filter(None, one.groups())) if one else () for one in based}) == 1
    if any(map(_CHANGED.search, texts)):
        return texts[0].casefold() == texts[1].casefold()
    return _decide_numbers(answer, gold, texts)


def _decide_numbers(answer: str, gold: str, texts: list[str]) -> bool | None:
    is_words = [_WORDS.fullmatch(text) or _PROSE.search(text) for text in texts]
    is_letter = all(re.fullmatch("[A-Za-z]", text) for text in texts)
    numbers = [_read_number(side) for side in (answer, gold)]
    if all(is_words) or (is_letter and "\\" in answer + gold):
        return texts[0].casefold() == texts[1].casefold()
    if any(is_words) and any(number is not None for number in numbers):
        return False
    if numbers[0] is None or numbers[1] is None:
        return None
    apart = abs(numbers[0] - numbers[1])
    # A small difference may be a rounding, and that takes symbolic comparison.
    is_rounded = "." in answer + gold
    return apart == 0 if apart == 0 or not is_rounded or apart > _ROUNDING else None


@lru_cache(maxsize=65536)
def rewrite_latex(text: str) -> str:
    r"""Return an answer in the plain LaTeX that math-verify reads, of the same value.

    >>> rewrite_latex("−2√3"), rewrite_latex(r"8{,}000"), rewrite_latex("11 5/6")
    ('-2\\sqrt{3}', '8000', '11\\frac{5}{6}')
    """
    boxed = find_box(text)[1]
    text = (text if boxed is None else boxed)[: LONGEST + 1].strip().strip("$")
    text = ANNOUNCED.sub("", text, count=1) if ANNOUNCED.match(text) else text
    text = _POWER.sub(lambda power: f"^{{{power[0].translate(_DIGITS)}}}", text)
    text = text.translate(_SYMBOLS)
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text).strip()
    text = text.strip(" ,;").rstrip(" .,;")
    assigned = [_ASSIGNED.fullmatch(part.strip()) for part in text.split(",")]
    if len(assigned) > 1 and all(assigned) and len({one[1] for one in assigned if one}) == 1:
        return ", ".join(one[2].strip() for one in assigned if one)
    return text


def make_key(answer: Any, gold: Any) -> tuple[str, str]:
    """Return two answers as they are compared; "" for one that is not said or too long."""
    texts = ["" if side is None else rewrite_latex(str(side)) for side in (answer, gold)]
    texts = [text if len(text) <= LONGEST else "" for text in texts]
    if re.fullmatch(r"(?:\\text\w*\s*\{)?\(?[A-Z]\)?\}?", texts[1]):
        texts[0] = key[1] if (key := _KEY.match(texts[0])) else texts[0]
    else:
        texts = [_KEY.sub("", text, count=1) if _KEY.match(text) else text for text in texts]
    intervals = [_write_interval(text) for text in texts]
    for own, other in ((0, 1), (1, 0)):
        interval = intervals[own]
        if interval and _INTERVAL.match(texts[other]):
            texts[own] = interval
    return texts[0], texts[1]


def _write_interval(text: str) -> str | None:
    r"""Return a relation as an interval: "x > 2" as (2, \infty); `None` for anything else."""
    builder = _BUILDER.fullmatch(text)
    intervals = []
    for part in (builder[1] if builder else text).split(", "):
        between, beyond = _BETWEEN.fullmatch(part.strip()), _BEYOND.fullmatch(part.strip())
        if between:
            low, left, right, high = between.groups()
            opening = "(" if left == "<" or "\\infty" in low else "["
            closing = ")" if right == "<" or "\\infty" in high else "]"
            intervals.append(f"{opening}{low}, {high}{closing}")
        elif beyond and beyond[1] in ("<", "\\le"):
            intervals.append(f"(-\\infty, {beyond[2]}{')' if beyond[1] == '<' else ']'}")
        elif beyond:
            intervals.append(f"{'(' if beyond[1] == '>' else '['}{beyond[2]}, \\infty)")
        else:
            return None
    return " \\cup ".join(intervals)


def _is_contradiction(text: str) -> bool:
    """Return whether `text` equates two different numbers: 3 = 5."""
    sides = _EQUATION.fullmatch(text)
    numbers = [_read_number(side) for side in sides.groups()] if sides else []
    return None not in numbers and len(set(numbers)) > 1


def _read_number(text: str) -> Fraction | None:
    found = _NUMBER.fullmatch(text)
    if not found:
        return None
    if "frac" not in text and "/" not in text:
        return Fraction(text)
    _, sign, *parts = found.groups()
    over, under = (int(part) for part in parts if part is not None)
    return Fraction(over, under) * (-1 if sign else 1) if under else None
