"""`realm watch`: what it reads while a run writes, and what it shows."""

import pytest
from rich.console import Console
from typer.testing import CliRunner

from realm.cli import app
from realm.core.errors import RunError
from realm.core.jsonl import write_json, write_jsonl
from realm.watch import Snapshot, draw_curve, find_minutes_left, render, take_snapshot


def make_row(step, **figures):
    return {"step": step, "progress": step / 10, "share": 1 - step / 10, "reward": step, **figures}


@pytest.fixture
def folder(tmp_path):
    """A run folder in the middle of a training; the last lines are torn."""
    (tmp_path / "work/train").mkdir(parents=True)
    write_json(tmp_path / "work/train/key.json", {})
    write_jsonl(tmp_path / "fade.jsonl", [make_row(step, entropy=None) for step in range(1, 6)])
    samples = [
        {"step": step, "problem_id": "p1", "completion": f"text\x1b[2J {step}", "reward": 0.5}
        for step in range(1, 6)
    ]
    write_jsonl(tmp_path / "rollouts/samples.jsonl", samples)
    for name in ("fade.jsonl", "rollouts/samples.jsonl"):
        with (tmp_path / name).open("a") as file:
            file.write('{"step": 6, "prog')
    return tmp_path


def show(snapshot, minutes=None):
    console = Console(width=200, highlight=False)
    with console.capture() as capture:
        console.print(render(snapshot, minutes))
    return capture.get()


def test_a_training_at_work_shows_step_curves_and_the_last_completions(folder):
    snapshot = take_snapshot(folder)
    assert (snapshot.running, snapshot.progress, len(snapshot.rows)) == ("train", 0.5, 5)
    shown = show(snapshot, 3.2)
    assert "running: train" in shown and "step 5, 50% of the training, about 3 min left" in shown
    assert "reward                ▁▃▅▆█  1 to 5, now 5" in shown
    assert "entropy" not in shown
    assert shown.count("problem p1, reward 0.5") == 2 and "text\\x1b[2J 5" in shown


def test_only_the_end_of_a_long_file_of_completions_is_read(folder):
    row = {"step": 7, "problem_id": "p", "completion": "x" * 40_000, "reward": 1.0}
    write_jsonl(folder / "rollouts/samples.jsonl", [row | {"step": step} for step in range(9)])
    assert [one["step"] for one in take_snapshot(folder).samples] == [8]


def test_a_distillation_shows_the_loss_of_its_newest_checkpoint(folder):
    (folder / "work/train/key.json").unlink()
    for step, loss in ((2, 9.0), (4, 1.5)):
        state = {"max_steps": 8, "log_history": [{"step": step, "loss": loss}, {"step": step}]}
        write_json(folder / f"work/distill/checkpoint-{step}/trainer_state.json", state)
    write_json(folder / "work/distill/key.json", {})
    (folder / "work/distill/checkpoint-9").mkdir()
    (folder / "work/distill/checkpoint-9/trainer_state.json").write_text("{torn")
    snapshot = take_snapshot(folder)
    assert (snapshot.running, snapshot.progress) == ("distill", 0.5)
    assert "loss                  ▁  1.5 to 1.5" in show(snapshot)


def test_of_several_rounds_the_one_at_work_is_shown(folder):
    write_jsonl(folder / "round-2/fade.jsonl", [make_row(1, autonomous_answer=0.25)])
    snapshot = take_snapshot(folder)
    assert [row["autonomous_answer"] for row in snapshot.rows] == [0.25]


def test_a_finished_training_has_no_step(folder):
    (folder / "work/train/key.json").unlink()
    shown = show(take_snapshot(folder))
    assert "step 5, 50%" not in shown and "now 5" in shown


def test_an_alarm_is_shown(folder):
    write_jsonl(folder / "fade.jsonl", [make_row(1, alarms=["always sound: ..."])])
    assert "alarm at step 1: always sound: ..." in show(take_snapshot(folder))


@pytest.mark.parametrize(
    ("values", "curve"),
    [
        ([1, 1], "▁▁"),
        ([0, 1, 0], "▁█▁"),
        ([0] * 60 + [1] * 60, "▁" * 30 + "█" * 30),
    ],
)
def test_a_curve_has_one_sign_for_each_value_or_group(values, curve):
    assert draw_curve(values) == curve


def test_the_time_left_follows_from_the_speed():
    first, now = (Snapshot(done=(), running="train", rows=[make_row(step)]) for step in (2, 4))
    assert find_minutes_left(first, now, 60) == pytest.approx(3)
    assert find_minutes_left(now, now, 60) is None


def test_another_folder_is_one_message(tmp_path):
    with pytest.raises(RunError, match="is no run folder, or its run has not begun"):
        take_snapshot(tmp_path)


def test_the_verb_prints_once_where_there_is_no_terminal(folder):
    done = CliRunner().invoke(app, ["watch", str(folder)])
    assert done.exit_code == 0 and "step 5, 50% of the training" in done.output
    assert "\x1b" not in done.output
