"""Ten steps of two real processes are those of one with the same rows per step."""

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
    "lora": ({"lora": {"r": 4, "target_modules": ["q_proj", "v_proj"]}}, {"learning_rate": 0.05}),
}


def make_settings(*, batch: int) -> dict[str, dict]:
    grpo = GRPO | {
        "max_steps": 10,
        "per_device_train_batch_size": batch,
        "num_generations": 4,
        "max_completion_length": 160,
        "save_steps": 5,
    }
    return {name: TRAIN | train | {"grpo": grpo | more} for name, (train, more) in CASES.items()}


def read_figures(folder: Path) -> list[dict]:
    """Return the rows of fade.jsonl with -1 for what a step has no figure of.

    The importance is a mean over micro-batches, which hold other credits in other numbers of
    processes.
    """
    return [
        {
            name: value if isinstance(value, float) else -1
            for name, value in row.items()
            if name != "transfer_importance"
        }
        for row in read_jsonl(folder / "fade.jsonl")
    ]


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    """The folders of all cases, trained by one process and by two."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    for folder in (one, two):
        make_tiny(folder / "model", "qwen2")
    for count, folder in ((1, one), (2, two)):
        settings = json.dumps(make_settings(batch=8 // count))
        code, _, errors = run_together(count, train_together.__file__, folder, settings)
        assert code == 0, errors
    return one, two


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_weights_prompts_fade_and_headroom_are_those_of_one_process(folders, name):
    one, two = (folder / name for folder in folders)
    for file in ("prompts.jsonl", "headroom.json"):
        assert (one / file).read_text() == (two / file).read_text()
    prompts = read_jsonl(one / "prompts.jsonl")
    assert [row["step"] for row in prompts] == list(range(10))
    figures = zip(read_figures(one), read_figures(two), strict=True)
    assert all(ours == pytest.approx(theirs, rel=1e-5, abs=1e-6) for ours, theirs in figures)
    ours, theirs = (load_file(folder / "model/model.safetensors") for folder in (one, two))
    for key, weight in ours.items():
        # Softmax does not see a bias of keys: its gradient is rounding, which Adam makes steps of.
        if not key.endswith("k_proj.bias"):
            assert (weight - theirs[key]).norm() <= 1e-5 * weight.norm(), key
    name = "model.layers.0.self_attn.q_proj.weight"
    start = load_file(one.parent / "model/model.safetensors")[name]
    assert (ours[name] - start).norm() > 0.05 * start.norm(), "training moved the weights"
