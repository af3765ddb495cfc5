"""A mathematical answer in LaTeX, compared by math-verify in processes of its own.

Equal texts and plain numbers are decided here. Everything else is symbolic: a comparison that
hangs or crashes costs its time limit, and its process is replaced.

Run as a module, this file is one such process: it reads pairs, one a line, and answers 1 or 0.
"""

from __future__ import annotations

import json
import os
import re
import resource
import sys
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from functools import lru_cache
from typing import Any, Literal

from pydantic import PositiveFloat, PrivateAttr

from realm.core.workers import WorkerPool
from realm.verify.extract import clean_span, find_answer, find_box, find_stated, unwrap_answer
from realm.verify.kinds import AnswerKind

_LONGEST = 2000
"""Characters of an answer; a longer span is not an answer."""
_LONGEST_BARE = 200
"""Characters of a text that is taken for an answer though nothing in it says so."""
_CLOSING_PART = 10_000
"""Characters at the end of a text in which formulas are looked for."""
_MOST_REMEMBERED = 200_000
_MEMORY = 4 * 2**30
"""Bytes of address space of a process; a comparison that wants more fails."""

_FORMULA = re.compile(
    r"(?:\$\$?(?P<dollars>[^$]{1,2000})\$\$?|\\\((?P<round>.{1,2000}?)\\\)"
    r"|\\\[(?P<square>.{1,2000}?)\\\])",
    re.DOTALL,
)
_MARKED = re.compile(
    rf"\banswers?\b[^.\n$\\]{{0,150}}(?::|=|\b(?:is|are)\b)[\s*:]*{_FORMULA.pattern}",
    re.IGNORECASE | re.DOTALL,
)
_CLOSING = re.compile(rf"{_FORMULA.pattern}[\s.*]*", re.DOTALL)
_COMMAND = re.compile(r"\\(?:text|mbox|mathrm)\s*\{[^{}]*\}|\\[A-Za-z]+")
_ANNOUNCED = re.compile(
    r"\s*\\text\{[^{}]*\banswer is:?\s*\}|\s*(?:A|Ans|Answer):\s*|####\s*", re.I
)
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
# Rewritten one after another: dress that changes no value, then other ways of writing the same.
_REWRITES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\(?:displaystyle|bf|rm|it|color\s*\{[^{}]*\})(?![A-Za-z])\s*", ""),
        (r"\\!\s*|\\(?:left|right|[bB]igg?[lr]?)(?![A-Za-z])|\\?\$", ""),
        (r"\{,\}|(?<=\d)(?:\\[, ])(?=\d{3}(?!\d))", ""),
        (r"\\[,;: ]|~|\s+", " "),
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
_BASED = re.compile(r"(\d+)_(?:\{(\d+)\}|(\d))")
_TEXT = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
_WORDS = re.compile(r"(?=.*[A-Za-z]{3})[A-Za-z]+(?:[ .'-]+[A-Za-z]+)*")
_PROSE = re.compile(r"(?:(?<![\\A-Za-z])[A-Za-z]{3,}\b.*?){4}", re.DOTALL)
_NUMBER = re.compile(
    r"(?P<whole>-?\d{1,40})|-?\d{0,40}\.\d{1,40}"
    r"|(?P<sign>-?)\\frac\s*(?:\{(-?\d{1,40})\}\s*\{(\d{1,40})\}|(\d)(\d))|(-?\d{1,40})/(\d{1,40})"
)
_NUMERIC = re.compile(r"(?=.*\d)(?:[^A-Za-z\\]|\\(?:frac|sqrt|cdot|times|pi)(?![A-Za-z]))+")
_ROUNDING = Fraction(2, 10**6)
"""math-verify compares decimals to six places; a larger difference is one."""
_ASSIGNED = re.compile(r"([A-Za-z])\s*=\s*([^=,]+)")
# "3 \le x < 5" and "x > 2" as intervals; "{x : x > 2}" around them is dropped before.
_BUILDER = re.compile(r"\\?\{\s*[a-z]\s*(?:\\in[^:|]*)?(?::|\\mid|\|)(.*?)\\?\}")
_BETWEEN = re.compile(r"([^<>]+?)\s*(<|\\le)\s*[a-z]\s*(<|\\le)\s*([^<>]+)")
_BEYOND = re.compile(r"[a-z]\s*(<|>|\\le|\\ge)\s*([^<>\\]+(?:\\(?!le|ge)[^<>]*)?)")
_INTERVAL = re.compile(r"[(\[].*,.*[)\]]|.*\\cup", re.DOTALL)


