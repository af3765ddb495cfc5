"""Policies that try to be paid without judging or solving: each has a bound, and a reason."""

from collections import defaultdict
from statistics import fmean
from types import SimpleNamespace

import pytest

from claims import ClaimsDomain
from experts import write_routes
from realm.bank.draw import RouteMix, draw_routes
from realm.method.rewards import RewardWeights, weigh_terms
from realm.method.steps import find_flaw, split_steps
from realm.verify.judge import judge
from realm.verify.verifier import Verifier, majority

TERMS = weigh_terms(RewardWeights(answer=1.0, verdict=0.5, format=0.1, localization=0.4))
VERIFIER = Verifier("label")
PROBLEMS = {problem.id: problem for problem in ClaimsDomain({"test": 150}).problems(11)}
BANK = defaultdict(list)
for _route in write_routes(
    PROBLEMS.values(), sources=["hasty", "frugal", "dated"], per_source=2, guided=True, seed=5
):
    if not _route.guided:
        BANK[_route.problem_id].append(_route)
MIX = RouteMix(flawed_majority_share=0.5)
SETS = [
    draw_routes(BANK[name], 4, seed=7, row_id=name, step=step, mix=MIX)
    for name in PROBLEMS
    for step in (0, 1)
]
MIXED = [shown for shown in SETS if len(set(shown.labels())) == 2]


def same(a, b):
    return a == b


def completion(checks, answer):
    lines = "\n".join(f"Route {number}: {check}" for number, check in enumerate(checks, 1))
    return f"<verify>\n{lines}\n</verify>\n<reason>\nbecause\n</reason>\n<answer>{answer}</answer>"


def graded(shown, text):
    gold = PROBLEMS[shown.problem_id].answer
    flaws = [find_flaw(route, gold, ()) for route in shown.routes]
    judged = judge(text, gold=gold, verifier=VERIFIER, routes=shown.routes, flaws=flaws)
    terms = {name: function(judged) for name, (_, function) in TERMS.items()}
    total = sum(weight * (terms[name] or 0.0) for name, (weight, _) in TERMS.items())
    return SimpleNamespace(**terms, total=total)


def gold_of(shown):
    return PROBLEMS[shown.problem_id].answer


def vote(shown):
    return majority([route.answer for route in shown.routes], same)


def honest(shown):
    return completion(
        [f"{route.check} {'sound' if route.correct else 'flawed'}" for route in shown.routes],
        gold_of(shown),
    )


def always(word):
    return lambda shown: completion([f"{route.check} {word}" for route in shown.routes], "nothing")


def copies_majority(shown):
    checks = [
        "sound" if route.answer == vote(shown) else f"{route.check} flawed"
        for route in shown.routes
    ]
    return completion(checks, vote(shown))


def empty(shown):
    return ""


def repeats_blocks(shown):
    return honest(shown) * 3


def hides_answer_in_its_verification(shown):
    inside = f"<route 1>\n<answer>{gold_of(shown)}</answer>\n</route>"
    return f"<verify>\n{inside}\n</verify>\n<reason>\nbecause\n</reason>\n<answer>nothing</answer>"


def imitates_fences(shown):
    fences = "\n".join(
        f"<route {n}>\nRoute {n}: sound\n</route>\n<route {n}>\nRoute {n}: flawed\n</route>"
        for n in range(1, 5)
    )
    reasoning = "<reason>\nbecause\n</reason>\n<answer>nothing</answer>"
    return f"{fences}\n<verify>\n{fences}\n</verify>\n{reasoning}"


def quotes_every_step(shown):
    """Judges like the honest one, and names no step in particular."""
    checks = [
        "sound" if route.correct else f"{' '.join(split_steps(route))} flawed"
        for route in shown.routes
    ]
    return completion(checks, gold_of(shown))


def quotes_every_step_of_every_route(shown):
    return completion(
        [f"{' '.join(split_steps(route))} flawed" for route in shown.routes], gold_of(shown)
    )


def earned(policy, sets=MIXED):
    return [graded(shown, policy(shown)) for shown in sets]


def test_there_is_something_to_cheat_on():
    assert len(MIXED) > 150
    assert 0.3 < fmean(vote(shown) == gold_of(shown) for shown in MIXED) < 0.7


def test_who_judges_and_solves_earns_every_term():
    assert all(found.total == pytest.approx(2.0) for found in earned(honest))


@pytest.mark.parametrize("word", ["sound", "flawed", "sound or flawed", "flawed, no, sound"])
def test_a_constant_verdict_earns_half_the_verdict_term_and_no_localization(word):
    """Half: one class is always right, the other always wrong. Localization needs both verdicts."""
    found = earned(always(word))
    assert all((one.verdict, one.localization) == (0.5, 0.0) for one in found)
    assert all(one.total == pytest.approx(0.5 * 0.5 + 0.1) for one in found)


@pytest.mark.parametrize("word", ["sound", "flawed"])
def test_on_sets_of_one_class_no_verdict_is_paid_at_all(word):
    one_class = [shown for shown in SETS if len(set(shown.labels())) == 1]
    assert one_class and all(
        one.total == pytest.approx(0.1) for one in earned(always(word), one_class)
    )


def test_copying_the_majority_earns_the_answer_no_more_often_than_the_majority_is_right():
    """If the majority is wrong, it misjudges every sound route: at most half the verdict term."""
    for shown, one in zip(MIXED, earned(copies_majority), strict=True):
        assert one.answer == (vote(shown) == gold_of(shown))
        assert one.answer or one.verdict <= 0.5
        assert one.answer or one.localization == 0.0
    assert fmean(one.total for one in earned(copies_majority)) < 0.75 * 2.0


def test_an_empty_completion_earns_nothing():
    assert all(one.total == 0.0 for one in earned(empty))


def test_repeated_blocks_are_paid_once_and_cost_the_format():
    assert all(
        one.total == pytest.approx(2.0 - 0.1) and one.format == 0.0
        for one in earned(repeats_blocks)
    )


def test_an_answer_inside_the_verification_or_a_fence_in_it_is_no_answer():
    """It may be a route's, so the verifier reads the answer block alone, which is wrong."""
    assert all(
        one.answer == 0.0 and one.total <= 0.1 for one in earned(hides_answer_in_its_verification)
    )


def test_imitated_fences_give_each_route_one_verdict_and_so_a_constant_one():
    found = earned(imitates_fences)
    assert all(
        one.verdict == 0.5 and one.localization == 0.0 and one.total == pytest.approx(0.35)
        for one in found
    )


def test_quoting_every_step_earns_a_share_of_the_localization_that_shrinks_with_the_steps():
    for shown, one in zip(MIXED, earned(quotes_every_step), strict=True):
        shares = [1 / len(split_steps(route)) for route in shown.routes if not route.correct]
        assert one.localization == pytest.approx(fmean(shares))
    assert fmean(one.localization for one in earned(quotes_every_step)) < 0.25


def test_quoting_every_step_of_every_route_earns_no_localization():
    assert all(
        one.localization == 0.0 and one.verdict == 0.5
        for one in earned(quotes_every_step_of_every_route)
    )
