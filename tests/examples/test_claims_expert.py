"""The expert of claims: chains are right, routes err as their source errs, checks name flaws."""

import asyncio
from collections import Counter, defaultdict

import pytest

from claims import ClaimsDomain
from claims.adjudicate import Decision, Step
from claims.expert import MISCONCEPTIONS, check_decision, find_first_flaw, write_chain
from experts import write_routes
from realm.config.teachers import ScriptedTeacher as Settings
from realm.core.errors import ConfigError
from realm.method.steps import find_departure, find_flaw, score_check
from realm.sources import Request
from realm.sources.replay import ScriptedTeacher
from teachers import no_attempts

PROBLEMS = ClaimsDomain({"test": 1500}).problems(11)


def routes_of(source, problems=PROBLEMS, per_source=4, *, checked=False):
    routes = defaultdict(list)
    for route in write_routes(
        problems, sources=[source], per_source=per_source, guided=checked, seed=5
    ):
        if not route.guided:
            routes[route.problem_id].append(route)
    return routes


def test_the_guided_expert_never_errs():
    assert all(
        write_chain(problem).correct and write_chain(problem).answer == problem.answer
        for problem in PROBLEMS[:300]
    )


def test_one_route_majority_and_any_of_the_held_out_source_lie_in_the_promised_bands():
    bank = routes_of("outsider").values()
    one = sum(route.correct for routes in bank for route in routes) / (4 * len(bank))
    most = 0
    for routes in bank:
        answer = Counter(route.answer for route in routes).most_common(1)[0][0]
        most += next(route.correct for route in routes if route.answer == answer)
    majority = most / len(bank)
    any_right = sum(any(route.correct for route in routes) for routes in bank) / len(bank)
    assert 0.50 <= one <= 0.65 and majority <= one + 0.10 and any_right >= 0.88


@pytest.mark.parametrize("source", MISCONCEPTIONS)
def test_outcome_and_process_label_agree_on_most_routes(source):
    routes = [route for group in routes_of(source).values() for route in group]
    assert sum(route.correct == route.process for route in routes) / len(routes) > 0.94
    assert all(route.correct for route in routes if route.process)


def test_a_source_shares_its_misconceptions_so_that_majorities_can_be_wrong():
    wrong = [
        [route.answer for route in routes if not route.correct]
        for routes in routes_of("hasty").values()
    ]
    shared = [
        answers for answers in wrong if answers and Counter(answers).most_common(1)[0][1] >= 3
    ]
    assert len(shared) > 0.05 * len(PROBLEMS)


def test_routes_are_a_pure_function_of_seed_problem_and_source():
    assert routes_of("dated", PROBLEMS[:20]) == routes_of("dated", PROBLEMS[10:20] + PROBLEMS[:10])


def test_a_check_names_both_answers_and_the_first_step_that_does_not_hold():
    def decision(answer, *steps):
        return Decision(tuple(Step(*step) for step in steps), answer)

    truth = decision("pay 24", ("network", "in", "ok"), ("fee", "42", "30"), ("copay", "6", "24"))
    route = decision("pay 21", ("network", "in", "ok"), ("fee", "50", "30"), ("copay", "9", "21"))
    assert check_decision(route, truth) == "pay 21 not pay 24 from copay 24"
    assert check_decision(truth, truth) == "pay 24 holds"
    assert (
        check_decision(decision("deny network", ("network", "out", "denied")), truth)
        == "deny network not pay 24 from network ok"
    )


def teacher(**settings):
    own = Settings(**{"kind": "scripted", "name": "dated", "routes": 1, **settings})
    made = ScriptedTeacher(own, ClaimsDomain(), seed=5)
    made.open()
    return made


@pytest.mark.parametrize("kind", ["guided", "unguided"])
def test_the_verifier_reads_what_the_expert_decided(kind):
    requests = [
        Request(problem=problem, kind=kind, sample=0, messages=()) for problem in PROBLEMS[:200]
    ]
    answers = [
        ClaimsDomain({}).verifier.extract(reply.text)
        for reply in asyncio.run(teacher().ask(requests, no_attempts))
    ]
    right = [answer == problem.answer for answer, problem in zip(answers, PROBLEMS, strict=False)]
    assert None not in answers and all(right) == (kind == "guided") and sum(right) > 60


def test_the_samples_of_a_problem_differ():
    texts = {
        asyncio.run(
            teacher().ask(
                [Request(problem=problem, kind="unguided", sample=sample, messages=())], no_attempts
            )
        )[0].text
        for problem in PROBLEMS[:1]
        for sample in range(20)
    }
    assert len(texts) > 1


def test_a_name_that_is_no_source_can_only_be_guided():
    teacher(name="expert", routes=0, guided=1)
    with pytest.raises(ConfigError, match=r"knows no source 'expert'. Allowed: hasty, frugal"):
        teacher(name="expert")


def test_a_route_says_which_of_its_steps_is_the_first_that_does_not_hold():
    truth = Decision(
        (Step("network", "in", "ok"), Step("fee", "42", "30"), Step("copay", "6", "24")), "pay 24"
    )
    route = Decision(
        (Step("network", "in", "ok"), Step("fee", "50", "30"), Step("copay", "9", "21")), "pay 21"
    )
    assert (
        find_first_flaw(route, truth) == "copay 9 leaves 21"
        and find_first_flaw(truth, truth) is None
    )


@pytest.mark.parametrize("source", MISCONCEPTIONS)
def test_the_teachers_own_check_names_the_flaw_of_every_wrong_route(source):
    gold = {problem.id: problem.answer for problem in PROBLEMS}
    found = routes_of(source, PROBLEMS[:300], checked=True).values()
    wrong = [route for routes in found for route in routes if not route.correct]
    assert wrong and all(route.flaw in route.text.splitlines() for route in wrong)
    assert all(
        score_check(route.check, find_flaw(route, gold[route.problem_id], ())) == 1.0
        for route in wrong
    )


def test_the_teacher_checks_the_routes_of_the_problems_that_it_worked_on_and_no_others():
    assert all(
        route.check
        for routes in routes_of("hasty", PROBLEMS[:50], checked=True).values()
        for route in routes
    )
    assert not any(
        route.check for routes in routes_of("hasty", PROBLEMS[:50]).values() for route in routes
    )


@pytest.mark.parametrize("source", MISCONCEPTIONS)
def test_where_a_route_departs_from_the_nearest_right_one_is_mostly_its_flaw(source):
    pairs = []
    for routes in routes_of(source, PROBLEMS[:300]).values():
        right = [route for route in routes if route.correct]
        wrong = [
            (find_departure(route, right), find_flaw(route, "", ()))
            for route in routes
            if not route.correct
        ]
        pairs += [(found, known.index) for found, known in wrong if found is not None]
    assert len(pairs) > 150 and sum(found == known for found, known in pairs) / len(pairs) > 0.65
