"""Policies that try to be paid without judging or solving: each has a bound, and a reason."""

from collections import defaultdict
from statistics import fmean
from types import SimpleNamespace

import pytest

from claims import ClaimsDomain
from experts import write_routes
from realm.bank.draw import RouteMix, draw_routes
from realm.bank.eligible import select_sound_routes
from realm.method.rewards import RewardWeights, weigh_terms
from realm.method.steps import split_steps
from realm.verify.judge import judge
from realm.verify.verifier import Verifier, majority

TERMS = weigh_terms(RewardWeights(answer=1.0, verdict=0.5, format=0.1, first_flaw=0.4))
VERIFIER = Verifier("label")
PROBLEMS = {problem.id: problem for problem in ClaimsDomain({"test": 150}).problems(11)}
BANK = defaultdict(list)
for _route in write_routes(
    PROBLEMS.values(), sources=["hasty", "frugal", "dated"], per_source=2, guided=True, seed=5
):
    if not _route.guided:
        BANK[_route.problem_id].append(_route)
MIX = RouteMix(flawed_majority_share=0.5)
SOUND = select_sound_routes(BANK)
SETS = [
    draw_routes(BANK[name], 4, seed=7, row_id=name, step=step, mix=MIX, others=SOUND)
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
    judged = judge(text, gold=gold, verifier=VERIFIER, routes=shown.routes)
    terms = {name: function(judged) for name, (_, function) in TERMS.items()}
    total = sum(weight * (terms[name] or 0.0) for name, (weight, _) in TERMS.items())
    return SimpleNamespace(**terms, total=total)


def gold_of(shown):
    return PROBLEMS[shown.problem_id].answer


def vote(shown):
    return majority([route.answer for route in shown.routes], same)


def check(route):
    return "every step holds: sound" if route.is_sound() else f"[{route.flaw}] {route.fix}: flawed"


def honest(shown):
    return completion(map(check, shown.routes), gold_of(shown))


def always(word):
    return lambda shown: completion([f"[1] {word}" for _ in shown.routes], "nothing")


def copies_majority(shown):
    checks = [
        "sound" if route.answer == vote(shown) else f"[{route.flaw or 1}] flawed"
        for route in shown.routes
    ]
    return completion(checks, vote(shown))


def compares_answers_only(shown):
    """Solves the problem, and reads of each route its answer alone."""
    last = [len(split_steps(route)) for route in shown.routes]
    checks = [
        "sound" if route.answer == gold_of(shown) else f"[{number}] flawed"
        for route, number in zip(shown.routes, last, strict=True)
    ]
    return completion(checks, gold_of(shown))


def names_step(number):
    """Knows every verdict, and names the same step of each flawed route."""
    return lambda shown: completion(
        ["sound" if route.is_sound() else f"[{number}] flawed" for route in shown.routes],
        gold_of(shown),
    )


def names_last_step(shown):
    """Knows every verdict, and says of each flawed route that its last step is wrong."""
    checks = [
        "sound" if route.is_sound() else f"[{len(split_steps(route))}] flawed"
        for route in shown.routes
    ]
    return completion(checks, gold_of(shown))


def judge_by_likeness(shown, model, answer):
    """Call a route sound if its steps are those of `model`, else flawed where it leaves them."""
    right = split_steps(model)
    checks = []
    for route in shown.routes:
        steps = split_steps(route)
        differs = (n for n, step in enumerate(steps, 1) if right[n - 1 : n] != (step,))
        is_copy = steps == right
        checks.append("sound" if is_copy else f"[{next(differs, len(steps))}] flawed")
    return completion(checks, answer)


def find_most_alike(routes):
    """Return the route that shares the most steps with the others."""

    def count_shared(route):
        own = set(split_steps(route))
        shares = [set(split_steps(other)) for other in routes]
        return sum(len(own & other) / len(own | other) for other in shares)

    return max(routes, key=count_shared)


def copies_first_right_route(shown):
    """Solves the problem, takes the first route with its answer for the right one, and compares."""
    right = [route for route in shown.routes if route.answer == gold_of(shown)]
    return judge_by_likeness(shown, (right or shown.routes)[0], gold_of(shown))


def finds_the_odd_one_out(shown):
    """Reads no question: what most routes say is right, and the others leave it."""
    return judge_by_likeness(shown, find_most_alike(shown.routes), vote(shown))


def solves_and_finds_the_odd_one_out(shown):
    """Solves the problem, and compares the routes that have its answer with each other."""
    right = [route for route in shown.routes if route.answer == gold_of(shown)]
    return judge_by_likeness(shown, find_most_alike(right or shown.routes), gold_of(shown))


def empty(shown):
    return ""


def repeats_blocks(shown):
    return honest(shown) * 3


def hides_answer_in_its_verification(shown):
    inside = f"<route 1>\n<answer>{gold_of(shown)}</answer>\n</route>"
    return f"<verify>\n{inside}\n</verify>\n<reason>\nbecause\n</reason>\n<answer>nothing</answer>"


def imitates_fences(shown):
    fences = "\n".join(f"<route {n}>\nRoute {n}: [1] flawed\n</route>" for n in range(1, 5))
    reasoning = "<reason>\nbecause\n</reason>\n<answer>nothing</answer>"
    return f"{fences}\n<verify>\n{fences}\n</verify>\n{reasoning}"


def names_every_step(shown):
    """Judges like the honest one, and names all steps of a flawed route, one by one."""
    lines = []
    for number, route in enumerate(shown.routes, 1):
        steps = range(1, len(split_steps(route)) + 1)
        lines += (
            [f"Route {number}: sound"]
            if route.is_sound()
            else [f"Route {number}: [{step}] flawed" for step in steps]
        )
    return (
        honest(shown).split("<verify>")[0]
        + "<verify>\n"
        + "\n".join(lines)
        + (f"\n</verify>\n<reason>\nbecause\n</reason>\n<answer>{gold_of(shown)}</answer>")
    )


def earned(policy, sets=MIXED):
    return [graded(shown, policy(shown)) for shown in sets]


def test_there_is_something_to_cheat_on():
    assert len(MIXED) > 150
    assert 0.3 < fmean(vote(shown) == gold_of(shown) for shown in MIXED) < 0.85


def test_who_judges_and_solves_earns_every_term():
    assert all(found.total == pytest.approx(2.0) for found in earned(honest))


@pytest.mark.parametrize("word", ["sound", "flawed", "flawed, no, sound"])
def test_a_constant_verdict_earns_half_the_verdict_term_and_no_first_flaw(word):
    """Half: one class is always right, the other always wrong. The other term needs both."""
    assert all((one.verdict, one.first_flaw) == (0.5, 0.0) for one in earned(always(word)))


def test_two_verdicts_at_once_earn_nothing():
    assert all(one.verdict == one.first_flaw == 0 for one in earned(always("sound or flawed")))


def test_comparing_answers_only_loses_clearly_to_reading_the_steps():
    """The perturbed routes keep the right answer, so that it misses about half of the flaws."""
    found = earned(compares_answers_only)
    assert fmean(one.verdict for one in found) < 0.85
    assert fmean(one.first_flaw for one in found) < 0.25
    assert fmean(one.total for one in found) < 2.0 - 0.4
    missed = [
        shown
        for shown in MIXED
        if any(route.correct and not route.is_sound() for route in shown.routes)
    ]
    assert len(missed) > len(MIXED) / 3


@pytest.mark.parametrize("number", [1, 2, 3, 5])
def test_naming_the_same_step_always_earns_as_often_as_it_is_the_flaw(number):
    found = earned(names_step(number))
    assert all(one.verdict == 1.0 for one in found)
    assert fmean(one.first_flaw for one in found) < 0.25


def test_naming_the_last_step_always_earns_as_often_as_it_is_the_flaw():
    assert fmean(one.first_flaw for one in earned(names_last_step)) < 0.3


@pytest.mark.parametrize(
    ("policy", "verdict", "first_flaw"),
    [
        pytest.param(copies_first_right_route, 0.82, 0.75, id="by the first with the right answer"),
        pytest.param(
            finds_the_odd_one_out, 0.75, 0.7, id="by the most alike, without the question"
        ),
        pytest.param(solves_and_finds_the_odd_one_out, 0.89, 0.86, id="both"),
    ],
)
def test_comparing_routes_with_each_other_earns_less_than_reading_them(policy, verdict, first_flaw):
    """The sound routes of scripted sources have the same steps, so that a flawed one stands out.

    The probe shows one route, where there is nothing to compare it with.
    """
    found = earned(policy)
    assert fmean(one.verdict for one in found) < verdict
    assert fmean(one.first_flaw for one in found) < first_flaw


@pytest.mark.parametrize("word", ["sound", "flawed"])
def test_on_sets_of_one_class_no_verdict_is_paid_at_all(word):
    one_class = [shown for shown in SETS if len(set(shown.labels())) == 1]
    assert one_class and all(
        one.total == pytest.approx(0.1) for one in earned(always(word), one_class)
    )


def test_copying_the_majority_earns_the_answer_no_more_often_than_the_majority_is_right():
    found = earned(copies_majority)
    for shown, one in zip(MIXED, found, strict=True):
        assert one.answer == (vote(shown) == gold_of(shown))
    assert fmean(one.verdict for one in found) < 0.75
    assert fmean(one.total for one in found) < 0.7 * 2.0


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
    assert all((one.verdict, one.first_flaw) == (0.5, 0.0) for one in found)


def test_naming_every_step_earns_no_more_than_a_constant_verdict():
    found = earned(names_every_step)
    several = [
        one
        for shown, one in zip(MIXED, found, strict=True)
        if all(len(split_steps(route)) > 1 for route in shown.routes)
    ]
    assert len(several) > 100
    assert all((one.verdict, one.first_flaw) == (0.5, 0.0) for one in several)
