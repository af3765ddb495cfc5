"""`realm tune`: trials within a budget, continued after a kill, and measured on validation only."""

import json
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from realm.cli import app
from realm.config.root import load_config
from realm.core.errors import ConfigError, DataError, ModelError
from realm.core.jsonl import read_problems, write_json, write_jsonl, write_text
from realm.run import Run
from realm.stages import STAGES
from realm.study import tune
from realm.study.tune import list_choices, tune_run
from tiny_compare import write_config as write_tiny_config

SPLITS = ["validation"] * 40 + ["test"] * 20 + ["train"] * 20
ROWS = [
    {"id": str(number), "question": f"{number} + 1?", "answer": number + 1, "split": split}
    for number, split in enumerate(SPLITS)
]
BEST_RATE = 0.004


@pytest.fixture
def config(write_config, tmp_path):
    """Return the path of a config of 80 problems, 40 of them for validation."""
    write_jsonl(tmp_path / "rows.jsonl", ROWS)
    return write_config(
        run=str(tmp_path / "run"),
        domain={
            "kind": "files",
            "path": "rows.jsonl",
            "answer": "number",
            "columns": {"split": "split"},
        },
        routes={"kind": "import", "files": [{"path": "answers.jsonl", "source": "someone"}]},
        distill={"sft": {"learning_rate": 0.002, "max_steps": 100}},
        train={"grpo": {"learning_rate": 1e-4}, "fade": {"start": 0.4, "end": 0.7}},
    )