class MathAnswer(AnswerKind):
    """Answers in LaTeX. Each pair is compared once."""

    kind: Literal["math"] = "math"
    seconds: PositiveFloat = 5.0
    """Time limit of one symbolic comparison; one that takes longer is undecided."""

    _pool: WorkerPool = PrivateAttr()
    _known: dict[tuple[str, str], bool | None] = PrivateAttr(default_factory=dict)

    def model_post_init(self, _: Any) -> None:
        """Make the pool, which starts no process before it is asked."""
        self._pool = WorkerPool(__name__, self.seconds)

    def read(self, span: str) -> str | None:
        """Return the answer in LaTeX: what a box holds, a formula, or all of `span`."""
        span = unwrap_answer(span)
        closing = _CLOSING.fullmatch(span)
        return _keep(_get_formula(closing) if closing else span)

    def find(self, text: str) -> str | None:
        r"""Return the final answer in LaTeX: of a box, behind "the answer is", or all of a text.

        If a text states none, it is the number that its last formula ends with.

        >>> MathAnswer().find(r"So $x = \frac12$. The answer is $\boxed{\frac{1}{2}}$.")
        '\\frac{1}{2}'
        """
        text = text.strip()
        boxed, stated = find_box(text)[1], find_stated(text)
        if boxed is not None and (stated is None or stated.text == clean_span(boxed)):
            return _keep(boxed)
        marks = list(_MARKED.finditer(text[-_CLOSING_PART:]))
        marked = _get_formula(marks[-1]) if marks else None
        return _keep(marked or _take_bare(text) or _take_stated(text) or _take_last(text))

    def same(self, answer: Any, gold: Any) -> bool | None:
        """Return whether two answers are equal; `None` if that took too long."""
        return self.same_all([(answer, gold)])[0]

    def same_all(self, pairs: Sequence[tuple[Any, Any]]) -> list[bool | None]:
        """Return the verdict on each pair; symbolic comparisons are spread over processes."""
        keys = [make_key(answer, gold) for answer, gold in pairs]
        if len(self._known) > _MOST_REMEMBERED:
            self._known.clear()
        new = [key for key in dict.fromkeys(keys) if key not in self._known]
        self._known.update((key, decide_exactly(*key)) for key in new)
        open_keys = [key for key in new if self._known[key] is None]
        for key, reply in zip(open_keys, self._pool.ask_all(open_keys), strict=True):
            self._known[key] = None if reply is None else reply == "1"
        return [self._known[key] for key in keys]


def decide_exactly(answer: str, gold: str) -> bool | None:
    r"""Return whether two rewritten answers are equal, or `None` if that takes symbolic comparison.

    Equal texts are equal, plain numbers are compared by value, words as words.

    >>> decide_exactly(r"\frac{2}{4}", "1/2"), decide_exactly("3", "4"), decide_exactly("2^3", "8")
    (True, False, None)
    """
    if not answer or not gold:
        return False
    if answer.replace(" ", "") == gold.replace(" ", ""):
        return True
    texts = [" ".join(_TEXT.sub(r"\1", side).split()).strip(" .()") for side in (answer, gold)]
    if any(":" in text for text in texts):  # times and ratios
        return len({re.sub(r"[\s.]", "", text).casefold() for text in texts}) == 1
    based = [_BASED.fullmatch(text) for text in texts]
    if based[0] and based[1]:  # a subscript of digits is a base, which math-verify ignores
        return len({tuple(filter(None, one.groups())) for one in based if one}) == 1
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
    is_rounded = "." in answer + gold
    return apart == 0 if apart == 0 or not is_rounded or apart > _ROUNDING else None


