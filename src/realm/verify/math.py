"""A mathematical answer in LaTeX, compared by math-verify in processes of its own.

Equal texts and plain numbers are decided here. Everything else is symbolic: a comparison that
hangs or crashes costs its time limit, and its process is replaced.

Run as a module, this file is one such process: it reads pairs, one a line, and answers 1 or 0.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

from pydantic import PositiveFloat, PrivateAttr

from realm.core.workers import WorkerPool, serve
from realm.verify.extract import Conclusion, find_answer, find_stated, unwrap_answer
from realm.verify.kinds import AnswerKind
from realm.verify.latex import ANNOUNCED, SCALES, decide_exactly, make_key
from realm.verify.normal import LONGEST, clean_span, find_box

_LONGEST_BARE = 200
"""Characters of a text that is taken for an answer though nothing in it says so."""
_CLOSING_PART = 10_000
"""Characters at the end of a text in which formulas are looked for."""
# Verdicts that are kept. Beyond it all are forgotten, which costs only time.
_MOST_REMEMBERED = 200_000

_FORMULA = re.compile(
    r"(?:\$\$?(?P<dollars>[^$]{1,2000})\$\$?|\\\((?P<round>.{1,2000}?)\\\)"
    r"|\\\[(?P<square>.{1,2000}?)\\\])",
    re.DOTALL,
)
# A mark with a formula behind it: "The answer for the box is $7$".
_MARKED = re.compile(
    rf"\banswers?\b[^.\n$\\]{{0,150}}(?::|=|\b(?:is|are)\b)[\s*:]*{_FORMULA.pattern}",
    re.IGNORECASE | re.DOTALL,
)
# A formula that is joined to the one before it: "$3$ or $5$".
_FURTHER = re.compile(rf",?\s*(?:and|or|,|\bor maybe)?\s*{_FORMULA.pattern}", re.DOTALL)
_SCALE_BEHIND = re.compile(rf"\s*({'|'.join(SCALES)})s?\b", re.IGNORECASE)
_CLOSING = re.compile(rf"{_FORMULA.pattern}[\s.*]*", re.DOTALL)
# No words, though made of letters: "\frac", "\text{ cm}".
_COMMAND = re.compile(r"\\(?:text|mbox|mathrm)\s*\{[^{}]*\}|\\[A-Za-z]+")
# Digits, signs, fractions and roots, and no variable: "4", "\frac{1}{2}", not "4x".
_NUMERIC = re.compile(r"(?=.*\d)(?:[^A-Za-z\\]|\\(?:frac|sqrt|cdot|times|pi)(?![A-Za-z]))+")


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
        text = text[-_CLOSING_PART:]
        marks = list(_MARKED.finditer(text))
        marked = _get_formulas(text, marks[-1]) if marks else _take_stated(stated)
        bare = marked or _take_bare(text) or _take_stated(find_answer(text))
        return _keep(bare or _take_last(text))

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


def _keep(span: str | None) -> str | None:
    span = ANNOUNCED.sub("", span or "", count=1).strip() if span else ""
    if "\\boxed" in span:  # cut off inside
        return None
    return span if 0 < len(span) <= LONGEST else None


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


def _take_stated(found: Conclusion | None) -> str | None:
    """Return what a sentence states; "The answer", cut off there, states nothing."""
    return found.text if found and "answer" not in found.text.casefold() else None


def _take_last(text: str) -> str | None:
    """Return the number that the last formula ends with: 4 of "so $x = 4$ and"."""
    formulas = list(_FORMULA.finditer(text[-_CLOSING_PART:]))
    result = _get_formula(formulas[-1]).rpartition("=")[2].strip() if formulas else ""
    return result if _NUMERIC.fullmatch(result) else None


def _get_formulas(text: str, mark: re.Match[str]) -> str:
    """Return the formula of a mark and those joined to it: 3, 5 of "$3$ or $5$"; "3 million"."""
    formulas, end = [_get_formula(mark)], mark.end()
    while further := _FURTHER.match(text, end):
        formulas.append(_get_formula(further))
        end = further.end()
    scale = _SCALE_BEHIND.match(text, end)
    return ", ".join(formulas) + (f" {scale[1]}" if scale else "")


def _get_formula(match: re.Match[str]) -> str:
    return str(match["dollars"] or match["round"] or match["square"]).strip()


def _serve() -> None:
    """Compare the pairs of the standard input until it ends."""
    from math_verify import LatexExtractionConfig, parse, verify

    @lru_cache(maxsize=4096)
    def read(latex: str) -> list[Any]:
        # Its own time limits are off: they use signals, and the process that asks kills this one.
        return list(parse(f"${latex}$", [LatexExtractionConfig()], parsing_timeout=None))

    verify(read("\\frac{1}{2}x"), read("x + \\sqrt{2}"), timeout_seconds=None)  # load everything

    def compare(pair: list[str]) -> int:
        answer, gold = pair
        # The gold first: the comparison is not symmetric.
        is_equal = verify(read(gold), read(answer), timeout_seconds=None)
        is_percent = "%" in answer + gold  # 9 and 9% are equal to math-verify
        is_equal = is_equal and (is_percent or not _are_apart(read(gold), read(answer)))
        return int(is_equal)

    serve(compare)


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
