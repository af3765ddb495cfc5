"""`realm doctor --speed`: the tokens that stages take, and the times that follow from the speed."""

import pytest
from typer.testing import CliRunner

from realm.cli import app
from realm.config import load_config
from realm.core.errors import ModelError
from realm.core.records import Problem
from realm.doctor import speed
from realm.doctor.speed import Speed, count_completions, count_rl_tokens, count_row, count_sft_rows
from realm.run import Run
from realm.train.arguments import make_grpo_arguments, make_sft_arguments


def test_rows_of_distillation_are_those_of_its_steps_or_of_its_epochs(config, tmp_path):
    of_steps = load_config(
        config,
        [
            "distill.sft.max_steps=5",
            "distill.sft.per_device_train_batch_size=2",
            "distill.sft.gradient_accumulation_steps=3",
        ],
    )
    assert count_sft_rows(of_steps, make_sft_arguments(of_steps, tmp_path), num_problems=24) == 30
    of_epochs = load_config(
        config,
        [
            "distill.sft.max_steps=-1",
            "distill.sft.num_train_epochs=2",
            "distill.problems=10",
            "distill.assisted_share=0.2",
        ],
    )
    arguments = make_sft_arguments(of_epochs, tmp_path)
    assert count_sft_rows(of_epochs, arguments, num_problems=24) == pytest.approx(25)


def test_half_the_rows_of_distillation_show_two_routes_of_three(config):
    settings = load_config(config, ["distill.assisted_share=0.5", "train.fade.routes=3"])
    # Assisted rows show three routes or one to three: two and a half on average.
    assert count_row(settings, 100, 10) == 100 + 10 + 0.5 * 2.5 * 10


def test_tokens_of_reinforcement_learning_by_hand(config, tmp_path):
    settings = load_config(
        config,
        [
            "train.grpo.max_steps=6",
            "train.grpo.num_generations=4",
            "train.grpo.per_device_train_batch_size=8",
            "train.grpo.gradient_accumulation_steps=1",
            "train.fade={kind: constant, routes: 2, dropout: 0.5}",
        ],
    )
    arguments = make_grpo_arguments(settings, tmp_path, num_problems=24)
    # 6 steps of 8 rollouts for 2 prompts; a prompt shows one route on average.
    trained, generated = count_rl_tokens(settings, arguments, 100, 10)
    assert generated == 480
    assert trained == pytest.approx(480 + 12 * (100 + 10))


def test_completions_of_the_evaluation_by_hand(config, tmp_path):
    settings = load_config(
        config, ["evaluate.samples=3", "evaluate.probe=2", "evaluate.limit={test: 10}"]
    )
    run = Run(tmp_path / "run", settings)
    problems = [
        Problem(id=str(number), question="?", answer="1", split=split)
        for number, split in enumerate(["train"] * 5 + ["test"] * 20 + ["test_rules"] * 4)
    ]
    # Three models, two modes; three samples of the one; five kinds of two routes.
    assert count_completions(run, problems) == 14 * 3 * 2 + 14 * 3 + 5 * 2 * 3
    alone = load_config(
        config,
        [
            "evaluate.samples=0",
            "evaluate.probe=0",
            "recipe=zero",
            "routes={kind: none}",
            "train.fade.kind=none",
        ],
    )
    assert count_completions(Run(tmp_path / "other", alone), problems) == 24 * 2


def test_the_times_follow_from_the_tokens_and_the_measured_speed(config, tmp_path, monkeypatch):
    run = Run(tmp_path / "run", load_config(config, []))
    found = []
    monkeypatch.setattr(
        speed,
        "measure_speed",
        lambda *_, length: found.append(length) or Speed(trained=50.0, generated=10.0),
    )
    times = speed.estimate_stages(run)
    assert list(times) == ["distill", "train", "eval"]
    for least, most in times.values():
        assert 0 < least < most <= least * 4
    least, most = times["eval"]
    assert most == pytest.approx(4 * least)
    monkeypatch.setattr(speed, "measure_speed", lambda *_, length: Speed(trained=25, generated=5))
    assert speed.estimate_stages(run)["train"] == pytest.approx([2 * n for n in times["train"]])
    # One token per byte: "0 + 1?" and the longer ones, in the default prompt.
    assert len(found) == 1 and found[0] > speed.NUM_TOKENS + len("0 + 1?")


def test_every_round_trains_and_is_evaluated(config, tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "measure_speed", lambda *_, **__: Speed(trained=50, generated=10))
    one = speed.estimate_stages(Run(tmp_path / "run", load_config(config, [])))
    three = speed.estimate_stages(Run(tmp_path / "run", load_config(config, ["rounds=3"])))
    assert three["distill"] == one["distill"]
    assert three["train"] == pytest.approx([3 * seconds for seconds in one["train"]])
    assert three["eval"][1] > one["eval"][1]


def test_an_error_while_the_speed_is_measured_is_a_problem(config, monkeypatch):
    def fail(run):
        raise ModelError("12 weights of the model are not in the checkpoint")

    monkeypatch.setattr(speed, "estimate_stages", fail)
    done = CliRunner().invoke(app, ["doctor", str(config), "--speed"])
    assert done.exit_code == 2 and "PROBLEM  time         12 weights" in done.output, done.output


def test_the_option_measures_the_model_and_prints_times(config, tmp_path):
    before = sorted(tmp_path.iterdir())
    printed = CliRunner().invoke(app, ["doctor", str(config), "--speed"]).output
    assert "time: train" in printed and "time: in all" in printed, printed
    assert "longest allowed length" in printed
    assert sorted(tmp_path.iterdir()) == before
    assert "time:" not in CliRunner().invoke(app, ["doctor", str(config)]).output
