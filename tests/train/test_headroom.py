"""What is measured before reinforcement learning: samples, losses, chains to imitate."""

from dataclasses import replace

import pytest
import torch

from realm.core.jsonl import read_json, write_jsonl
from realm.core.records import Judged, Problem, Route
from realm.policy import Policy
from realm.train import headroom
from realm.train.rl import select_rl_problems
from realm.verify.verifier import Verifier
from tiny import make_tiny
from tiny_rl import PROBLEMS, ROUTES, SOURCES, make_config, make_run

torch.set_num_threads(1)

HELD_OUT = [
    Problem(id=f"v{i}", split="validation", question=f"Bob pays {i} of 7. Left?", answer=str(7 - i))
    for i in range(3)
]
CHAINS = [
    Route(
        problem_id=f"v{i}",
        source="outsider",
        text=f"7 - {i} = {7 - i}.",
        answer=str(7 - i),
        correct=True,
        process=i > 0,  # the first reaches its answer by a wrong step
    )
    for i in range(3)
]


def samples(*answers):
    correct = {None: False, "1": True, "?": None}
    return [
        Judged(text="", answer=answer, correct=correct.get(answer, False)) for answer in answers
    ]


def summarize_groups(*groups):
    return headroom.summarize_groups(groups, ["1"] * len(groups), Verifier("label"))


def test_only_groups_that_are_neither_all_right_nor_all_wrong_are_mixed():
    found = summarize_groups(
        samples("1", "1", "2", None),
        samples("1", "1", "1", "1"),
        samples("2", "2", "1", "3"),
        samples(None, None, None, None),
    )
    assert (found.mean_at_1, found.majority_at_n, found.pass_at_n, found.mixed_share) == (
        7 / 16,
        0.5,
        0.75,
        0.5,
    )
    # Half of the first group is right, a quarter of the third: 1/4 and 3/16 over four groups.
    assert found.advantage_variance == pytest.approx((1 / 4 + 0 + 3 / 16 + 0) / 4)
    assert found.undecided == 0


def test_undecided_samples_are_left_out_and_counted():
    found = summarize_groups(samples("1", "?", "2", "?"), samples("?", "?", "?", "?"))
    assert (found.mean_at_1, found.pass_at_n, found.mixed_share) == (0.5, 0.5, 0.5)
    assert found.undecided == 6


def make_forecast(folder, *, problems=PROBLEMS, routes=ROUTES, taught=None, **sections):
    make_tiny(folder / "model", "llama")
    run = make_run(folder, make_config(folder, **sections))
    write_jsonl(run.path("problems.jsonl"), problems)
    write_jsonl(run.path("routes.jsonl"), routes)
    if taught is not None:
        write_jsonl(run.path("sft.jsonl"), taught)
    policy = Policy(folder / "model")
    chosen = select_rl_problems(run)
    return headroom.make_forecast(policy, chosen, run, rollouts=12, new_tokens=6)


def test_validation_problems_are_sampled_and_without_any_those_of_training(tmp_path):
    found = make_forecast(tmp_path / "a", problems=[*PROBLEMS, *HELD_OUT])
    assert (found.measured_on, found.headroom.problems, found.headroom.samples) == (
        "validation",
        2,
        2,
    )
    assert make_forecast(tmp_path / "b").measured_on == "train"


def test_a_problem_has_a_chain_if_a_source_of_training_reached_its_answer(tmp_path):
    # "hasty" is right for all six problems; the held-out source does not count.
    routes = [route for route in ROUTES if route.source != "hasty" or route.problem_id in ("p0",)]
    routes += [replace(route, source="outsider", correct=True) for route in ROUTES[:9]]
    found = make_forecast(tmp_path, routes=routes)
    assert found.no_chain_share == pytest.approx(5 / 6)
    assert (found.untaught, found.taught_loss, found.held_out_loss) == (1, None, None)
    assert found.rollouts == 12


def test_chains_that_the_policy_wrote_in_an_earlier_round_do_not_count(tmp_path):
    own = [replace(route, source="self", guided=True) for route in ROUTES if route.correct]
    found = make_forecast(tmp_path, routes=own, distill={"every_round": True})
    assert (found.no_chain_share, found.untaught, found.has_harvest) == (1.0, 0, True)


def test_only_problems_of_reinforcement_learning_count_as_without_a_chain(tmp_path):
    routes = [route for route in ROUTES if route.problem_id in ("p0", "p1")]
    train = {"skip": 1, "problems": 2, "headroom": {"problems": 2, "samples": 2}}
    found = make_forecast(tmp_path, routes=routes, train=train)
    assert (found.no_chain_share, found.untaught) == (0.5, 2)


