import itertools
from types import SimpleNamespace

import pytest

from realm.core.records import Judged, Route
from realm.method.rewards import (
    RewardWeights,
    balance_verdicts,
    score_answer,
    score_first_flaws,
    weigh_terms,
)
from realm.verify.judge import judge
from realm.verify.verifier import Verifier

TERMS = weigh_terms(RewardWeights(answer=1.0, verdict=0.5, format=0.1, first_flaw=0.0))
VERIFIER = Verifier("number")
MIXED = (True, True, True, False)
GOLD = "7"


def graded(completion, labels):
    routes = [
        Route(problem_id="p", source="s", text="3 + 4", answer=GOLD, correct=label)
        for label in labels
    ]
    judged = judge(completion, gold=GOLD, verifier=VERIFIER, routes=routes)
    terms = {name: function(judged) for name, (_, function) in TERMS.items()}
    total = sum(weight * (terms[name] or 0.0) for name, (weight, _) in TERMS.items())
    return SimpleNamespace(**terms, total=total)


def completion(verdicts, answer=GOLD, chain="3 + 4 = 7"):
    lines = "\n".join(f"Route {i}: checked, {verdict}" for i, verdict in enumerate(verdicts, 1))
    return f"<verify>\n{lines}\n</verify>\n<reason>\n{chain}\n</reason>\n<answer>{answer}</answer>"


def test_a_perfect_completion_earns_every_term():
    found = graded(completion(["sound", "sound", "sound", "flawed"]), MIXED)
    assert (found.answer, found.verdict, found.format, found.total) == (
        1.0,
        1.0,
        1.0,
        pytest.approx(1.6),
    )


def test_an_autonomous_completion_has_no_verdict_to_earn():
    found = graded("<reason>3 + 4 = 7</reason><answer>7</answer>", ())
    assert found.verdict is None and found.total == pytest.approx(1.1)


@pytest.mark.parametrize("word", ["sound", "flawed"])
@pytest.mark.parametrize(
    "labels",
    [labels for labels in itertools.product([True, False], repeat=4) if len(set(labels)) == 2],
)
def test_a_constant_verdict_earns_exactly_half_on_every_mixed_set(word, labels):
    assert graded(completion([word] * 4), labels).verdict == 0.5


@pytest.mark.parametrize("labels", [(True,) * 4, (False,) * 4, (True,), (False,), ()])
def test_sets_of_one_class_pay_no_verdict_reward(labels):
    assert graded(completion(["sound"] * len(labels)), labels).verdict is None


def test_verdicts_that_are_not_said_are_not_accurate():
    assert balance_verdicts([None] * 4, MIXED) == 0.0
    assert balance_verdicts([True, None, None, False], MIXED) == pytest.approx((1 / 3 + 1) / 2)


ADVERSARIES = [
    pytest.param("", 0.0, id="empty"),
    pytest.param("7", 1.0, id="bare answer earns the answer alone"),
    pytest.param(
        completion(["sound"] * 4, answer="8"), 0.5 * 0.5 + 0.1, id="always sound, wrong answer"
    ),
    pytest.param(
        completion(["flawed"] * 4, answer="8"), 0.5 * 0.5 + 0.1, id="always flawed, wrong answer"
    ),
    pytest.param(
        completion(["sound or flawed"] * 4, answer="8"),
        0.5 * 0.5 + 0.1,
        id="both words: the last one counts, like always flawed",
    ),
    pytest.param(
        "<verify>" + completion(["sound"] * 4)[8:].replace("</verify>", ""),
        0.25,
        id="everything inside an unclosed verification",
    ),
    pytest.param(
        "<verify>\n<answer>7</answer>\n</verify>\n<reason>x</reason>",
        0.0,
        id="answer inside the verification",
    ),
    pytest.param(
        "<verify>\n<answer>7</answer>\n</verify>\n<reason>x</reason><answer>8</answer>",
        0.0,
        id="right inside, wrong outside",
    ),
    pytest.param(
        completion(["sound"] * 4) * 3,
        1.25,
        id="blocks three times: nothing is paid twice, no format",
    ),
    pytest.param(
        "<answer>8</answer><answer>7</answer>",
        1.0,
        id="several answers: the last counts, no format",
    ),
    pytest.param(
        "<answer>7</answer><answer>8</answer>", 0.0, id="the right one first does not help"
    ),
    pytest.param(
        '<verify>\n<route 1>\nRoute 4: flawed\n</route>\nRoute 1: "Route 4: flawed"\n</verify>\n'
        "<reason>x</reason>"
        "<answer>8</answer>",
        0.5 * 0.5 + 0.1,
        id="imitated fence: one verdict read, never more than its due",
    ),
    pytest.param(
        "Route 1: sound\nRoute 4: flawed\n<answer>8</answer>",
        0.0,
        id="verdicts outside the verification",
    ),
    pytest.param(
        "<verify>Route 9: flawed</verify><reason>x</reason><answer>8</answer>",
        0.1,
        id="invented route",
    ),
    pytest.param("<verify>" * 50 + "Route 4: flawed", 0.25, id="unclosed and repeated opening"),
    pytest.param("<verify></verify><reason></reason><answer></answer>", 0.0, id="empty blocks"),
]


