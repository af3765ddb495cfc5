"""Two real processes do what one does, and continue where a kill has left them."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from processes import run_together, start_together
from realm.core.jsonl import read_jsonl
from test_pipeline import assert_complete, realm, write_config

TRAIN_STEPS = 6
SETTINGS = ["--set", "train.grpo.save_total_limit=9"]
# Half as many rows per process, so that a step has as many as with one process.
HALVES = [
    *SETTINGS,
    *("--set", "distill.sft.per_device_train_batch_size=1"),
    *("--set", "train.grpo.per_device_train_batch_size=2"),
]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_config(tmp_path_factory.mktemp("processes"), train_steps=TRAIN_STEPS)


@pytest.fixture(scope="module")
def two(config: Path) -> Path:
    """The folder of a run by two processes."""
    folder = config.parent / "two"
    code, output, errors = run_together(2, "-m", "realm", "run", config, "-r", folder, *HALVES)
    assert code == 0, errors
    assert output.count("eval     done") == 1, "only the main process prints"
    assert "Traceback" not in errors and "UserWarning" not in errors
    return folder


@pytest.mark.slow
def test_two_processes_run_every_stage_as_one_does(config, two):
    assert_complete(two)
    realm("run", str(config), *SETTINGS)
    one = config.parent / "run"
    for name in ("problems.jsonl", "routes.jsonl", "sft.jsonl"):
        assert (two / name).read_bytes() == (one / name).read_bytes()
    schedule = [
        [[row[name] for name in ("step", "progress", "share", "routes_shown")] for row in rows]
        for rows in (read_jsonl(folder / "fade.jsonl") for folder in (one, two))
    ]
    assert schedule[0] == schedule[1] and len(schedule[0]) == TRAIN_STEPS
    prompts = [
        [(row["step"], row["problem_id"], row["prompt"]) for row in rows]
        for rows in (read_jsonl(folder / "rollouts/samples.jsonl") for folder in (one, two))
    ]
    assert prompts[0] == prompts[1] and len(prompts[0]) > TRAIN_STEPS
    # The model before training is the same; the trained ones differ in the last bits.
    answers = [
        [row for row in read_jsonl(folder / "answers.jsonl") if row["method"] == "base"]
        for folder in (one, two)
    ]
    assert answers[0] == answers[1] and len(answers[0]) > 12


def find_process(launcher: int, rank: int) -> int | None:
    """Return the id of a process that `torchrun` has started; `None` if there is none (yet)."""
    for child in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split():
        if f"\0RANK={rank}\0".encode() in Path(f"/proc/{child}/environ").read_bytes():
            return int(child)
    return None


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds processes in /proc")
def test_a_killed_process_ends_the_job_and_the_same_command_continues_to_the_same_bytes(
    config, two
):
    folder = config.parent / "killed"
    command = ("-m", "realm", "run", config, "-r", folder, *HALVES)
    job = start_together(2, *command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(folder.glob("work/train/checkpoint-[2-5]/trainer_state.json")):
        assert job.poll() is None and time.monotonic() < deadline, "never caught in training"
        time.sleep(0.02)
    os.kill(find_process(job.pid, rank=1), signal.SIGKILL)
    assert job.wait(timeout=60) != 0
    assert not (folder / "model").exists()
    code, output, errors = run_together(2, *command)
    assert code == 0, errors
    assert "train: continues at step" in output and "distill  up to date" in output
    for name in ("model/model.safetensors", "rollouts/samples.jsonl"):
        assert (folder / name).read_bytes() == (two / name).read_bytes()
    figures = [
        [{**json.loads(line), "step_time": None} for line in (one / "fade.jsonl").open()]
        for one in (folder, two)
    ]
    assert figures[0] == figures[1]
