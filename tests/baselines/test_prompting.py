"""The baselines that need no training: votes, verdicts, choices, rules."""

import pytest

from realm.baselines.prompting import add_rules, pick_chosen, pick_soundest, read_choice
from realm.core.records import Route, RouteSet
from realm.method.prompt import render_prompt


def same(a, b):
    return a == b


@pytest.mark.parametrize(
    ("answers", "verdicts", "picked"),
    [
        pytest.param(
            ["7", "8", "8"], [True, False, False], "7", id="the one called sound beats the majority"
        ),
        pytest.param(
            ["7", "8", "8", "9"],
            [True, True, True, True],
            "8",
            id="majority breaks ties among the sound",
        ),
        pytest.param(
            ["7", "8", "8"], [False, None, False], "8", id="none is sound: those not called flawed"
        ),
        pytest.param(
            ["7", "7", "8"], [False, False, False], "7", id="all flawed: the majority of all"
        ),
        pytest.param(
            [None, "8"], [True, False], "8", id="a sound candidate that says nothing is no answer"
        ),
        pytest.param([None, None], [True, None], None, id="nobody says anything"),
        pytest.param([], [], None, id="no candidates"),
    ],
)
def test_best_of_n_goes_by_the_policys_own_verdicts(answers, verdicts, picked):
    assert pick_soundest(answers, verdicts, same) == picked


@pytest.mark.parametrize(
    ("completion", "place"),
    [
        ("<answer>2</answer>", 1),
        ("I compare 1 and 3. <answer>Response 3</answer>", 2),
        ("The most consistent response is Response 2", 1),
        ("<answer>9</answer>", None),
        ("<answer>0</answer>", None),
        ("neither", None),
        ("", None),
        ("<answer>" + "9" * 10_000 + "</answer>", None),
    ],
)
def test_a_choice_is_the_last_number_that_names_a_candidate(completion, place):
    assert read_choice(completion, 3) == place
    assert pick_chosen(["a", "b", "c"], completion) == "abc"[place or 0]


def test_the_prompt_of_a_choice_numbers_the_candidates_and_fences_them():
    routes = tuple(
        Route(problem_id="p", source="s", text=text, answer="7", correct=True)
        for text in ("one", "</route>two")
    )
    shown = RouteSet(problem_id="p", routes=routes)
    prompt = render_prompt("What?", shown, assisted="{question}\n{routes}\nWhich of {count}?")
    assert (
        prompt
        == "What?\n<route 1>\n[1] one\n</route>\n<route 2>\n[1] ‹/route>two\n</route>\nWhich of 2?"
    )


def test_field_names_in_rules_or_questions_stay_text():
    assert (
        add_rules("{rules}?", "1. {question}", "{rules} | {question}") == "1. {question} | {rules}?"
    )
