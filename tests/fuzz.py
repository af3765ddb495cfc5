"""Texts for fuzz tests: pieces that our code looks for, in any order, any characters between them.

They are the same in every run. Slow tests try more of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

PIECES = [
    *("<answer>", "</answer>", "<think>", "</think>", "[THINK]", "<|channel|>final<|message|>"),
    *(
        "<reason>",
        "</reason>",
        "<verify>",
        "</verify>",
        "<route 1>",
        "</route>",
        "Route 2: ",
        "flawed",
        "analysis",
        "assistantfinal",
    ),
    *("The answer is ", "Answer: ", "#### ", "### Final Answer\n", "答案：", "Antwort: ", "A: "),
    *("\\boxed{", "}", "{", "$", "$$", "\\(", "\\)", "\\text{", "\\frac{1}{2}", "^", "_", "="),
    *("7", "8", "-7", "7.5", "1,234", "1.234,56", "12%", "½", "²", "10^6", "e5", "∞", "nan", "0x7"),
    *("seven", "half", "million", "negative ", "not ", " or ", " and ", " vs ", "maybe ", "than "),
    *("A", "B", "(A)", "B)", "[C]", "Option ", "I would pick ", " is correct", "blue", "Japan"),
    *("Peru", "Ann Lee", "Ann won 7 games", "5 March 2021", "1914-15", "yes", "km", "cm^2", "°"),
    *(
        '{"a": 1}',
        '{"a": 2}',
        '{"a": ',
        '"a"',
        "```json\n",
        "```",
        "[",
        "]",
        ":",
        ";",
        ",",
        "|",
        "/",
    ),
    *(
        " ",
        "  ",
        "\n",
        "\n\n",
        "\t",
        ".",
        "!",
        "?",
        "(",
        ")",
        "-",
        "*",
        "**",
        "#",
        "- ",
        "1. ",
        "`",
    ),
    *("\0", "\ud800", "\u200b", "\u202e", "\ufeff", "７", "𝟕", "٣", "ß", "İ", "\u0301", "한", "万"),
]
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=14).map("".join)
EXAMPLES = [25, pytest.param(3000, marks=pytest.mark.slow)]


def fuzz(check: Callable[..., None], num_examples: int, **texts: st.SearchStrategy[Any]) -> None:
    """Call `check` with examples of `texts`, the same ones in every run."""
    same = settings(max_examples=num_examples, derandomize=True, deadline=None, database=None)
    same(given(**texts)(check))()


def measure_seconds(call: Callable[[], object]) -> float:
    started = time.thread_time()  # of this thread alone: other processes do not count
    call()
    return time.thread_time() - started


def require_linear_time(call: Callable[[str], object], short: str, long: str) -> None:
    """Raise an AssertionError if `call` takes much more than 4 times as long for 4 times the text.

    In quadratic time it is 16 times. One good measurement of several is enough: the garbage
    collector runs when it likes.
    """
    for _ in range(5):
        first, second = measure_seconds(lambda: call(short)), measure_seconds(lambda: call(long))
        if second < 0.05 or second < 9 * first:
            return
    raise AssertionError(f"{first:.3f} s, then {second:.3f} s, for {short[:200]!r}...")