@pytest.fixture
def ran(monkeypatch, tmp_path):
    """Replace the stages by stand-ins and the clock by one on which a trial takes a minute.

    Return what ran: (stage, learning rate of distillation, learning rate of RL).
    """
    ran = []

    def stand_in(stage):
        def write_outputs(run):
            sft, grpo = run.config.distill.sft, run.config.train.grpo
            ran.append((stage.name, sft.get("learning_rate"), grpo.get("learning_rate")))
            for name in stage.outputs:
                path = run.path(name.rstrip("?/"))
                write_text(path / "file" if "/" in name else path, "x")
            if stage.name == "validate":
                # Three quarters are right with the best rate, else half.
                share = 4 if sft["learning_rate"] == BEST_RATE else 2
                write_json(run.path("validation.json"), [i % share > 0 for i in range(40)])

        return replace(stage, function=write_outputs, check=None)

    for name in ("routes", "distill", "train"):
        monkeypatch.setitem(STAGES, name, stand_in(STAGES[name]))
    monkeypatch.setitem(STAGES, "eval", replace(STAGES["eval"], check=None))
    monkeypatch.setattr(tune, "VALIDATE", stand_in(tune.VALIDATE))
    monkeypatch.setattr(tune, "require_routes", lambda run: None)
    write_jsonl(tmp_path / "answers.jsonl", [])
    clock = iter(range(0, 10**6, 60))
    monkeypatch.setattr(tune, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    return ran


def open_run(config, **settings):
    config = load_config(config).with_settings(settings)
    return Run(config.run_folder(), config)


def test_trials_fill_the_budget_of_all_calls_and_the_first_one_is_the_config(config, ran):
    search = tune_run(open_run(config), minutes=5)
    assert [trial.seconds for trial in search.trials] == [60.0] * 5
    assert search.trials[0].settings == {
        "distill.sft.learning_rate": 0.002,
        "distill.sft.max_steps": 100,
        "train.grpo.learning_rate": 1e-4,
        "train.fade.end": 0.7,
    }
    num_ran = len(ran)
    again = tune_run(open_run(config), minutes=5)
    assert again == search and len(ran) == num_ran, "the budget is spent"
    more = tune_run(open_run(config), minutes=7)
    assert more.trials[:5] == search.trials and len(more.trials) == 7
    different = {json.dumps(trial.settings, sort_keys=True) for trial in more.trials}
    assert len(different) == 7, "no settings are tried twice"


def test_the_first_trial_runs_however_small_the_budget(config, ran):
    assert len(tune_run(open_run(config), minutes=0).trials) == 1


def test_routes_are_made_once_and_trials_share_a_distillation(config, ran):
    search = tune_run(open_run(config), minutes=12)
    counts = Counter(stage for stage, *_ in ran)
    names = ("distill.sft.learning_rate", "distill.sft.max_steps")
    distilled = {tuple(trial.settings[name] for name in names) for trial in search.trials}
    assert counts == {"routes": 1, "distill": len(distilled), "train": 12, "validate": 12}
    assert len(distilled) < 12


def test_the_search_finds_what_is_better_and_keeps_no_trained_model(config, ran, tmp_path):
    search = tune_run(open_run(config), minutes=20)
    assert search.best.settings["distill.sft.learning_rate"] == BEST_RATE
    assert search.gain.difference == pytest.approx(0.25)
    kept = json.loads((tmp_path / "run/tune/tune.json").read_text())
    assert len(kept["trials"]) == 20 and kept["trials"][kept["best"] - 1]["accuracy"] == 0.75
    assert not list((tmp_path / "run/tune").glob("trial_*/model"))
    assert (tmp_path / "run/tune/study.db").exists() and not (tmp_path / "run/model").exists()


@pytest.mark.parametrize("number", [1, 3])
def test_a_trial_that_was_killed_is_the_next_one(config, ran, monkeypatch, number):
    trained = STAGES["train"].function

    def kill(run):
        if sum(stage == "train" for stage, *_ in ran) == number - 1:
            ran.append(("killed", None, run.config.train.grpo["learning_rate"]))
            raise KeyboardInterrupt
        trained(run)

    with monkeypatch.context() as patch:
        patch.setitem(STAGES, "train", replace(STAGES["train"], function=kill))
        with pytest.raises(KeyboardInterrupt):
            tune_run(open_run(config), minutes=5)
    killed, num_distilled = ran[-1], sum(stage == "distill" for stage, *_ in ran)
    search = tune_run(open_run(config), minutes=number)
    assert len(search.trials) == number
    assert search.trials[-1].settings["train.grpo.learning_rate"] == killed[-1]
    assert sum(stage == "distill" for stage, *_ in ran) == num_distilled, "its start is kept"


def test_other_settings_or_problems_begin_another_search(config, ran):
    tune_run(open_run(config), minutes=2)
    assert len(tune_run(open_run(config, seed=8), minutes=0).trials) == 1
    assert len(tune_run(open_run(config), minutes=0).trials) == 2


def test_settings_that_diverge_count_as_right_on_nothing_unless_the_config_does(
    config, ran, monkeypatch
):
    def diverge(run):
        if run.config.train.grpo["learning_rate"] != 1e-4:
            raise ModelError("the gradient is nan")
        trained(run)

    trained = STAGES["train"].function
    monkeypatch.setitem(STAGES, "train", replace(STAGES["train"], function=diverge))
    search = tune_run(open_run(config), minutes=8)
    diverged = [trial for trial in search.trials if trial.error]
    assert diverged and {trial.accuracy for trial in diverged} == {0.0}
    assert not search.best.error
    with pytest.raises(ModelError):
        tune_run(open_run(config, **{"train.grpo.learning_rate": 2e-4}), minutes=8)


def test_only_validation_problems_are_asked(config, monkeypatch):
    run, asked = open_run(config), []
    run.data()

    def answer(run, policy, prompts, path, *, mode):
        asked.extend(prompt.problem for prompt in prompts)
        right = [True, None, *[False] * (len(prompts) - 2)]
        return [[SimpleNamespace(judged=SimpleNamespace(correct=one))] for one in right]

    monkeypatch.setattr(tune, "sample_and_judge", answer)
    tune.run_validate(run)
    problems = read_problems(run.path("problems.jsonl"))
    assert asked == [one for one in problems if one.split == "validation"] and len(asked) == 40
    right = json.loads(run.path("validation.json").read_text())
    assert right == [True] + [False] * (len(asked) - 1), "undecided is not right"


def test_without_validation_problems_nothing_is_trained(config, ran, tmp_path):
    write_jsonl(tmp_path / "rows.jsonl", ROWS[40:])
    with pytest.raises(DataError, match="the split validation is empty"):
        tune_run(open_run(config), minutes=5)
    assert [stage for stage, *_ in ran] == ["routes"]


def test_without_optuna_the_line_that_installs_it_comes_first(config, ran, monkeypatch, tmp_path):
    monkeypatch.setattr("realm.core.errors.find_spec", lambda name: None)
    result = CliRunner().invoke(app, ["tune", str(config)])
    assert result.exit_code == 2
    assert 'pip install "realm-slm[tune]"' in result.output
    assert not (tmp_path / "run").exists() and ran == []


def test_what_is_not_trained_is_not_searched(config):
    zero = list_choices(open_run(config, recipe="zero", **{"train.fade.kind": "constant"}))
    assert list(zero) == ["train.grpo.learning_rate"]
    assert zero["train.grpo.learning_rate"].values == (2.5e-5, 5e-5, 1e-4, 2e-4, 4e-4)
    found = list_choices(open_run(config))
    assert found["train.fade.end"].values == (0.5, 0.65, 0.7, 0.8, 0.95), "only after the start"
    epochs = list_choices(open_run(config, **{"distill.sft": {"num_train_epochs": 2}}))
    assert epochs["distill.sft.num_train_epochs"].values == (1, 2, 4)
    with pytest.raises(ConfigError, match="model: there is none"):
        list_choices(open_run(config, model=None))


def test_the_verb_says_what_is_better_and_how_to_run_it(config, ran):
    result = CliRunner().invoke(app, ["tune", str(config), "--minutes", "20"])
    assert result.exit_code == 0, result.output
    assert "[trial 1] the config as it is: 50.0%" in result.output
    assert "20 trials took 20.0 min." in result.output
    assert "distill.sft.learning_rate: 0.002 -> 0.004" in result.output
    assert f"realm run {config} --set distill.sft.learning_rate=0.004" in result.output
    planned = CliRunner().invoke(app, ["tune", str(config), "--dry-run"])
    assert "train.fade.end: 0.5, 0.65, 0.7, 0.8, 0.95 (the config: 0.7)" in planned.output


def test_the_verb_says_that_nothing_is_better(config, ran):
    one = CliRunner().invoke(app, ["tune", str(config), "--minutes", "1"])
    assert "No trial was better than the config as it is. Keep it." in one.output


@pytest.mark.slow
def test_a_trial_trains_a_real_model_and_finds_it_again(tmp_path):
    path = write_tiny_config(tmp_path)
    search = tune_run(open_run(path), minutes=0)
    (trial,) = search.trials
    assert len(trial.right) == 2 and trial.seconds > 0 and not trial.error
    folder = tmp_path / "run/tune"
    assert len(list(folder.glob("distilled_*/distilled/model.safetensors"))) == 1
    assert len(list(folder.glob("trial_*/fade.jsonl"))) == 1
