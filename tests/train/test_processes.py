"""Ten steps of two real processes are those of one with the same rows per step, or of a resume."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

import train_together
from processes import run_together
from realm.core.jsonl import read_jsonl
from tiny import make_tiny
from tiny_rl import GRPO, TRAIN

GATED = {"kind": "gated", "routes": 2, "dropout": 0.4, "start": 0.0, "transfer": 0.5,
         "gate": {"buckets": 2, "half_life": 32, "min_autonomous": 0.0}}  # fmt: skip
CASES = {
    # A group of eight has its rows in both processes.
    "spread": ({"fade": TRAIN["fade"] | {"mode": "in_group"}}, {"num_generations": 8}),
    "gated": ({"fade": GATED}, {"gradient_accumulation_steps": 2}),
    "lora": ({"lora": {"r": 4, "target_modules": ["q_proj", "v_proj"]}}, {"learning_rate": 3.0}),
}


# Plain gradients: Adam hides a wrong scale, and makes steps of rounding where there is no gradient.
COMMON = {
    "max_steps": 10,
    "save_steps": 5,
    "optim": "sgd",
    "max_grad_norm": 0.0,
    "learning_rate": 0.3,
}


def make_settings(num_processes: int) -> dict[str, dict]:
    grpo = GRPO | COMMON | {
        "per_device_train_batch_size": 8 // num_processes,
        "num_generations": 4,
        "max_completion_length": 160,
    }  # fmt: skip
    sft = COMMON | {
        # Steps of two rows share out the six rows evenly. A last step that lacks rows would not
        # have the same ones in two processes.
        "per_device_train_batch_size": 2 // num_processes,
        # Groups by length are made of the batches of one process.
        "train_sampling_strategy": "random",
    }
    distill = {"recipe": "r1", "distill": {"kind": "unguided", "sft": sft}}
    return {"distill": distill} | {
        name: {"train": TRAIN | train | {"grpo": grpo | more}}
        for name, (train, more) in CASES.items()
    }


def read_figures(folder: Path) -> list[dict]:
    """Return the rows of fade.jsonl with -1 for what a step has no figure of."""
    return [
        {name: value if isinstance(value, float) else -1 for name, value in row.items()}
        for row in read_jsonl(folder / "fade.jsonl")
    ]


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> Path:
    """The folder of all cases, trained by one process."""
    return train(tmp_path_factory.mktemp("one"), 1)


def train(folder: Path, num_processes: int, *how: str) -> Path:
    return train_on(folder, make_settings(num_processes), num_processes, *how)


def train_on(folder: Path, settings: dict[str, dict], num_processes: int, *how: str) -> Path:
    make_tiny(folder / "model", "qwen2")
    text = json.dumps(settings)
    code, _, errors = run_together(num_processes, train_together.__file__, folder, text, *how)
    assert code == 0, errors
    assert "Warning:" not in errors.replace("Warning: The policy never answers right", "")
    return folder


def assert_same_weights(one: Path, two: Path, name: str, output: str) -> None:
    start, ours, theirs = (
        load_file(folder / "model.safetensors")
        for folder in (one / "model", one / name / output, two / name / output)
    )
    assert ours.keys() == theirs.keys()
    for key, weight in ours.items():
        assert (weight - theirs[key]).norm() <= 1e-5 * weight.norm(), (name, key)
    moved = "model.layers.0.self_attn.v_proj.weight"
    assert (ours[moved] - start[moved]).norm() > 0.01 * start[moved].norm()


@pytest.mark.slow
@pytest.mark.parametrize("how", [(), ("fsdp2",)], ids=["ddp", "fsdp2"])
def test_ten_steps_of_two_processes_are_those_of_one(tmp_path, one, how):
    two = train(tmp_path, 2, *how)
    assert_same_weights(one, two, "distill", "distilled")
    for name in CASES:
        for file in ("prompts.jsonl", "headroom.json"):
            assert (one / name / file).read_text() == (two / name / file).read_text()
        prompts = read_jsonl(one / name / "prompts.jsonl")
        assert [row["step"] for row in prompts] == list(range(10))
        figures = zip(read_figures(one / name), read_figures(two / name), strict=True)
        assert all(ours == pytest.approx(theirs, rel=1e-5, abs=1e-6) for ours, theirs in figures)
        assert_same_weights(one, two, name, "model")


@pytest.mark.slow
def test_sharded_weights_continue_to_the_same_bytes_when_a_process_was_killed(
    tmp_path, monkeypatch
):
    settings = {"spread": make_settings(2)["spread"]}
    # Torch does not load the state of an optimizer that has none, as plain gradients.
    settings["spread"]["train"]["grpo"] |= {"optim": "adamw_torch", "learning_rate": 1e-3}
    whole = train_on(tmp_path / "whole", settings, 2, "fsdp2")
    monkeypatch.setenv("KILL_AT", "7")
    with pytest.raises(AssertionError, match="exitcode: -9"):
        train_on(tmp_path / "killed", settings, 2, "fsdp2")
    killed = tmp_path / "killed/spread"
    assert (killed / "work/train/checkpoint-5").is_dir() and not (killed / "model").exists()
    monkeypatch.delenv("KILL_AT")
    train_on(tmp_path / "killed", settings, 2, "fsdp2")
    steps = [row["step"] for row in read_jsonl(killed / "prompts.jsonl")]
    assert steps[6] == 6 and steps[-5:] == [5, 6, 7, 8, 9], "it went on from its checkpoint"
    for name in ("model/model.safetensors", "rollouts/samples.jsonl"):
        assert (killed / name).read_bytes() == (whole / "spread" / name).read_bytes()
