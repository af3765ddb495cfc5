"""Measure how fast this machine trains and generates, and how long the stages would then take.

How long a model's completions get is not known before it has written them. So each stage has two
times: for completions of a quarter of the longest allowed length, and of all of it.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import cross_entropy
from transformers import GenerationConfig

from realm.checkpoint import load_checkpoint
from realm.core.records import RouteSet
from realm.method.fade import split_share
from realm.sampling import make_prompt
from realm.train.arguments import (
    count_rollouts,
    make_grpo_arguments,
    make_lora_config,
    make_sft_arguments,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from trl import GRPOConfig, SFTConfig

    from realm.config.root import Config
    from realm.core.records import Problem
    from realm.run import Run

SHORTEST = 0.25
"""Share of the longest allowed completion that the lower time assumes."""
NUM_PROMPTS = 50
"""Problems whose prompts are counted."""
NUM_ROWS = 8
"""Rows that are trained on at once while the speed is measured."""
MOST_ROLLOUTS = 128
"""Most completions that are generated at once while the speed is measured."""
NUM_TOKENS = 32
"""Tokens that each row generates."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Tokens per second of one process on this machine."""

    trained: float
    """Tokens that a forward and a backward pass take in."""
    generated: float
    """Tokens of completions, with as many at once as reinforcement learning generates."""


def estimate_stages(run: Run) -> dict[str, tuple[float, float]]:
    """Return the least and the most seconds of `distill`, `train` and `eval` on this machine.

    The model is loaded, trained for two micro-batches and asked for a few tokens. Left out are the
    times of loading, grading, the optimizer's steps and the prompts of evaluation. Completions by
    vLLM or an endpoint are counted as if this process wrote them. Nothing is written.

    Args:
        run: Its config has a model; nothing of the run folder is read.

    Raises:
        RealmError: The weights or the problems cannot be read.
    """
    config = run.config
    problems = list(run.domain.problems(config.seed))
    train = [problem for problem in problems if problem.split == "train"]
    grpo = make_grpo_arguments(config, Path("unused"), num_problems=len(train))
    model, tokenizer = load_checkpoint(config.resolve_model())
    prompts = [
        make_prompt(problem, config, RouteSet(problem_id=problem.id)).text
        for problem in problems[:NUM_PROMPTS]
    ]
    prompt = fmean(len(tokenizer(text)["input_ids"]) for text in prompts)
    speed = measure_speed(model, config, grpo, length=round(prompt) + NUM_TOKENS)
    chain = config.distill.max_chain_tokens or config.evaluate.max_new_tokens
    assert grpo.max_completion_length  # TRL always sets it
    times: dict[str, tuple[float, float]] = {}
    for share in (SHORTEST, 1.0):
        found = {}
        if run.has_stage("distill") and config.distill.kind != "self":
            sft = make_sft_arguments(config, Path("unused"))
            rows = count_sft_rows(config, sft, num_problems=len(train))
            times_taught = config.rounds if config.distill.every_round else 1
            found["distill"] = (
                times_taught * rows * count_row(config, prompt, share * chain) / speed.trained
            )
        completion = share * grpo.max_completion_length
        trained, generated = count_rl_tokens(config, grpo, prompt, completion)
        seconds = trained / speed.trained + generated / speed.generated
        found["train"] = config.rounds * seconds
        completion = share * config.evaluate.max_new_tokens
        found["eval"] = count_completions(run, problems) * completion / speed.generated
        for name, seconds in found.items():
            times[name] = (times.get(name, (seconds,))[0], seconds)
    return times


