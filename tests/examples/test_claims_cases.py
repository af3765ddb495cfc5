"""Cases of several visits: their decisions, their splits, and what their routes are worth."""

import random
from collections import Counter
from dataclasses import replace
from statistics import fmean

import pytest
from claims_testbed import measure_problem

from claims import ClaimsDomain
from claims.adjudicate import Claim, Rules, adjudicate, combine_visits
from claims.expert import write_chain
from claims.generate import (
    HELD_OUT_COMBINATIONS,
    MAX_TOTAL,
    NEW_SERVICES,
    case_of,
    decide_case,
    draw_similar_problem,
)
from claims.sources import FEE_READERS, OUTSIDERS

FOR_FEES = ("actuary", "analyst", "auditor", "advisor")
SIZES = {"train": 260, "validation": 20, "test": 150, "test_rules": 60, "test_larger": 60}
DOMAIN = ClaimsDomain(SIZES, num_easy=60)
PROBLEMS = DOMAIN.problems(11)
HARD = [problem for problem in PROBLEMS if problem.split == "train"][60:]
TRAINING = ("agent", "broker", "clerk", "doctor")
VISIT = Claim(
    tier="silver",
    service="scan",
    lapsed_days=0,
    emergency=False,
    accident=False,
    filed_days=12,
    approval=True,
    in_network=True,
    bill=48,
    deductible=10,
    other_paid=5,
)  # pays 42 - 10 - 6 - 5 = 21


def of_split(split):
    return [problem for problem in PROBLEMS if problem.split == split]


def decide(*changes, rules=None):
    visits = [adjudicate(replace(VISIT, **one), rules) for one in changes]
    return combine_visits(visits, rules)


def write_routes(problem, sources=TRAINING, per_source=2):
    return [
        DOMAIN.write_route(problem, source, random.Random(f"{problem.id} {source} {number}"))
        for source in sources
        for number in range(per_source)
    ]


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        pytest.param([{}, {"bill": 30}], "pay 30", id="21: 21 + 9"),
        pytest.param([{}, {"filed_days": 31}, {}], "pay 39", id="22: 21 + 0 + 21 - 3, one denied"),
        pytest.param(
            [{}, {"in_network": False, "emergency": True}], "pay 45", id="22: 21 + 27 - 3, outside"
        ),
        pytest.param([{"bill": 12}, {"filed_days": 31}], "pay 0", id="20: never below 0"),
        pytest.param([{"filed_days": 31}], "deny late", id="a single visit is decided as before"),
    ],
)
def test_a_case_pays_the_sum_of_its_visits_less_the_review(changes, answer):
    assert decide(*changes).answer == answer


def test_a_chain_tells_the_visits_apart_and_adds_up_after_each():
    lines = [step.text for step in decide({}, {"filed_days": 31}).steps]
    assert lines[0] == "visit 1 member active ok" and "total 0 plus 21 is 21" in lines
    assert lines[-5:] == [
        "visit 2 member active ok",
        "service scan ok",
        "filing 31 of 30 denied",
        "total 21 plus 0 is 21",
        "review 3 leaves 18",
    ]
    assert decide({}, {"filed_days": 31}, rules=Rules(review=0)).answer == "pay 21"


def test_easy_problems_come_first_and_all_others_are_hard():
    visits = [len(case_of(problem)) for problem in of_split("train")]
    assert set(visits[:60]) == {1, 2, 3} and set(visits[60:]) == {2, 3, 4}
    for split in ("validation", "test", "test_rules"):
        assert {len(case_of(problem)) for problem in of_split(split)} == {2, 3, 4}
    assert {len(case_of(problem)) for problem in of_split("test_larger")} == {5}


def test_without_easy_problems_every_problem_is_a_single_claim():
    problems = ClaimsDomain({"train": 30, "test": 10}).problems(11)
    assert {len(case_of(problem)) for problem in problems} == {1}


def test_held_out_combinations_occur_in_a_visit_of_test_rules_only():
    for problem in PROBLEMS:
        used = [adjudicate(claim).rules for claim in case_of(problem)]
        is_held_out = any(one <= rules for one in HELD_OUT_COMBINATIONS for rules in used)
        assert is_held_out == (problem.split == "test_rules")


def test_a_hard_case_is_of_one_member_pays_two_visits_and_its_total_is_one_token():
    for problem in PROBLEMS:
        case = case_of(problem)
        assert len({claim.tier for claim in case}) == 1
        assert decide_case(case).payment <= MAX_TOTAL
        if problem not in of_split("train")[:60]:
            assert sum(adjudicate(claim).payment > 0 for claim in case) >= 2


def test_no_answer_is_common():
    counts = Counter(problem.answer for problem in HARD)
    assert counts.most_common(1)[0][1] < 0.08 * len(HARD)


