"""A small run of reinforcement learning: six problems, three sources, three steps."""

from __future__ import annotations

from pathlib import Path

import yaml

from realm.config.root import Config, load_config
from realm.core.jsonl import write_jsonl
from realm.core.records import Problem, Route
from realm.run import Run

GRPO = {
    "max_steps": 3,
    "per_device_train_batch_size": 4,
    "num_generations": 2,
    "max_completion_length": 6,
    "save_steps": 1,
    "learning_rate": 1e-3,
}
TRAIN = {
    "grpo": GRPO,
    "headroom": {"problems": 2, "samples": 2},
    "fade": {"routes": 3, "dropout": 0.2, "start": 0.5, "end": 0.9, "mode": "chance"},
}
SOURCES = ("hasty", "frugal", "outsider")
PROBLEMS = [
    Problem(id=f"p{i}", split="train", question=f"Ann pays {i} of 9. Left?", answer=str(9 - i))
    for i in range(6)
]
ROUTES = [
    Route(
        problem_id=f"p{i}",
        source=source,
        text=f"{source}: 9 - {i} = {said}.",
        answer=str(said),
        correct=said == 9 - i,
    )
    for i in range(6)
    for source, said in zip(SOURCES, (9 - i, 8 - i, 7 - i), strict=True)
]


def make_config(folder: Path, **sections) -> Config:
    path = folder / "small.yaml"
    settings = {
        "model": "model",
        "recipe": "zero",
        "domain": {"kind": "files", "path": "none.jsonl", "answer": "number"},
        "routes": {
            "kind": "import",
            "files": [{"path": "x", "source": source} for source in SOURCES],
            "held_out": ["outsider"],
        },
        "train": TRAIN,
    }
    path.write_text(yaml.safe_dump(settings | sections))
    return load_config(path)


def make_run(folder: Path, config: Config, *, name: str = "run", routes=ROUTES) -> Run:
    run = Run(folder / name, config)
    write_jsonl(run.path("problems.jsonl"), PROBLEMS)
    write_jsonl(run.path("routes.jsonl"), routes)
    return run
