"""The expert of reasoning-gym: chains are right, routes err as their source, checks name flaws."""

from collections import Counter, defaultdict

import pytest

import experts
from gym_expert import GymExpert
from gym_expert.expert import MISCONCEPTIONS, SLIPS, write_chain
from gym_expert.solve import SOLVERS, Slip, solve
from realm.core.errors import ConfigError
from realm.core.records import Problem
from realm.method.steps import split_steps

FIELDS = {
    "chain_sum": {"min_terms": 3, "max_terms": 4, "max_digits": 2},
    "leg_counting": {"min_animals": 2, "max_animals": 4, "max_instances": 5},
    "number_filtering": {
        "min_numbers": 3,
        "max_numbers": 6,
        "max_decimals": 0,
        "min_value": 0,
        "max_value": 99,
    },
}
DOMAIN = GymExpert(tasks=FIELDS, sizes={"train": 900, "validation": 0, "test": 3})
PROBLEMS = [problem for problem in DOMAIN.problems(11) if problem.split == "train"]


def write_routes(problems, **options):
    return experts.write_routes(problems, domain=DOMAIN, **options)


def problem(task, **metadata):
    return Problem(
        id="p",
        split="test",
        question="?",
        answer={"task": task, "answer": "?", "metadata": metadata},
    )


def bank(task, source):
    routes = defaultdict(list)
    chosen = [problem for problem in PROBLEMS if problem.meta["task"] == task]
    for route in write_routes(chosen, sources=[source], per_source=4, guided=False, seed=5):
        routes[route.problem_id].append(route)
    return list(routes.values())


def test_a_task_that_the_expert_does_not_know_is_refused():
    with pytest.raises(ConfigError, match=r"does not know the task gcd\. Allowed: chain_sum, leg"):
        GymExpert(tasks={"chain_sum": {}, "gcd": {}})


def test_the_expert_knows_every_source_in_every_task():
    assert tuple(MISCONCEPTIONS) == tuple(SOLVERS) and all(
        set(sources) == set(SLIPS) for sources in MISCONCEPTIONS.values()
    )


def test_the_guided_expert_never_errs():
    for one in PROBLEMS:
        chain = write_chain(one)
        assert (
            chain.correct
            and chain.process
            and chain.guided
            and DOMAIN.verifier.same(chain.answer, one.answer)
        )


def test_the_label_of_a_route_is_the_verdict_of_the_task_s_own_scorer():
    golds = {problem.id: problem.answer for problem in PROBLEMS}
    routes = list(
        write_routes(PROBLEMS[:90], sources=list(SLIPS), per_source=1, guided=False, seed=5)
    )
    assert all(
        DOMAIN.verifier.same(route.answer, golds[route.problem_id]) == route.correct
        for route in routes
    )


@pytest.mark.parametrize("task", SOLVERS)
def test_a_majority_of_one_source_is_often_wrong_where_one_of_four_routes_is_right(task):
    for source in SLIPS:
        groups = bank(task, source)
        one = sum(route.correct for routes in groups for route in routes) / (4 * len(groups))
        any_right = sum(any(route.correct for route in routes) for routes in groups) / len(groups)
        assert 0.40 <= one <= 0.70 and any_right >= one + 0.25, source
    wrong = [
        [route.answer for route in routes if not route.correct] for routes in bank(task, "outsider")
    ]
    assert sum(
        bool(said) and Counter(said).most_common(1)[0][1] >= 3 for said in wrong
    ) > 0.05 * len(wrong)


@pytest.mark.parametrize("task", SOLVERS)
def test_a_flawed_route_names_its_first_wrong_step_and_what_should_stand_there(task):
    problems = {one.id: one for one in PROBLEMS}
    routes = [route for source in SLIPS for group in bank(task, source) for route in group]
    for route in routes:
        truth = solve(problems[route.problem_id])
        true_steps = (*(step.text for step in truth.steps), truth.answer)
        steps = split_steps(route)
        assert route.process == (steps == true_steps) and (route.flaw is None) == route.process
        if not route.process:
            at = route.flaw - 1
            assert steps[:at] == true_steps[:at] and steps[at] != true_steps[at] == route.fix
    assert all(route.correct for route in routes if route.process)