@lru_cache(maxsize=65536)
def rewrite_latex(text: str) -> str:
    r"""Return an answer in the plain LaTeX that math-verify reads, of the same value.

    >>> rewrite_latex("−2√3"), rewrite_latex(r"8{,}000"), rewrite_latex("11 5/6")
    ('-2\\sqrt{3}', '8000', '11\\frac{5}{6}')
    """
    boxed = find_box(text)[1]
    text = (text if boxed is None else boxed)[: _LONGEST + 1].strip().strip("$")
    text = _ANNOUNCED.sub("", text, count=1) if _ANNOUNCED.match(text) else text
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
    texts = [text if len(text) <= _LONGEST else "" for text in texts]
    if not re.fullmatch(r"(?:\\text\w*\s*\{)?\(?[A-Z]\)?\}?", texts[1]):
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


def _read_number(text: str) -> Fraction | None:
    found = _NUMBER.fullmatch(text)
    if not found:
        return None
    if "frac" not in text and "/" not in text:
        return Fraction(text)
    _, sign, *parts = found.groups()
    over, under = (int(part) for part in parts if part is not None)
    return Fraction(over, under) * (-1 if sign else 1) if under else None


def _keep(span: str | None) -> str | None:
    span = _ANNOUNCED.sub("", span or "", count=1).strip() if span else ""
    if "\\boxed" in span:  # cut off inside
        return None
    return span if 0 < len(span) <= _LONGEST else None


def _take_bare(text: str) -> str | None:
    """Return `text` if it is nothing but a formula, or the formula that is its last line."""
    last = text.rsplit("\n", 1)[-1].strip()
    closing = _CLOSING.fullmatch(last)
    if closing:
        return _get_formula(closing)
    is_wordless = len(text) <= _LONGEST_BARE and not re.search(
        r"[A-Za-z]{2,}", _COMMAND.sub(" ", text)
    )
    return text.rstrip(".") if last == text and is_wordless else None


def _take_stated(text: str) -> str | None:
    """Return what a sentence states; "The answer", cut off there, states nothing."""
    found = find_answer(text)
    return found.text if found and "answer" not in found.text.casefold() else None


def _take_last(text: str) -> str | None:
    """Return the number that the last formula ends with: 4 of "so $x = 4$ and"."""
    formulas = list(_FORMULA.finditer(text[-_CLOSING_PART:]))
    result = _get_formula(formulas[-1]).rpartition("=")[2].strip() if formulas else ""
    return result if _NUMERIC.fullmatch(result) else None


def _get_formula(match: re.Match[str]) -> str:
    return str(match["dollars"] or match["round"] or match["square"]).strip()


def _serve() -> None:
    """Compare the pairs of the standard input until it ends."""
    import logging
    import signal

    from math_verify import LatexExtractionConfig, parse, verify

    replies = os.fdopen(os.dup(1), "w", buffering=1)
    sys.stdout = sys.stderr  # what a library prints is no reply
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    logging.disable()

    @lru_cache(maxsize=4096)
    def read(latex: str) -> list[Any]:
        return list(parse(f"${latex}$", [LatexExtractionConfig()], parsing_timeout=None))

    verify(read("\\frac{1}{2}x"), read("x + \\sqrt{2}"), timeout_seconds=None)  # load everything
    replies.write("ready\n")
    for line in sys.stdin:
        answer, gold = json.loads(line)
        is_equal = verify(read(gold), read(answer), timeout_seconds=None)
        is_percent = "%" in answer + gold  # 9 and 9% are equal to math-verify
        is_equal = is_equal and (is_percent or not _are_apart(read(gold), read(answer)))
        replies.write(f"{int(is_equal)}\n")


def _are_apart(left: list[Any], right: list[Any]) -> bool:
    """Return whether two numbers clearly differ.

    math-verify rounds differences to zero: to it, 1/(3*2^2006) equals (2^2005+1)/(3*2^2006).
    """
    try:
        values = [complex(side[0]) for side in (left, right)]
    except (TypeError, ValueError, IndexError, OverflowError, AttributeError):
        return False
    return abs(values[0] - values[1]) > 1e-4 * max(map(abs, values))


if __name__ == "__main__":
    _serve()
