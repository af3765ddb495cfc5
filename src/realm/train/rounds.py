"""The recipe iterated: a further round of reinforcement learning, from the model of the last one and with routes of its own.

A round is a run folder inside the first one. Its `distilled/` is the model that the last round made, its routes are that
model's samples, and its evaluation therefore says what the round added.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from realm.core.stages import Stage

if TYPE_CHECKING:
    from realm.run import Run

_BANK = "bank.jsonl"
"""The routes of the last round, which fill in where the policy's own are all right or all wrong."""


def _run_harvest(run: Run) -> None:
    from realm.train.harvest import run_harvest

    run_harvest(run)


HARVEST = Stage(
    name="harvest",
    function=_run_harvest,
    settings=(
        "seed",
        "domain.kind",
        "domain.answer",
        "domain.target",
        "domain.settings",
        "prompt",
        "routes.held_out",
        "train.problems",
        "train.fade.routes",
        "train.grpo",
        "evaluate.max_new_tokens",
        "evaluate.batch_tokens",
    ),
    inputs=("problems.jsonl", _BANK, "distilled/"),
    outputs=("routes.jsonl", "bank.json"),
)


def next_round(run: Run, number: int) -> Run:
    """Return the run of round `number`, with what the round before it made linked in as far as it is there."""
    first = run.folder if number == 2 else run.folder.parent
    stages = {HARVEST.name: HARVEST}
    stages |= {name: run.stages[name] for name in ("train", "eval", "report")}
    following = run.derive(first / f"round-{number}", run.config, stages)
    taken: dict[str, Path] = {
        "problems.jsonl": run.path("problems.jsonl"),
        _BANK: run.path("routes.jsonl"),
        "distilled": run.path("model"),
    }
    for name, path in taken.items():
        if path.exists():
            following.adopt(path, name)
    return following
