"""`realm forecast`: it prints one paragraph, and a pilot stays in a folder of its own."""

import pytest
import torch
from typer.testing import CliRunner

from realm.cli import app
from realm.core.errors import RunError
from realm.forecast import forecast_run
from tiny import make_tiny
from tiny_rl import GRPO, TRAIN, make_config, make_run

torch.set_num_threads(1)


def list_files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_forecast_prints_a_paragraph_and_writes_nothing(tmp_path):
    make_tiny(tmp_path / "model", "llama")
    run = make_run(tmp_path, make_config(tmp_path))
    before = list_files(tmp_path)
    shown = CliRunner().invoke(
        app, ["forecast", str(tmp_path / "small.yaml"), "--run", str(run.folder)]
    )
    assert shown.exit_code == 0, shown.output
    [line] = [line for line in shown.stdout.splitlines() if "Forecast" in line]
    assert "On 2 training problems, 2 samples each" in line and "12 rollouts" in line
    assert list_files(tmp_path) == before


def test_a_pilot_trains_for_whole_steps_beside_the_run(tmp_path):
    make_tiny(tmp_path / "model", "llama")
    # Without a second round: the pilot is a short training and nothing else.
    config = make_config(tmp_path, rounds=2, train=TRAIN | {"grpo": GRPO | {"max_steps": 9}})
    run = make_run(tmp_path, config)
    found = forecast_run(run, pilot_rollouts=5)
    # A step takes 4 rollouts: two steps.
    assert found.pilot is not None and found.pilot.rollouts == 8 and found.rollouts == 2 * 36
    pilot = run.path("work/forecast/pilot-2")
    assert (pilot / "model/model.safetensors").exists()
    assert not run.path("model").exists() and not run.path("headroom.json").exists()


def test_a_run_without_its_distilled_model_is_told_what_is_missing(tmp_path):
    make_tiny(tmp_path / "model", "llama")
    run = make_run(tmp_path, make_config(tmp_path, recipe="r1"))
    with pytest.raises(RunError, match="`realm train` reads it, and it is not there"):
        forecast_run(run)


def test_a_run_without_a_model_has_nothing_to_forecast(tmp_path):
    run = make_run(tmp_path, make_config(tmp_path, model=None))
    with pytest.raises(RunError, match="a run without a model trains none"):
        forecast_run(run)
