import itertools
import random
import time

import pytest

from realm.core.records import Route
from realm.method.parse import parse_completion
from realm.method.steps import (
    Flaw,
    drop_opening_answer,
    find_departure,
    find_flaw,
    score_check,
    score_flaws,
    split_steps,
    word_similarity,
    write_check,
)

STEPS = (
    "member active ok",
    "filing 12 of 30 ok",
    "network in ok",
    "fee 50 allows 30",
    "copay 6 leaves 24",
)
FLAW = Flaw(STEPS, 3, ("pay 24", "pay 18"))


def route(text, answer="pay 24", *, correct=False, flaw=None):
    return Route(problem_id="p", source="s", text=text, answer=answer, correct=correct, flaw=flaw)


@pytest.mark.parametrize(
    ("check", "credit"),
    [
        pytest.param("pay 24 not pay 18 from fee 24 flawed", 1.0, id="the scripted teacher's form"),
        pytest.param("step 4: the fee is 24. flawed", 1.0, id="by its number"),
        pytest.param("'fee 50 allows 30' should allow 24. flawed", 1.0, id="by quoting it"),
        pytest.param("Line #4 does not hold", 1.0, id="by its line"),
        pytest.param("step 2 flawed", 0.0, id="another number"),
        pytest.param("copay 6 leaves 24 is wrong", 0.0, id="another quoted"),
        pytest.param("pay 24 not pay 18 from copay 18 flawed", 0.0, id="another begun"),
        pytest.param("either the fee or the copay", 0.5, id="two of them share the credit"),
        pytest.param(" ".join(STEPS), 1 / 5, id="every step quoted"),
        pytest.param(
            "steps: step 1, step 2, step 3, step 4, step 5", 1 / 5, id="every step numbered"
        ),
        pytest.param("member filing network fee copay", 1 / 5, id="every step begun"),
        pytest.param(
            " ".join(f"step {n}" for n in range(1, 10_000)), 1 / 5, id="all numbers there are"
        ),
        pytest.param("step 99", 0.0, id="a step that is not there"),
        pytest.param("flawed", 0.0, id="no step at all"),
        pytest.param("", 0.0, id="empty"),
        pytest.param(None, 0.0, id="not said"),
    ],
)
def test_a_check_earns_by_naming_the_flawed_step_and_it_alone(check, credit):
    assert score_check(check, FLAW) == pytest.approx(credit)


def test_an_answer_in_the_check_names_no_step():
    flaw = Flaw(("approval given ok", "network out denied"), 0, ("deny network", "deny approval"))
    assert score_check("deny network not deny approval from approval denied", flaw) == 1.0


def test_a_constant_guess_earns_no_more_than_how_often_it_is_right():
    flaws = [Flaw(STEPS, index) for index in range(5)]
    for guess in ("step 3", "network", "network in ok"):
        assert sum(score_check(guess, flaw) for flaw in flaws) == 1.0


def test_no_text_earns_more_than_everything_or_less_than_nothing():
    rng = random.Random(7)
    pieces = [
        *STEPS,
        "step 4",
        "step 1",
        "fee",
        "copay",
        "pay 24",
        "not",
        "flawed",
        "\n",
        "𝟙",
        "line 0",
        "step -1",
    ]
    for _ in range(2000):
        assert 0.0 <= score_check(" ".join(rng.choices(pieces, k=rng.randint(0, 12))), FLAW) <= 1.0


def test_naming_more_steps_never_earns_more():
    for count in range(1, 6):
        for chosen in itertools.combinations(range(1, 6), count):
            credit = score_check(" ".join(f"step {n}" for n in chosen), FLAW)
            assert credit == (pytest.approx(1 / count) if 4 in chosen else 0.0)


def test_the_steps_of_a_route_are_its_lines_without_its_answer():
    assert split_steps(route("pay 24\nfee 50 allows 30\n\n  copay 6 leaves 24 ")) == (
        "fee 50 allows 30",
        "copay 6 leaves 24",
    )
    assert split_steps(route("Fee is 30. Copay is 6. So pay 24.")) == (
        "Fee is 30.",
        "Copay is 6.",
        "So pay 24.",
    )
    assert split_steps(route("")) == () == split_steps(route("pay 24"))


def test_a_flaw_that_the_author_knows_is_found_in_the_text():
    assert find_flaw(route("pay 24\na 1\nb 2", flaw="b 2"), "pay 18", ()) == Flaw(
        ("a 1", "b 2"), 1, ("pay 24", "pay 18")
    )
    assert find_flaw(route("a 1\nb 2", flaw="c 3"), "pay 18", ()) is None