def test_the_forecast_knows_whether_training_teaches_what_routes_hold(tmp_path):
    assert not make_forecast(tmp_path).has_transfer
    train = {"fade": {"kind": "linear", "mode": "chance", "transfer": 4.0}}
    assert make_forecast(tmp_path, train=train).has_transfer


def test_losses_are_those_of_taught_rows_and_of_sound_validation_chains(tmp_path, monkeypatch):
    measured = []

    def record(policy, rows, run):
        measured.append([(row["problem_id"], row["completion"]) for row in rows])
        return float(len(rows))

    monkeypatch.setattr(headroom, "_measure_loss", record)
    question = PROBLEMS[0].question
    prompt = make_config(tmp_path).prompt.autonomous.replace("{question}", question)
    taught = [
        {"problem_id": "p0", "prompt": prompt, "completion": "taught"},
        {"problem_id": "p0", "prompt": f"{prompt} <route 1>", "completion": "with routes"},
        {"problem_id": "p1", "prompt": "a prompt of self-distillation"},
    ]
    found = make_forecast(
        tmp_path,
        problems=[*PROBLEMS, *HELD_OUT],
        routes=[*ROUTES, *CHAINS],
        taught=taught,
        recipe="r1",
    )
    assert measured[0] == [("p0", "taught")]
    assert [name for name, _ in measured[1]] == ["v1", "v2"]
    assert measured[1][0][1] == "<reason>\n7 - 1 = 6.\n</reason>\n<answer>6</answer>"
    assert (found.taught_loss, found.held_out_loss) == (1.0, 2.0)
    assert found.untaught == 4  # six have a right chain; rows of p0 and p1 were taught


def test_with_routes_problems_are_asked_as_in_evaluation(tmp_path, monkeypatch):
    asked = []

    def sample(_, prompts, __, *, new_tokens, num_samples):
        asked.append((prompts, num_samples))
        # Of two samples one is right; an undecided one does not count.
        return [samples("1", "2") for _ in prompts[1:]] + [samples("1", "?")]

    monkeypatch.setattr(headroom, "_sample_prompts", sample)
    config = make_config(tmp_path)
    run = make_run(tmp_path, config)

    def measure(problems, routes=(), **settings):
        run.config = config.with_settings(settings)
        return headroom.measure_with_routes(None, problems, routes, run, new_tokens=6)

    bank = [*ROUTES, *(replace(chain, source=source) for chain in CHAINS for source in SOURCES)]
    assert measure(HELD_OUT, bank) == pytest.approx(3 / 5)
    [(prompts, num_samples)] = asked
    shown = [[route.source for route in prompt.routes.routes] for prompt in prompts]
    assert shown == [["outsider"]] * 3 and num_samples == 2, "held-out sources only"
    assert all(prompt.routes.routes[0].text in prompt.text for prompt in prompts)
    measure(PROBLEMS[:1], ROUTES)
    assert len(asked[-1][0][0].routes.routes) == 3, "a training problem shows every source"
    measure(PROBLEMS[:1], ROUTES, **{"train.fade.routes": 2})
    assert len(asked[-1][0][0].routes.routes) == 2
    asked.clear()
    assert measure(HELD_OUT) is None
    assert measure(HELD_OUT, bank, **{"train.fade.kind": "none"}) is None
    assert not asked


def test_a_likelier_completion_has_a_lower_loss(tmp_path):
    make_tiny(tmp_path / "model", "llama")
    run = make_run(tmp_path, make_config(tmp_path))
    policy = Policy(tmp_path / "model")
    [said] = policy.generate([policy.render("What?")], max_new_tokens=8, batch_tokens=512, seed=1)
    losses = [
        headroom._measure_loss(policy, [{"prompt": "What?", "completion": text}], run)
        for text in (said.text, "zq#" * 3)
    ]
    assert 0 < losses[0] < losses[1]
    assert headroom._measure_loss(policy, [], run) is None


def test_a_resumed_run_keeps_its_forecast(tmp_path, caplog):
    caplog.set_level("INFO", logger="realm")
    make_tiny(tmp_path / "model", "llama")
    run = make_run(tmp_path, make_config(tmp_path))
    policy, problems = Policy(tmp_path / "model"), select_rl_problems(run)
    for _ in range(2):
        headroom.report_forecast(policy, problems, run, rollouts=12, new_tokens=6)
    assert caplog.text.count("Forecast: reinforcement learning is unlikely to pay.") == 1
    found = read_json(run.path("headroom.json"))
    assert found["problems"] == 2 and found["outlook"] == "unlikely to pay"
