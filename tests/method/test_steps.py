import random
import time

import pytest

from realm.core.records import Route
from realm.method.steps import (
    Flaw,
    drop_answer_step,
    find_departure,
    find_flaw,
    has_answer_step,
    split_steps,
    word_similarity,
)


def route(text, answer="pay 24", *, correct=False, **more):
    return Route(problem_id="p", source="s", text=text, answer=answer, correct=correct, **more)


@pytest.mark.parametrize(
    ("text", "answer", "steps"),
    [
        pytest.param("a 1\n\n  b 2 \npay 24", "pay 24", ("a 1", "b 2", "pay 24"), id="its lines"),
        pytest.param("pay 24\na 1\nb 2", "pay 24", ("a 1", "b 2", "pay 24"), id="answer in front"),
        pytest.param("pay 24\na 1\npay 24", "pay 24", ("a 1", "pay 24"), id="answer at both ends"),
        pytest.param("7\n3 + 4 = 7", 7, ("3 + 4 = 7", "7"), id="an answer that is a number"),
        pytest.param(
            "Fee is 30. Copay is 3.5. So pay 24.",
            "pay 24",
            ("Fee is 30.", "Copay is 3.5.", "So pay 24."),
            id="sentences of a single line",
        ),
        pytest.param(
            "**Answer: (B)**\nA is too small.", "B", ("A is too small.", "**Answer: (B)**"),
            id="a marked answer",
        ),
        pytest.param("2 + 2 = 4\nA: 18", "18", ("2 + 2 = 4", "A: 18"), id="GSM8K models"),
        pytest.param("so it is 5\n5 apples\n---", "5", ("so it is 5", "5 apples"), id="prose"),
        pytest.param("[1] a 1\n[2] [9] b 2", None, ("a 1", "b 2"), id="numbers of its own"),
        pytest.param("a\x85[2] b\u2028[ 3 ]c", None, ("a", "b", "c"), id="odd line ends"),
        pytest.param("none is left\n---\n[]", "[]", ("none is left", "[]"), id="an empty answer"),
        pytest.param("pay 24", "pay 24", ("pay 24",), id="an answer alone"),
        pytest.param("", None, (), id="empty"),
    ],
)  # fmt: skip
def test_the_steps_of_a_route_are_its_lines_with_the_answer_last(text, answer, steps):
    assert split_steps(route(text, answer)) == steps


def test_only_a_step_that_states_the_answer_and_nothing_else_is_the_answer_step():
    assert has_answer_step(route("a 1\nSo the final answer is pay 24."))
    assert not has_answer_step(route("a 1\nthe fee of 30 gives pay 24"))
    assert not has_answer_step(route("a 1", None)) and not has_answer_step(route("", None))


def test_a_chain_is_taught_without_its_answer():
    assert drop_answer_step(route("pay 24\nfee 50 allows 30")) == "fee 50 allows 30"
    assert drop_answer_step(route("fee 50 allows 30\npay 24")) == "fee 50 allows 30"
    assert drop_answer_step(route("fee 50 allows 30\nso we pay 24")) == (
        "fee 50 allows 30\nso we pay 24"
    )
    assert drop_answer_step(route("pay 24")) == "pay 24"


def test_a_process_label_tells_the_flaw():
    known = route("a 1\nb 2", process=False, flaw=2, fix="b 3")
    assert find_flaw(known, ()) == Flaw(2, "b 3")


def test_else_it_is_where_the_route_departs_from_the_nearest_right_one():
    wrong = route("30 - 8 = 22\n22 - 5 = 16\n16 + 1 = 17", "17")
    near = route("30 - 8 = 22\n22 - 5 = 17\n17 + 1 = 18", "18", correct=True)
    far = route("one plus one\nis two\nand more", "2", correct=True)
    assert find_flaw(wrong, [far, near]) == Flaw(2, "22 - 5 = 17")
    assert find_flaw(wrong, [far]) is None and find_flaw(wrong, ()) is None


@pytest.mark.parametrize(
    ("steps", "right", "flaw"),
    [
        (("a 1", "b 2"), ("a 1", "b 3"), Flaw(2, "b 3")),
        (("a 1", "c 4"), ("a 1", "b 3", "c 4"), None),
        (("a 1", "x 9", "c 4"), ("a 1", "c 4"), Flaw(2, None)),
        (("a 1", "b 2", "pay 7"), ("a 1", "b 2", "pay 8"), Flaw(3, "pay 8")),
    ],
)
def test_a_departure_is_the_first_step_that_the_right_chain_lacks(steps, right, flaw):
    assert find_departure(steps, right) == flaw


def test_similarity_is_that_of_words():
    assert word_similarity("Fee 50, allows 30.", "fee 50 allows 30") == 1.0
    assert word_similarity("a b", "c d") == 0.0


@pytest.mark.parametrize(
    "text", ["\n" * 50_000, "[1] " * 20_000, "a. " * 20_000, "<" + " " * 50_000]
)
def test_splitting_takes_time_linear_in_the_text(text):
    started = time.process_time()
    split_steps(route(text, "a"))
    assert time.process_time() - started < 2


def test_comparing_long_texts_that_loop_is_bounded():
    started = time.process_time()
    word_similarity("so we go on and " * 3000, "so we go back and " * 3000)
    assert time.process_time() - started < 5


def test_no_text_makes_it_raise():
    rng = random.Random(7)
    pieces = ["[1]", "[", "]", "answer", "24", "\n", "\x00", "\u2028", ".", " ", "pay", "𝟙", "-"]
    for _ in range(2000):
        text = "".join(rng.choices(pieces, k=rng.randint(0, 12)))
        one = route(text, rng.choice([None, "24", 24, ["a", "b"], ""]))
        steps = split_steps(one)
        assert not any("\n" in step for step in steps)
        assert find_departure(steps, steps) is None
        drop_answer_step(one)
