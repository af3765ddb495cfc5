"""A small comparison: two seeds of eight problems on a tiny random model."""

from __future__ import annotations

from pathlib import Path

import yaml

from experts import CLAIMS
from tiny import make_tiny

MODES = [
    "autonomous",
    "assisted",
    "probe",
    "sampled",
    "self_consistency",
    "self_routes",
    "best_of_n",
    "best_of_routes",
    "universal",
    "votes_at_self_routes",
    "votes_at_assisted",
]


def write_config(folder: Path) -> Path:
    """Write the model and its config, and return the config's path."""
    make_tiny(folder / "model", "qwen2")
    config = {
        "model": "model",
        "run": str(folder / "run"),
        "domain": {
            "kind": "python",
            "target": CLAIMS,
            "settings": {"sizes": {"train": 8, "validation": 2, "test": 6, "test_rules": 2}},
        },
        "prompt": {"autonomous": "{question}", "assisted": "{question}\n{routes}"},
        "routes": {
            "kind": "scripted",
            "guided_problems": 4,
            "sources": ["hasty", "frugal", "dated", "careless"],
            "held_out": ["outsider"],
            "per_source": 1,
            "eval_routes": 2,
        },
        "distill": {"sft": {"max_steps": 2, "per_device_train_batch_size": 2}},
        "train": {
            "fade": {"routes": 2, "dropout": 0.3, "end": 0.5},
            "headroom": {"problems": 1, "samples": 2},
            "grpo": {
                "max_steps": 2,
                "per_device_train_batch_size": 4,
                "num_generations": 2,
                "max_completion_length": 4,
            },
        },
        "evaluate": {"routes": 2, "max_new_tokens": 4, "batch_tokens": 40000, "probe": 2},
        "compare": {
            "seeds": 2,
            "pilot_problems": 2,
            "methods": ["distilled", "realm", "cot_synthesizer"],
            "modes": MODES,
        },
    }  # fmt: skip
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path