def test_a_similar_case_keeps_the_rules_of_each_visit():
    taken = {case_of(problem) for problem in PROBLEMS}
    for problem in HARD[:10]:
        similar = draw_similar_problem(problem, random.Random(problem.id), taken=taken)
        if similar is not None:
            old, new = case_of(problem), case_of(similar)
            assert new not in taken and len(new) == len(old)
            for before, after in zip(old, new, strict=True):
                assert adjudicate(before).rules == adjudicate(after).rules


@pytest.mark.parametrize(
    ("sources", "num_problems"), [(TRAINING, 500), (set(OUTSIDERS) - set(TRAINING), 300)]
)
def test_eight_routes_are_wrong_as_a_whole_and_right_in_most_steps(sources, num_problems):
    problems = ClaimsDomain({"train": num_problems}, num_easy=0).problems(11)
    rows = [
        measure_problem(one, write_routes(one, sorted(sources)), write_chain(one))
        for one in problems
    ]
    mean = {name: fmean(row[name] for row in rows) for name in rows[0]}
    assert mean["one"] <= 0.15 and mean["majority"] <= 0.15 and mean["any"] <= 0.35
    assert 0.70 <= mean["step"] <= 0.90 and mean["majority_step"] >= 0.85
    # What a reader can gain who knows rule 22 and takes from each visit what most routes say.
    assert mean["by_visit"] >= 0.45


def test_a_step_that_a_route_leaves_out_or_changes_is_wrong():
    [problem] = ClaimsDomain({"train": 1}, num_easy=0).problems(1)
    chain = write_chain(problem)
    lines = chain.text.splitlines()
    right = replace(chain, text="\n".join([*lines, problem.answer]))
    short = replace(chain, text="\n".join([lines[0], *lines[2:]]), answer="pay 98", correct=False)
    found = measure_problem(problem, [right, short, short], chain)
    assert (found["one"], found["majority"], found["any"]) == (1 / 3, False, True)
    assert found["step"] == pytest.approx(1 - (2 / 3) / len(lines))
    assert found["majority_step"] == pytest.approx(1 - 1 / len(lines))


@pytest.mark.parametrize("source", OUTSIDERS)
def test_nobody_outside_knows_the_house_rules(source):
    reviewed = [problem for problem in HARD if 22 in problem.meta["rules"]]
    assert len(reviewed) > 0.5 * len(HARD)
    for problem in reviewed[:30]:
        [route] = write_routes(problem, [source], 1)
        assert "review" not in route.text and not route.process


def test_the_routes_of_an_outsider_follow_the_same_beliefs():
    lines = [
        line
        for problem in HARD
        for route in write_routes(problem, ["broker"])
        for line in route.text.splitlines()
        if line.startswith("other ")
    ]
    # It never subtracts what another plan paid, but for slips.
    assert fmean(line.startswith("other 0 ") for line in lines) > 0.95


def list_new_fees(problem):
    """Return the fee lines of the chain of a problem that is about a new service."""
    [claim] = case_of(problem)
    lines = write_chain(problem).text.splitlines()
    return [line for line in lines if claim.service in NEW_SERVICES and line.startswith("fee ")]


def test_chains_never_state_a_fee_that_hard_problems_need():
    sizes = {"train": 400, "validation": 30, "test": 100, "test_rules": 30}
    problems = ClaimsDomain(sizes, num_easy=300, hard="services").problems(11)
    easy, others = problems[:300], problems[300:]
    assert not any(list_new_fees(problem) for problem in easy)
    assert any(case_of(problem)[0].service in NEW_SERVICES for problem in easy), "denied ones"
    for problem in others:
        assert len(list_new_fees(problem)) == 1 and problem.answer not in ("pay 0", "deny late")


@pytest.mark.parametrize("sources", [FOR_FEES, sorted(set(FEE_READERS) - set(FOR_FEES))])
def test_routes_of_new_services_are_wrong_and_most_state_the_right_fee(sources):
    problems = ClaimsDomain({"train": 400}, num_easy=0, hard="services").problems(11)
    rows = [measure_problem(one, write_routes(one, sources), write_chain(one)) for one in problems]
    mean = {name: fmean(row[name] for row in rows) for name in rows[0]}
    assert mean["one"] <= 0.03 and mean["majority"] <= 0.03 and mean["any"] <= 0.10
    assert mean["majority_fee"] >= 0.99
    stated = [
        line in route.text.splitlines()
        for one in problems
        for [line] in [list_new_fees(one)]
        for route in write_routes(one, sources)
    ]
    # One source in four is wrong about a fee, and some routes slip.
    assert 0.65 <= fmean(stated) <= 0.75
