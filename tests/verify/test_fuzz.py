"""Texts that nobody thought of: extraction, comparison and rendering hold for all of them.

The texts are pieces that the code looks for, in any order, with any characters between them. They
are the same in every run. The slow tests try more of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.verify.judge import earns_reward, judge, render_completion
from realm.verify.latex import decide_exactly, make_key
from realm.verify.verifier import Verifier

KINDS = {kind: Verifier(kind) for kind in ("text", "label", "number", "set", "json")}
MATH = Verifier("math")

PIECES = [
    *("<answer>", "</answer>", "<think>", "</think>", "[THINK]", "<|channel|>final<|message|>"),
    *("<reason>", "</reason>", "<verify>", "</verify>", "<route 1>", "analysis", "assistantfinal"),
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
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
# Golds of which each is another answer, for every kind that can have them.
GOLDS: dict[str, list[Any]] = {
    "text": ["Japan", "Peru", "7", "8", "Ann Lee", "blue", "yes", "nan", "half", "A"],
    "label": ["A", "B", "C", "yes", "no", "blue", "Japan", "7", "not covered", "half"],
    "number": [7, 8, -7, 7.5, 12, 56, 1234, 1234.56, 10**6, 7 * 10**6, "1e5"],
    "set": [["Japan"], ["Peru"], ["Japan", "Peru"], ["7"], ["8"], ["A"], ["B"], ["Ann"], ["Lee"]],
    "json": [{"a": 1}, {"a": 2}, {"a": "x"}, {"b": 1}],
}
EXAMPLES = [60, pytest.param(3000, marks=pytest.mark.slow)]


def fuzz(check: Callable[..., None], num_examples: int, **texts: st.SearchStrategy) -> None:
    """Call `check` with examples of `texts`, the same ones in every run."""
    same = settings(max_examples=num_examples, derandomize=True, deadline=None, database=None)
    same(given(**texts)(check))()


@pytest.mark.parametrize("num_examples", EXAMPLES)
def test_nothing_raises(num_examples):
    def check(text, answer, gold):
        for verifier in KINDS.values():
            for said in (verifier.extract(text), answer):
                assert verifier.same(said, gold) in (True, False, None)
                assert isinstance(verifier.render(said), str) or said is None

    fuzz(check, num_examples, text=TEXTS, answer=JSON, gold=JSON)


@pytest.mark.parametrize("num_examples", EXAMPLES)
def test_no_text_is_right_for_two_golds_that_differ(num_examples):
    def check(text):
        for kind, golds in GOLDS.items():
            verifier = KINDS[kind]
            for completion in (text, f"<answer>{text}</answer>"):
                right = [g for g in golds if judge(completion, gold=g, verifier=verifier).correct]
                assert len(right) <= 1, (kind, completion, right)

    fuzz(check, num_examples, text=TEXTS)


@pytest.mark.parametrize("num_examples", EXAMPLES)
def test_what_distillation_teaches_earns_its_reward_whatever_the_chain_says(num_examples):
    def check(chain, gold):
        for verifier in KINDS.values():
            if not earns_reward(gold, verifier):
                continue
            taught = render_completion(chain=chain, answer=gold, verifier=verifier)
            assert judge(taught, gold=gold, verifier=verifier).correct is True, taught

    fuzz(check, num_examples, chain=TEXTS, gold=TEXTS | st.integers())


@pytest.mark.parametrize("num_examples", EXAMPLES)
def test_whole_numbers_are_equal_or_not(num_examples):
    def check(left, right, form):
        said = KINDS["number"].extract(f"The answer is {form.format(left)}.")
        assert KINDS["number"].same(said, right) is (left == right)

    large = st.integers(-(10**30), 10**30)
    near = st.tuples(large, st.integers(-2, 2))
    forms = st.sampled_from(["{}", "{:,}", "**{}**", "$\\boxed{{{}}}$", "{} km", "x = {}", "{}.0"])
    fuzz(lambda near, form: check(near[0], sum(near), form), num_examples, near=near, form=forms)


def test_math_answers_are_read_and_decided_without_an_exception():
    def check(text, gold):
        said = MATH.extract(text)
        assert said is None or (isinstance(said, str) and isinstance(MATH.render(said), str))
        # No symbolic comparison here: it has its own processes and tests.
        assert make_key(said, gold) is not None and decide_exactly(*make_key(said, gold)) in (
            True,
            False,
            None,
        )

    fuzz(check, 200, text=TEXTS, gold=TEXTS)


def measure_seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


@pytest.mark.parametrize("kind", [*KINDS, "math"])
@pytest.mark.parametrize("num_examples", [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_time_is_linear_in_the_length(kind, num_examples):
    verifier = MATH if kind == "math" else KINDS[kind]

    def check(before, pumped, after):
        texts = [before + pumped * (size // len(pumped)) + after for size in (4_000, 16_000)]
        # Four times the text takes 4 times as long, in quadratic time 16 times. The machine may be
        # busy: one good measurement of several is enough.
        for _ in range(5):
            short, long = (
                measure_seconds(lambda text=text: verifier.extract(text)) for text in texts
            )
            if long < 0.05 or long < 9 * short:
                return
        raise AssertionError((kind, before, pumped, after, short, long))

    pieces = st.lists(st.sampled_from(PIECES), min_size=1, max_size=3).map("".join)
    fuzz(check, num_examples, before=pieces, pumped=pieces, after=pieces)