def measure_speed(model: Any, config: Config, arguments: GRPOConfig, *, length: int) -> Speed:
    """Return the speed of the model, from the second of two equal runs of each kind.

    Args:
        model: The model (`PreTrainedModel`). Adapters stay in it.
        config: The settings, for adapters.
        arguments: Those of reinforcement learning, for bf16 and the number of rollouts.
        length: Tokens of a row.
    """
    device = model.device
    assert arguments.generation_batch_size  # TRL always sets it
    num_rollouts = min(MOST_ROLLOUTS, arguments.generation_batch_size // arguments.world_size)
    ids = torch.randint(0, model.config.vocab_size, (NUM_ROWS, length), device=device)
    prompts = torch.randint(
        0, model.config.vocab_size, (num_rollouts, length - NUM_TOKENS), device=device
    )
    settings = GenerationConfig(
        max_new_tokens=NUM_TOKENS, min_new_tokens=NUM_TOKENS, do_sample=True, pad_token_id=0
    )

    def generate() -> None:
        model.generate(prompts, generation_config=settings)

    generated = num_rollouts * NUM_TOKENS / _measure_seconds(generate, device)
    if lora := make_lora_config(config.train.lora):
        from peft import get_peft_model

        get_peft_model(model, lora)
    model.train()
    if arguments.gradient_checkpointing:
        model.gradient_checkpointing_enable()

    def train() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=bool(arguments.bf16)):
            logits = model(input_ids=ids, logits_to_keep=NUM_TOKENS).logits
        cross_entropy(logits.float().flatten(0, 1), ids[:, -NUM_TOKENS:].flatten()).backward()
        model.zero_grad()

    return Speed(trained=ids.numel() / _measure_seconds(train, device), generated=generated)


def _measure_seconds(work: Callable[[], None], device: torch.device) -> float:
    """Return the seconds of the second of two runs; the first one warms up."""
    work()
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def count_sft_rows(config: Config, arguments: SFTConfig, *, num_problems: int) -> float:
    """Return the rows that a process trains on, if each problem has one chain."""
    per_step = arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps
    if arguments.max_steps > 0:
        return arguments.max_steps * per_step
    chains = min(num_problems, config.distill.problems or num_problems)
    # A share of 1 has each chain in one assisted row.
    rows = chains / max(0.5, 1 - config.distill.assisted_share)
    return arguments.num_train_epochs * rows / arguments.world_size


def count_row(config: Config, prompt: float, chain: float) -> float:
    """Return the mean tokens of a row of distillation; assisted rows show routes like the chain."""
    # Half of the assisted rows show all routes and the others any number of them.
    most = config.train.fade.routes
    shown = (most + (most + 1) / 2) / 2
    return prompt + chain + config.distill.assisted_share * shown * chain


def count_rl_tokens(
    config: Config, arguments: GRPOConfig, prompt: float, completion: float
) -> tuple[float, float]:
    """Return the tokens that a process trains on and those that it generates.

    The prompt of a group is counted once (see `realm.prefix`), its routes as long as completions.
    """
    rollouts = count_rollouts(arguments) / arguments.world_size
    prompts = rollouts / (arguments.num_generations or 1)
    steps = max(1, arguments.max_steps)
    shown = fmean(
        math.prod(split_share(step / steps, config.train.fade)) * (1 - config.train.fade.dropout)
        for step in range(steps)
    )
    trained = rollouts * completion + prompts * (prompt + shown * completion)
    # Several updates on the same rollouts.
    return trained * arguments.num_iterations, rollouts * completion


def count_completions(run: Run, problems: list[Problem]) -> float:
    """Return how many completions the evaluation asks for, of all models and modes."""
    config = run.config
    settings = config.evaluate
    splits: dict[str, int] = {}
    for problem in problems:
        splits[problem.split] = splits.get(problem.split, 0) + 1
    asked = {
        split: min(splits.get(split, 0), limit)
        for split in ("test", "test_rules", "test_larger")
        if (limit := settings.limit.get(split) or splits.get(split, 0))
    }
    has_routes = config.routes.kind != "none"
    models = 1 + run.has_stage("distill") + config.rounds * run.has_stage("train")
    greedy = sum(asked.values()) * models * (2 if has_routes else 1)
    sampled = settings.samples * sum(asked.values())
    sampled *= models if settings.sampled_models == "all" else 1
    return greedy + sampled + (5 * settings.probe * models if has_routes else 0)
