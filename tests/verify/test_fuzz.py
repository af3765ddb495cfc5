"""Texts that nobody thought of: extraction, comparison and rendering hold for all of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st

from fuzz import EXAMPLES, PIECES, TEXTS, fuzz, require_linear_time
from realm.verify.judge import earns_reward, judge, render_completion
from realm.verify.latex import decide_exactly, make_key
from realm.verify.verifier import Verifier

KINDS = {kind: Verifier(kind) for kind in ("text", "label", "number", "set", "json")}
MATH = Verifier("math")

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


@pytest.mark.parametrize("kind", [*KINDS, "math"])
@pytest.mark.parametrize("num_examples", [12, pytest.param(1000, marks=pytest.mark.slow)])
def test_time_is_linear_in_the_length(kind, num_examples):
    verifier = MATH if kind == "math" else KINDS[kind]

    def check(before, pumped, after):
        texts = [before + pumped * (size // len(pumped)) + after for size in (4_000, 16_000)]
        require_linear_time(verifier.extract, *texts)

    pieces = st.lists(st.sampled_from(PIECES), min_size=1, max_size=3).map("".join)
    fuzz(check, num_examples, before=pieces, pumped=pieces, after=pieces)
