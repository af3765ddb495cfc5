"""Which routes may be shown, taught and counted."""

from dataclasses import replace

import pytest

from realm.bank.eligible import (
    exclude_chain,
    select_evaluation_routes,
    select_reported_routes,
    select_teachable_routes,
    select_training_routes,
)
from realm.core.records import Route

RIGHT = Route(problem_id="p", source="hasty", text="1 + 1 = 2", answer="2", correct=True)
WRONG = replace(RIGHT, text="1 + 1 = 3", answer="3", correct=False)
GUIDED = replace(RIGHT, source="expert", text="By rule 1 it is 2", guided=True)
HELD_OUT = replace(RIGHT, source="outsider", text="2, I say")
UNDECIDED = replace(RIGHT, text="1 + 1 = II", answer="II", correct=None)
EMPTY = replace(RIGHT, text=" \n")
ELSEWHERE = replace(RIGHT, problem_id="other")
BANK = [RIGHT, WRONG, GUIDED, HELD_OUT, UNDECIDED, EMPTY, ELSEWHERE]


def test_training_shows_labelled_routes_of_its_problems_and_no_held_out_source():
    assert select_training_routes(BANK, ["outsider"], {"p"}) == {"p": [RIGHT, WRONG]}
    assert select_training_routes(BANK, [], {"p"}) == {"p": [RIGHT, WRONG, HELD_OUT]}
    assert select_training_routes([GUIDED, UNDECIDED, EMPTY], [], {"p"}) == {}


def test_evaluation_shows_the_held_out_sources_or_all_where_none_is_held_out():
    assert select_evaluation_routes(BANK, ["outsider"], {"p"}) == {"p": [HELD_OUT]}
    assert select_evaluation_routes(BANK, [], {"p"}) == {"p": [RIGHT, WRONG, HELD_OUT]}
    guided = replace(GUIDED, source="outsider")
    undecided = replace(UNDECIDED, source="outsider")
    empty = replace(EMPTY, source="outsider")
    assert select_evaluation_routes([guided, undecided, empty], ["outsider"], {"p"}) == {}


def test_distillation_uses_guided_chains_as_well_and_no_held_out_source():
    assert select_teachable_routes(BANK, ["outsider"], {"p"}) == [RIGHT, WRONG, GUIDED]


def test_figures_count_everything_but_guided_chains():
    assert select_reported_routes(BANK) == [route for route in BANK if route is not GUIDED]


@pytest.mark.parametrize("text", ["1 + 1 = 2", " 1 +\n1 = 2 "])
def test_the_taught_chain_and_its_copies_are_excluded(text):
    copy = replace(RIGHT, source="frugal", text=text)
    assert exclude_chain([RIGHT, WRONG, copy], RIGHT) == [WRONG]
