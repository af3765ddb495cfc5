"""More supervised training from the same start: the control of every RL method, and the last step of other baselines.

It trains on as many completions as ReaLM has rollouts, with the settings of distillation and over them those of `compare.further_sft`,
so that a gain of ReaLM over it is none of longer training.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realm.config.root import Config
from realm.core.jsonl import read_jsonl, write_jsonl
from realm.policy import load_checkpoint
from realm.train.rl import count_rollouts, make_grpo_arguments, select_rl_problems
from realm.train.sft import (
    completion_affixes,
    make_sft_arguments,
    require_room,
    tokenize_rows,
    train_on_rows,
)
from realm.train.trl import find_context_length

if TYPE_CHECKING:
    from realm.run import Run


def run_further(run: Run) -> None:
    """Train RUN/distilled further on what it was distilled from, and write RUN/model."""
    train_further(
        run, "further", read_jsonl(run.path("sft.jsonl")), "more of the same distillation"
    )


def rollouts_of(run: Run) -> int:
    """Return how many completions ReaLM samples and learns from under these settings."""
    arguments = make_grpo_arguments(
        run.config, Path("unused"), num_problems=len(select_rl_problems(run))
    )
    return count_rollouts(arguments)


def further_settings(run: Run) -> Config:
    """Return the config with `distill.sft` as a baseline trains on: `compare.further_sft` over it, and ReaLM's number of completions."""
    config = run.config
    sft = config.distill.sft | config.compare.further_sft
    arguments = make_sft_arguments(config.with_settings({"distill.sft": sft}), Path("unused"))
    per_step = (
        arguments.per_device_train_batch_size
        * arguments.gradient_accumulation_steps
        * arguments.world_size
    )
    steps = max(1, math.ceil(rollouts_of(run) / per_step))
    return config.with_settings({"distill.sft": sft | {"max_steps": steps}})


def completion_opening(run: Run) -> str:
    """Return what every taught completion begins with: an empty private thinking, where the model thinks in private."""
    return _load(run)[2]


def train_further(run: Run, stage: str, rows: Sequence[Mapping[str, Any]], how: str) -> None:
    """Train RUN/distilled on `rows` (problem_id, prompt, completion) for ReaLM's number of completions, and write RUN/model.

    Without any row there is nothing to learn, and the model stays what it was.
    """
    write_jsonl(run.path("taught.jsonl"), map(dict, rows))
    if not rows:
        print(f"{how}: there is no row to train on; the model stays what it was.")
        shutil.rmtree(run.path("model"), ignore_errors=True)
        shutil.copytree(run.path("distilled"), run.path("model"))
        return
    network, tokenizer, _, closing = _load(run)
    settings = further_settings(run)
    arguments = make_sft_arguments(settings, run.work(stage))
    dataset = tokenize_rows(rows, tokenizer, system=run.config.prompt.system, closing=closing)
    start = str(run.path("distilled"))
    require_room(start, find_context_length(network.config), arguments, rows, dataset)
    train_on_rows(run, dataset, tokenizer, arguments, start=start, output="model", how=how)


def _load(run: Run) -> tuple[Any, Any, str, str]:
    network, tokenizer = load_checkpoint(run.path("distilled"))
    opening, closing = completion_affixes(network, tokenizer, run.config)
    return network, tokenizer, opening, closing