@pytest.mark.parametrize(("text", "most"), ADVERSARIES)
def test_adversarial_completions_earn_no_more_than_their_due(text, most):
    found = graded(text, MIXED)
    assert found.total <= most + 1e-9
    assert all(
        term is None or 0 <= term <= 1 for term in (found.answer, found.verdict, found.format)
    )


def test_copying_the_majority_earns_the_answer_only_where_the_majority_is_right():
    wrong_majority = (False, False, False, True)
    copied = completion(["sound", "sound", "sound", "flawed"], answer="8")
    assert graded(copied, wrong_majority).total == pytest.approx(0.1)
    assert graded(copied.replace("8", "7"), MIXED).total == pytest.approx(1.6)


def test_every_reward_stays_between_nothing_and_the_sum_of_the_weights():
    words = ["sound", "flawed", ""]
    for verdicts in itertools.product(words, repeat=3):
        for labels in itertools.product([True, False], repeat=3):
            assert 0 <= graded(completion(verdicts), labels).total <= 1.6 + 1e-9


def test_each_term_has_its_own_weight():
    weights = RewardWeights(answer=1.5, verdict=0.25, format=0.125, first_flaw=0.75)
    assert {name: weight for name, (weight, _) in weigh_terms(weights).items()} == {
        "answer": 1.5,
        "verdict": 0.25,
        "format": 0.125,
        "first_flaw": 0.75,
    }


@pytest.mark.parametrize(("correct", "expected"), [(True, 1.0), (False, 0.0), (None, None)])
def test_a_right_answer_earns_one_a_wrong_one_nothing_and_an_undecided_one_is_not_scored(
    correct, expected
):
    assert score_answer(Judged(text="", correct=correct)) == expected


def score(verdicts, named, labels=(True, False), flaws=(None, 2)):
    judged = Judged(
        text="", correct=False, verdicts=verdicts, named=named, labels=labels, flaws=flaws
    )
    return score_first_flaws(judged)


@pytest.mark.parametrize(
    ("verdicts", "named", "expected"),
    [
        pytest.param((True, False), (None, 2), 1.0, id="both right"),
        pytest.param((True, False), (None, 1), 0.0, id="another step"),
        pytest.param((True, False), (None, None), 0.0, id="no step"),
        pytest.param((False, False), (2, 2), 0.0, id="the same step of every route"),
        pytest.param((True, True), (None, 2), 0.0, id="named and called sound"),
        pytest.param((None, None), (None, None), 0.0, id="nothing said"),
    ],
)
def test_the_first_flaw_is_paid_for_the_exact_step_and_for_leaving_sound_routes_alone(
    verdicts, named, expected
):
    assert score(verdicts, named) == expected


def test_without_both_classes_or_a_known_flaw_no_first_flaw_is_paid():
    assert score((False,), (2,), (False,), (2,)) is None
    assert score((True,), (None,), (True,), (None,)) is None
    assert score((True, False), (None, 2), flaws=(None, None)) is None
    assert score_first_flaws(Judged(text="", correct=True)) is None


@pytest.mark.parametrize("step", [1, 2, 3])
def test_naming_one_step_always_earns_as_often_as_it_is_the_flaw(step):
    flaws = (1, 2, 3, 3)
    found = [score((True, False), (None, step), flaws=(None, flaw)) for flaw in flaws]
    assert sum(found) / len(found) == flaws.count(step) / len(flaws)


def test_every_sound_route_and_every_flaw_counts():
    labels, flaws = (True, True, False, False), (None, None, 2, 3)
    assert score((True, False, False, False), (None, 1, 2, 3), labels, flaws) == 0.5
    assert score((True, True, False, False), (None, None, 2, 1), labels, flaws) == 0.5
    assert score((True, False, False, True), (None, 1, 2, None), labels, flaws) == 0.25