def test_else_it_is_where_the_route_departs_from_the_nearest_right_one():
    wrong = route("30 - 8 = 22\n22 - 5 = 16\n16 + 1 = 17", "17")
    near = route("30 - 8 = 22\n22 - 5 = 17\n17 + 1 = 18", "18", correct=True)
    far = route("one plus one\nis two\nand more", "2", correct=True)
    assert (
        find_departure(wrong, [far, near]) == 1 and find_flaw(wrong, "18", [far, near]).index == 1
    )
    assert find_departure(wrong, [far]) is None and find_departure(wrong, []) is None
    assert find_flaw(wrong, "18", ()) is None


def test_a_labelled_route_is_checked_against_a_right_chain():
    chain = route("pay 24\nfee 50 allows 30\ncopay 6 leaves 24", correct=True)
    wrong = route("pay 21\nfee 50 allows 30\ncopay 9 leaves 21", "pay 21")
    found = write_check(wrong, chain, "pay 24", str)
    assert found == "pay 21 not pay 24 from copay 6 leaves 24"
    assert score_check(found, find_flaw(wrong, "pay 24", [chain])) == 1.0
    assert write_check(chain, chain, "pay 24", str) == "pay 24 holds"
    assert (
        write_check(route("Well, I would deny it.", "deny late"), chain, "pay 24", str)
        == "deny late not pay 24"
    )
    assert write_check(route("no idea", None), chain, "pay 24", str) == "no answer not pay 24"


def test_a_chain_that_opens_with_its_answer_is_taught_without_it():
    assert drop_opening_answer(route("pay 24\nfee 50 allows 30")) == "fee 50 allows 30"
    assert drop_opening_answer(route("fee 50 allows 30\npay 24")) == "fee 50 allows 30\npay 24"
    assert drop_opening_answer(route("pay 24")) == "pay 24"


def test_similarity_is_one_for_the_same_words_and_nothing_for_none():
    assert word_similarity("a B, c", "A b c.") == 1.0 and word_similarity("a b", "c d") == 0.0
    assert word_similarity("a b c", "a b d") > word_similarity("a b c", "a e d")


LABELS, FLAWS = (True, False, False), (None, FLAW, FLAW)
RIGHT = "fee 24 flawed"


@pytest.mark.parametrize(
    ("verdicts", "checks", "earned"),
    [
        pytest.param((True, False, False), ("holds", RIGHT, RIGHT), 1.0, id="all right"),
        pytest.param((True, False, False), ("holds", RIGHT, "copay"), 0.5, id="one of two named"),
        pytest.param(
            (True, False, True),
            ("holds", RIGHT, RIGHT),
            0.5,
            id="called sound: no credit for naming",
        ),
        pytest.param((False, False, False), (RIGHT, RIGHT, RIGHT), 0.0, id="always flawed"),
        pytest.param((True, True, True), (RIGHT, RIGHT, RIGHT), 0.0, id="always sound"),
        pytest.param((None, None, None), (None, None, None), 0.0, id="nothing said"),
    ],
)
def test_localization_pays_for_flaws_named_where_sound_routes_are_called_sound(
    verdicts, checks, earned
):
    assert score_flaws(verdicts, checks, LABELS, FLAWS) == pytest.approx(earned)


@pytest.mark.parametrize(
    ("labels", "flaws"),
    [
        pytest.param((True, True), (None, None), id="no flawed route"),
        pytest.param((False, False), (FLAW, FLAW), id="no sound route"),
        pytest.param((True, False), (None, None), id="no flaw known"),
        pytest.param((), (), id="autonomous"),
    ],
)
def test_localization_is_not_paid_where_it_does_not_apply(labels, flaws):
    assert score_flaws((False,) * len(labels), (RIGHT,) * len(labels), labels, flaws) is None


def test_a_flaw_in_a_route_that_is_called_right_by_its_label_is_not_asked_for():
    assert (
        score_flaws((True, False), ("holds", "copay"), (True, False), (FLAW, Flaw(STEPS, 4))) == 1.0
    )


def test_checks_are_read_where_verdicts_are():
    text = (
        "Route 1: outside\n<verify>chain\nRoute 1: fee 24 flawed\n"
        "**Route 2:** holds sound\nRoute 1: step 4 flawed</verify>"
    )
    assert parse_completion(text, 3).checks == ("step 4 flawed", "holds sound", None)
    thought = "<verify>Route 1: step 1</verify></think>" + text
    assert parse_completion(thought, 1, think_end="</think>").checks == ("step 4 flawed",)
    assert parse_completion(text, 1, think_end="</think>").checks == (None,)


def test_texts_that_loop_are_compared_in_bounded_time():
    started = time.perf_counter()
    word_similarity("a b " * 5000, "b a " * 5000)
    assert time.perf_counter() - started < 10
