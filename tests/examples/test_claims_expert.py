"""The expert of claims: chains are right, routes err as their source errs, checks name flaws."""

import asyncio
from collections import Counter, defaultdict

import pytest

from claims import ClaimsDomain
from claims.expert import write_chain
from claims.generate import case_of, decide_case
from claims.sources import FORGETFUL, SOURCES
from experts import write_routes
from realm.config.teachers import ScriptedTeacher as Settings
from realm.core.errors import ConfigError
from realm.method.steps import find_departure, split_steps
from realm.sources import Request
from realm.sources.teachers.replay import ScriptedTeacher
from teachers import no_attempts

PROBLEMS = ClaimsDomain({"test": 1500}).problems(11)


def routes_of(source, problems=PROBLEMS, per_source=4):
    routes = defaultdict(list)
    for route in write_routes(
        problems, sources=[source], per_source=per_source, guided=False, seed=5
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


@pytest.mark.parametrize("source", SOURCES)
def test_a_route_is_sound_if_every_step_is_what_the_rules_give(source):
    problems = {problem.id: problem for problem in PROBLEMS}
    routes = [route for group in routes_of(source).values() for route in group]
    for route in routes:
        truth = decide_case(case_of(problems[route.problem_id]))
        true_steps = (*(step.text for step in truth.steps), truth.answer)
        steps = split_steps(route)
        assert steps[-1] == route.answer
        assert route.process == (steps == true_steps)
        if route.process:
            assert route.correct and route.flaw is None and route.fix is None
        else:
            assert steps[: route.flaw - 1] == true_steps[: route.flaw - 1]
            assert steps[route.flaw - 1] != true_steps[route.flaw - 1] == route.fix
    lucky = sum(route.correct and not route.process for route in routes) / len(routes)
    assert 0.01 < lucky < 0.5  # right answers by wrong steps


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


@pytest.mark.parametrize("source", FORGETFUL)
def test_where_a_route_departs_from_the_nearest_right_one_is_mostly_its_flaw(source):
    pairs = []
    for routes in routes_of(source, PROBLEMS[:300]).values():
        sound = [route for route in routes if route.process]
        if sound:
            right_steps = split_steps(sound[0])
            wrong = [route for route in routes if not route.correct]
            pairs += [
                (find_departure(split_steps(route), right_steps).number, route.flaw)
                for route in wrong
            ]
    assert len(pairs) > 100 and sum(found == known for found, known in pairs) / len(pairs) > 0.65
