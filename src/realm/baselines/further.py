"""More supervised training from the same start: the control of all RL methods.

It is also the last step of other baselines. It trains on as many completions as ReaLM has rollouts,
so that a gain of ReaLM over it is not due to longer training. The settings are those of
distillation, and over them those of `compare.further_sft`.
"""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realm.core.jsonl import read_jsonl, write_jsonl
from realm.core.ranks import is_main_process

if TYPE_CHECKING:
    from realm.config.root import Config
    from realm.run import Run

# Everything that loads torch is imported in the functions: `realm compare --dry-run` needs none.

logger = logging.getLogger(__name__)


def run_further(run: Run) -> None:
    """Train RUN/distilled on more of what it was distilled from, and write RUN/model."""
    rows = read_jsonl(run.path("sft.jsonl"))
    train_further(run, "further", rows, "more of the same distillation")


def count_further_completions(run: Run) -> int:
    """Return how many completions ReaLM samples under these settings, in all rounds."""
    from realm.train.arguments import count_rollouts, make_grpo_arguments
    from realm.train.rl import select_rl_problems
    from realm.train.rows import HARVEST_PER_ROUTE

    config, num_problems = run.config, len(select_rl_problems(run))
    arguments = make_grpo_arguments(config, Path("unused"), num_problems=num_problems)
    harvest = num_problems * HARVEST_PER_ROUTE * config.train.fade.routes
    return config.rounds * count_rollouts(arguments) + (config.rounds - 1) * harvest


def make_further_config(run: Run) -> Config:
    """Return the config whose `distill.sft` trains on as many completions as ReaLM has rollouts."""
    from realm.train.arguments import make_sft_arguments

    config = run.config
    sft = config.distill.sft | config.compare.further_sft
    # Only to read the batch size with TRL's defaults; nothing is written to the folder.
    arguments = make_sft_arguments(config.with_settings({"distill.sft": sft}), Path("unused"))
    per_step = (
        arguments.per_device_train_batch_size
        * arguments.gradient_accumulation_steps
        * arguments.world_size
    )
    # Rounded up: the control never trains on less than ReaLM.
    steps = max(1, math.ceil(count_further_completions(run) / per_step))
    return config.with_settings({"distill.sft": sft | {"max_steps": steps}})


def train_further(
    run: Run, stage: str, rows: Sequence[dict[str, Any]], title: str, *, adds_opening: bool = False
) -> None:
    """Train RUN/distilled for ReaLM's number of completions, and write RUN/model.

    Args:
        run: The run whose model is trained.
        stage: Its work folder keeps checkpoints.
        rows: What is taught: problem_id, prompt and completion. Without rows the model stays.
        title: What the model card says of the training.
        adds_opening: The completions are not the model's own: where it thinks in private, their
            chain goes inside its tags.
    """
    from realm.checkpoint import find_context_length, load_checkpoint
    from realm.method.thoughts import put_chain_in_thoughts
    from realm.train.arguments import make_sft_arguments
    from realm.train.sft import require_room, train_on_rows
    from realm.train.trl import (
        find_student_tags,
        find_turn_end,
        tokenize_rows,
    )

    start = run.path("distilled")
    network, tokenizer = load_checkpoint(start)
    closing = find_turn_end(network, tokenizer, run.config)
    if adds_opening:
        tags = find_student_tags(tokenizer, run.config)
        rows = [
            row | {"completion": put_chain_in_thoughts(row["completion"], tags)} for row in rows
        ]
    if is_main_process():
        write_jsonl(run.path("taught.jsonl"), rows)
    if not rows:
        logger.info("%s: there is no row to train on; the model stays as it is.", title)
        if not is_main_process():
            return
        shutil.rmtree(run.path("model"), ignore_errors=True)  # of an earlier, interrupted call
        shutil.copytree(start, run.path("model"))
        return
    arguments = make_sft_arguments(make_further_config(run), run.work(stage))
    dataset = tokenize_rows(rows, tokenizer, prompts=run.config.prompt, closing=closing)
    require_room(str(start), find_context_length(network.config), arguments, rows, dataset)
    how = {"start": str(start), "output": "model", "how": title}
    train_on_rows(run, dataset, tokenizer, arguments, **how)
