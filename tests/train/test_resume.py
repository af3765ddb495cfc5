"""A training that is killed again and again ends as one that was left alone."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from realm.core.jsonl import read_jsonl
from tiny import make_tiny
from tiny_rl import GRPO, TRAIN, make_config, make_run

STEPS = 16
FADE = {"kind": "gated", "routes": 2, "dropout": 0.4, "start": 0.0, "end": 0.9, "transfer": 0.2,
        "gate": {"buckets": 2, "half_life": 32, "min_autonomous": 0.0}}  # fmt: skip
SCRIPT = """
import sys
from pathlib import Path
from realm.config import load_config
from realm.run import Run
from realm.train.rl import run_train

run_train(Run(Path(sys.argv[1]), load_config(Path(sys.argv[2]))))
"""


def start(folder: Path) -> subprocess.Popen:
    """Train the run of a folder in a process of its own; its checkpoints stay."""
    paths = os.pathsep.join(path for path in sys.path if path)
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder), str(folder.parent / "small.yaml")],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill_at(process: subprocess.Popen, fade: Path, step: int, delay: float) -> None:
    deadline = time.monotonic() + 120
    while not fade.exists() or fade.read_bytes().count(b"\n") < step:
        assert process.poll() is None and time.monotonic() < deadline, f"never at step {step}"
        time.sleep(0.005)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.wait()


def read_end(folder: Path) -> dict:
    """Return what the last checkpoint holds, and the files of the run."""
    checkpoint = folder / f"work/train/checkpoint-{STEPS}"
    state = json.loads((checkpoint / "trainer_state.json").read_text())
    return {
        "weights": (folder / "model/model.safetensors").read_bytes(),
        "optimizer": torch.load(checkpoint / "optimizer.pt")["state"],
        "generators": torch.load(checkpoint / "rng_state.pth", weights_only=False)["cpu"],
        "gate": state["stateful_callbacks"]["TrainingState"]["attributes"],
        "fade": read_jsonl(folder / "fade.jsonl"),
        "rollouts": (folder / "rollouts/samples.jsonl").read_bytes(),
    }


@pytest.mark.slow
def test_a_training_killed_at_three_random_steps_ends_as_an_uninterrupted_one(tmp_path):
    make_tiny(tmp_path / "model", "qwen2")
    grpo = GRPO | {"max_steps": STEPS, "per_device_train_batch_size": 8}
    config = make_config(tmp_path, train=TRAIN | {"fade": FADE, "grpo": grpo})
    whole, killed = (make_run(tmp_path, config, name=name).folder for name in ("whole", "killed"))
    assert start(whole).wait() == 0
    rng = random.Random()
    # Ascending, since a training that continues begins near the step of the last kill. Not the last
    # steps: a fast machine takes several of them during the delay.
    steps = sorted(rng.sample(range(2, STEPS - 4), 3))
    for step in steps:
        kill_at(start(killed), killed / "fade.jsonl", step, rng.uniform(0.0, 0.1))
    assert not (killed / "model").exists(), steps
    assert start(killed).wait() == 0
    one, other = read_end(whole), read_end(killed)
    for name in ("weights", "gate", "fade", "rollouts"):
        assert one[name] == other[name], (name, steps)
    assert torch.equal(one["generators"], other["generators"]), steps
    for number, moments in one["optimizer"].items():
        for name, value in moments.items():
            assert torch.equal(value, other["optimizer"][number][name]), (name, steps)
