"""How the modes pick an answer, and what they measure."""

from types import SimpleNamespace

import pytest

from realm.core.jsonl import write_jsonl
from realm.core.records import Judged, Problem, Route, RouteSet
from realm.evaluate import modes
from realm.evaluate.eval_set import EvalSet
from realm.evaluate.measure import cut_to_budget, measure_mode
from realm.evaluate.modes import TASK_OF_MODE
from realm.sampling import Answer, EvalPrompt
from realm.verify.verifier import Verifier

RUN = SimpleNamespace(
    config=SimpleNamespace(seed=7, prompt=SimpleNamespace(think_end=None)),
    domain=SimpleNamespace(verifier=Verifier("label")),
)
PROBLEM = Problem(id="p", split="test", question="?", answer="pay 8")


def answer(said, tokens=5, verdicts=()):
    judged = Judged(
        text=f"<answer>{said}</answer>",
        answer=said,
        correct=said == "pay 8",
        verdicts=verdicts,
        num_tokens=tokens,
    )
    one = {"split": "test", "problem_id": "p", "prompt": "?", "prompt_tokens": 10}
    return Answer(judged=judged, **one)


def prompt(routes=(), **more):
    shown = tuple(
        Route(problem_id="p", source="s", text="t", answer=said, correct=said == "pay 8")
        for said in routes
    )
    routes = RouteSet(problem_id="p", routes=shown)
    return EvalPrompt(problem=PROBLEM, text="?", routes=routes, **more)


def measure(mode, group, **more):
    pick = TASK_OF_MODE[mode].modes[mode]
    return measure_mode(mode, RUN, [prompt(**more)], [group], pick)


def share_right(measurement):
    [share] = measurement.outcomes.values()
    return share


def test_self_consistency_takes_the_answer_of_most_samples_and_the_silent_do_not_vote():
    group = [answer(said) for said in (None, "pay 8", "pay 7", "pay 8", None, None)]
    found = measure("self_consistency", group)
    assert share_right(found) == 1.0 and found.figures["curve"] == [0, 1, 1, 1, 1, 1]
    assert (found.tokens_per_problem, found.prompt_tokens_per_problem) == (30, 60)
    assert share_right(measure("self_consistency", [answer(None)] * 3)) == 0.0


def test_votes_at_equal_tokens_have_no_curve_since_each_problem_has_its_own_number_of_them():
    pick = TASK_OF_MODE["self_consistency"].modes["self_consistency"]
    groups = [[answer("pay 7"), answer("pay 8")]]
    assert "curve" not in measure_mode("votes_at_assisted", RUN, [prompt()], groups, pick).figures


def test_samples_count_by_their_mean_and_cost_what_one_costs():
    found = measure("sampled", [answer("pay 8", 4), answer("pay 7", 8)])
    assert share_right(found) == 0.5 and found.figures["samples"] == 2
    assert (found.tokens_per_problem, found.prompt_tokens_per_problem) == (6, 10)


@pytest.mark.parametrize(
    ("mode", "reply", "right"),
    [
        pytest.param("best_of_routes", answer("pay 1", verdicts=(False, True)), 1.0, id="soundest"),
        pytest.param("best_of_n", answer("pay 8", verdicts=(True, False)), 0.0, id="a wrong one"),
        pytest.param("universal", answer("2"), 1.0, id="picked by its number"),
        pytest.param("universal_routes", answer("neither"), 0.0, id="no pick is the first"),
    ],
)
def test_candidates_are_picked_and_their_own_tokens_are_counted(mode, reply, right):
    routes = {"routes": ("pay 7", "pay 8"), "num_tokens": 100, "prompt_tokens": 1000}
    found = measure(mode, [reply], **routes)
    assert share_right(found) == right
    assert (found.tokens_per_problem, found.prompt_tokens_per_problem) == (105, 1010)


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        pytest.param(0, 1, id="at least one vote"),
        pytest.param(14, 1, id="the second would end farther from it"),
        pytest.param(16, 2, id="nearest from below"),
        pytest.param(25, 2, id="as near on both sides: fewer"),
        pytest.param(27, 3, id="nearest from above"),
        pytest.param(99, 3, id="there are no more"),
    ],
)
def test_votes_are_cut_where_their_tokens_come_nearest_to_the_budget(budget, expected):
    group = [answer("pay 8", 10), answer("pay 7", 10), answer("pay 6", 10)]
    assert cut_to_budget(group, budget) == group[:expected]


def test_votes_cost_what_the_other_task_cost_on_the_same_problem(tmp_path, monkeypatch):
    monkeypatch.setattr(modes, "make_prompt", lambda problem, config: prompt())
    run = SimpleNamespace(**vars(RUN), path=lambda name: tmp_path / name)
    own = [answer("pay 7", 10), answer("pay 8", 10)]
    further = [answer("pay 8", 10), answer("pay 8", 10), answer("pay 8", 10)]
    for name, answers in {
        "samples": own,
        "assisted": [answer("pay 1", 22)],
        "self_routes": [answer("pay 1", 11)],
    }.items():
        write_jsonl(tmp_path / f"answers/{name}.jsonl", [one.to_row() for one in answers])
    task, eval_set = modes.TASKS["votes"], EvalSet(splits={"test": [PROBLEM]}, shown={}, routes={})
    found = {one.mode: one for one in modes._measure_at_equal_tokens(task, run, eval_set, further)}
    # 22 tokens are two votes, a tie that the first wins; 20 + 11 tokens are three.
    assert share_right(found["votes_at_assisted"]) == 0.0
    assert share_right(found["votes_at_self_routes"]) == 1.0
    costs = {mode: one.tokens_per_problem for mode, one in found.items()}
    assert costs == {"votes_at_assisted": 20, "votes_at_self_routes": 30}
    assert {one.split for one in found.values()} == {"test"}