def test_routes_are_a_pure_function_of_seed_problem_and_source():
    def routes_of(problems):
        routes = write_routes(
            problems, sources=["dated", "hasty"], per_source=2, guided=True, seed=5
        )
        return sorted(routes, key=lambda route: (route.problem_id, route.source, route.text))

    assert routes_of(PROBLEMS[:20]) == routes_of(PROBLEMS[10:20] + PROBLEMS[:10])


@pytest.mark.parametrize(
    ("habits", "steps", "answer"),
    [
        ({}, ["28 plus 35 leaves 63", "63 minus 7 leaves 56", "56 plus 4 leaves 60"], "60"),
        (
            {"carries": False},
            ["28 plus 35 leaves 53", "53 minus 7 leaves 46", "46 plus 4 leaves 40"],
            "40",
        ),
        (
            {"borrows": False},
            ["28 plus 35 leaves 63", "63 minus 7 leaves 64", "64 plus 4 leaves 68"],
            "68",
        ),
        (
            {"minus_lasts": True},
            ["28 plus 35 leaves 63", "63 minus 7 leaves 56", "56 minus 4 leaves 52"],
            "52",
        ),
        ({"leaves_out_last": True}, ["28 plus 35 leaves 63", "63 minus 7 leaves 56"], "56"),
    ],
)
def test_each_way_to_get_a_sum_wrong(habits, steps, answer):
    worked = solve(problem("chain_sum", expression="28 + 35 - 7 + 4"), habits)
    assert [step.text for step in worked.steps] == steps and worked.answer == answer


def test_sums_may_fall_below_zero_or_add_what_should_be_subtracted_last():
    asked = problem("chain_sum", expression="3 - 9 - 2")
    assert solve(asked).answer == "-8" and solve(asked, {"below_zero": False}).answer == "0"
    assert (
        solve(asked, {"adds_last": True}).answer == "-4"
        and solve(asked, slip=Slip(0, 10)).answer == "2"
    )


def test_legs_are_counted_with_what_an_animal_is_thought_to_have():
    asked = problem("leg_counting", animals={"spider": 2, "cow": 3, "leech": 1})
    assert [step.text for step in solve(asked).steps] == [
        "2 spider 8 each 16 total 16",
        "3 cow 4 each 12 total 28",
        "1 leech 0 each 0 total 28",
    ]
    assert solve(asked, {"legs": {"spider": 6}}).answer == "24"
    assert len(solve(asked, {"leaves_out_last": True}).steps) == 2


@pytest.mark.parametrize(
    ("habits", "answer"),
    [
        ({}, ["5", "40"]),
        ({"keeps_always": True}, ["90", "47"]),
        ({"as_text": True}, ["40"]),
        ({"by_tens": True}, ["5", "47", "40"]),
        ({"leaves_out_last": True}, ["5"]),
    ],
)
def test_each_way_to_get_a_filter_wrong(habits, answer):
    asked = problem(
        "number_filtering",
        operation="remove_larger",
        filter_value="42",
        original_numbers=["5", "90", "47", "40"],
    )
    assert solve(asked, habits).answer == str(answer)


def test_a_filter_may_read_smaller_as_larger_or_keep_as_remove_and_misjudge_one_number():
    asked = problem(
        "number_filtering",
        operation="keep_smaller",
        filter_value="42",
        original_numbers=["5", "90", "42"],
    )
    assert (
        solve(asked).answer == "['5']" and solve(asked, {"larger_always": True}).answer == "['90']"
    )
    assert solve(asked, {"removes_always": True}).answer == "['90', '42']"
    assert solve(asked, slip=Slip(2, 1)).answer == "['5', '90']"
