"""Reinforcement learning with routes that fade: `ReaLMTrainer` and its stage."""

from __future__ import annotations

import gc
import json
import math
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase, TrainerCallback
from trl import GRPOConfig

from realm.answers.vote import majority
from realm.config import Config
from realm.domains import Domain, load_domain
from realm.eaai import expected_share, plan_row
from realm.errors import ConfigError, DataError
from realm.grader import Grader
from realm.headroom import measure_headroom
from realm.mrpv.prompt import render_prompt
from realm.mrpv.sets import draw_routes
from realm.policy import Policy, require_model
from realm.records import Problem, Route, RouteSet
from realm.runs import Run, append_jsonl, read_jsonl, read_problems, read_routes, write_json, write_jsonl
from realm.shared_prefix import SharedPrefixTrainer
from realm.training import (
    as_trl_prompt,
    context_of,
    encode_prompts,
    last_checkpoint,
    lora_config,
    make_arguments,
    model_card,
    require_context,
    save_policy,
    train,
)

ROLLOUTS = "rollouts/samples.jsonl"


class RowBuilder:
    """Writes the prompt that a training row shows at one step: a pure function of (seed, problem, step, progress)."""

    def __init__(
        self,
        problems: Sequence[Problem],
        routes: Sequence[Route],
        domain: Domain,
        config: Config,
        tokenizer: PreTrainedTokenizerBase,
    ) -> None:
        self.problems = {problem.id: problem for problem in problems}
        self.bank = route_bank(routes, config)
        self.domain, self.config, self.tokenizer = domain, config, tokenizer

    def routes(self, problem_id: str, step: int, progress: float) -> RouteSet:
        """Return the routes shown for one problem: none where it has none, or where the fade says so."""
        seed, bank = self.config.seed, self.bank.get(problem_id, [])
        k = plan_row(seed, problem_id, step, progress, self.config.train.fade)
        return draw_routes(bank, k, seed=seed, row_id=problem_id, step=step)

    def prompt(self, problem_id: str, shown: RouteSet) -> str | list[dict[str, str]]:
        """Return the prompt in TRL's form: messages, or text where the tokenizer has no chat template."""
        templates = self.config.prompt
        text = render_prompt(
            self.problems[problem_id].question, shown, autonomous=templates.autonomous, assisted=templates.assisted
        )
        return as_trl_prompt(self.tokenizer, text, templates.system)

    def row(self, problem_id: str, step: int, progress: float) -> dict[str, Any]:
        """Return the row that takes a bare one's place: the prompt, and what the rewards must know of the routes it shows."""
        shown = self.routes(problem_id, step, progress)
        return {
            "prompt": self.prompt(problem_id, shown),
            "problem_id": problem_id,
            "gold": self.problems[problem_id].answer,
            "labels": shown.labels(self.config.train.reward.label),
            "majority": majority([route.answer for route in shown.routes], self.domain.same),
            "share": expected_share(progress, self.config.train.fade),
            "progress": progress,
        }

    def size(self, problem_id: str, step: int, progress: float) -> int:
        """Return how long the prompt of a row is, in characters of its question and routes."""
        shown = self.routes(problem_id, step, progress).routes
        return len(self.problems[problem_id].question) + sum(len(route.text) for route in shown)

    def longest(self, problem_id: str) -> list[str | list[dict[str, str]]]:
        """Return the longest prompts that a problem may get: its autonomous one, and the one with its longest routes."""
        fade, bank = self.config.train.fade, self.bank.get(problem_id, [])
        sets = [RouteSet(problem_id=problem_id)]
        if bank and fade.kind != "none":
            longest = sorted(bank, key=lambda route: len(route.text), reverse=True)[: fade.routes]
            sets.append(RouteSet(problem_id=problem_id, routes=tuple(longest)))
        return [self.prompt(problem_id, shown) for shown in sets]


class ReaLMTrainer(SharedPrefixTrainer):
    """Writes the prompts when completions are generated, in evaluation too: none is ever stale, and rewards see what is shown."""

    def __init__(self, *args: Any, builder: RowBuilder, **kwargs: Any) -> None:
        self._builder = builder
        super().__init__(*args, **kwargs)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        step = self.state.global_step
        progress = step / max(1, self.state.max_steps)
        built = {
            problem_id: self._builder.row(problem_id, step, progress) for problem_id in {row["problem_id"] for row in inputs}
        }
        rows = [{**row, **built[row["problem_id"]]} for row in inputs]
        if self.model.training:
            size = self.num_generations
            assert all(row["prompt"] == rows[i - i % size]["prompt"] for i, row in enumerate(rows)), (
                "the copies of a prompt differ"
            )
        return super()._generate_and_score_completions(rows)


class Journal(TrainerCallback):
    """Writes RUN/fade.jsonl: one row per logged step; `None` where a step had no prompt of a mode."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        if not state.is_world_process_zero or not logs or "share" not in logs:
            return
        names = ("progress", "share", "routes_shown", "assisted_reward", "autonomous_reward")
        others = {
            name: value
            for name, value in logs.items()
            if name.startswith(("verdict_", "always_", "position_", "copy_", "rewards/"))
        }
        others |= {name: logs[name] for name in ("reward", "reward_std", "frac_reward_zero_std", "entropy") if name in logs}
        with append_jsonl(self.path) as append:
            append(
                {"step": state.global_step}
                | {name: logs.get(name) for name in names}
                | {k: v for k, v in others.items() if v is not None}
            )


def run(config: Config, run: Run) -> None:
    """Write RUN/model, RUN/headroom.json, RUN/fade.jsonl and RUN/rollouts from the problems and the routes."""
    start = str(run.path("distilled")) if config.recipe == "r1" else config.resolve_model()
    problems = [problem for problem in read_problems(run.path("problems.jsonl")) if problem.split == "train"][
        : config.train.problems
    ]
    if not problems:
        raise DataError(f"{run.path('problems.jsonl')}: no problem has the split train, so there is nothing to train on.")
    domain, work = load_domain(config), run.work("train")
    arguments = grpo_arguments(config, work, num_problems=len(problems))
    policy = Policy(start, keep=[config.prompt.think_end] if config.prompt.think_end else [])
    builder = RowBuilder(problems, read_routes(run.path("routes.jsonl")), domain, config, policy.tokenizer)
    require_routes(builder, run)
    rows = [(problem.id, prompt) for problem in problems for prompt in builder.longest(problem.id)]
    encoded = encode_prompts(policy.tokenizer, [prompt for _, prompt in rows])
    require_context(
        start,
        context_of(policy.model.config),
        [(problem_id, len(ids)) for (problem_id, _), ids in zip(rows, encoded, strict=True)],
        new_tokens=arguments.max_completion_length,
        advice="lower train.grpo.max_completion_length, show fewer routes (train.fade.routes), or take a longer context.",
    )
    report_headroom(policy, problems, domain, config, run, new_tokens=arguments.max_completion_length)
    grader = Grader(domain, config, read=policy.read, samples_path=run.path(ROLLOUTS))
    tokenizer, policy.model = policy.tokenizer, None
    gc.collect()
    torch.cuda.empty_cache()
    trainer = make_trainer(start, arguments, builder, grader, tokenizer, run)
    train(trainer, "train", work)
    save_policy(trainer, tokenizer, run.path("model"), _card(config, run, trainer, len(problems)))


def check(config: Config) -> None:
    """Raise a user's mistake in the settings of this stage, before any stage has spent time."""
    require_model(config.resolve_model())
    grpo_arguments(config, Path("unused"), num_problems=config.train.problems or 1)
    lora_config(config.train.lora)


def make_trainer(
    start: str, arguments: GRPOConfig, builder: RowBuilder, grader: Grader, tokenizer: PreTrainedTokenizerBase, run: Run
) -> ReaLMTrainer:
    """Return the trainer, and bring fade.jsonl and the rollouts back to the step where it will continue."""
    checkpoint = last_checkpoint(Path(arguments.output_dir))
    step = int(checkpoint.name.rsplit("-", 1)[1]) if checkpoint else 0
    if arguments.process_index == 0:
        for name in ("fade.jsonl", ROLLOUTS):
            forget_after(run.path(name), step)
    return ReaLMTrainer(
        builder=builder,
        shared_prefix=builder.config.train.shared_prefix,
        model=start,
        reward_funcs=grader.reward_functions(),
        args=arguments,
        train_dataset=Dataset.from_dict({"problem_id": row_order(builder, arguments)}),
        processing_class=tokenizer,
        callbacks=[Journal(run.path("fade.jsonl"))],
        peft_config=lora_config(builder.config.train.lora),
    )


def grpo_arguments(config: Config, work: Path, *, num_problems: int) -> GRPOConfig:
    """Return TRL's arguments: the user's `grpo:` section over our presets, and what the method itself requires.

    The number of steps is always explicit, since the fade needs to know the end. Checkpoints fall on the start of a
    generation: elsewhere a resumed run would sample anew in the middle of one.
    """
    settings, weights = config.train.grpo, config.train.reward
    presets = {"logging_steps": 1, "seed": config.seed}
    required = {
        "output_dir": str(work),
        "remove_unused_columns": False,
        "shuffle_dataset": False,
        "reward_weights": [weights.answer, weights.verdict, weights.format],
    }
    try:
        arguments = make_arguments(GRPOConfig, "train.grpo", settings, presets=presets, required=required)
    except ConfigError as error:
        if "divisible by num_generations" not in str(error):
            raise
        raise ConfigError(
            f"{error} A generation has per_device_train_batch_size x gradient_accumulation_steps x processes completions, "
            "num_generations for each prompt. Try a multiple of num_generations as per_device_train_batch_size."
        ) from None
    if arguments.max_steps <= 0:
        generations = arguments.num_train_epochs * num_problems / prompts_per_generation(arguments)
        arguments.max_steps = max(1, math.ceil(generations * _steps_per_generation(arguments)))
    window = max(1, round(_steps_per_generation(arguments)))
    if "save_steps" not in settings:
        arguments.save_steps = math.ceil(arguments.max_steps / 20 / window) * window
    every = arguments.save_steps if arguments.save_steps >= 1 else math.ceil(arguments.max_steps * arguments.save_steps)
    if arguments.save_strategy == "steps" and every % window:
        nearest = max(1, round(every / window)) * window
        raise ConfigError(
            f"train.grpo.save_steps: found {every}; one generation lasts {window} steps, so a run continued from there would "
            f"sample anew in the middle of one. Allowed: multiples of {window}. Try {nearest}."
        )
    return arguments


def prompts_per_generation(arguments: GRPOConfig) -> int:
    """Return how many different prompts one generation samples."""
    return arguments.generation_batch_size // arguments.num_generations


def _steps_per_generation(arguments: GRPOConfig) -> float:
    """Return how many optimizer steps one generation lasts; below 1 where one step takes several generations."""
    return arguments.steps_per_generation * arguments.num_iterations / arguments.gradient_accumulation_steps


def row_order(builder: RowBuilder, arguments: GRPOConfig) -> list[str]:
    """Return the problem of every row of the whole training, epoch after epoch, each shuffled by itself.

    Laid out in full, so that TRL makes one pass over it without shuffling and a resumed run meets the same problems. Where
    one optimizer step takes several generations, its prompts stand in order of length: TRL pads a generation to its
    longest prompt, and guided and unguided ones of the same step differ a lot.
    """
    lasts, per_generation = _steps_per_generation(arguments), prompts_per_generation(arguments)
    problem_ids, wanted = list(builder.problems), math.ceil(arguments.max_steps / lasts) * per_generation
    order: list[str] = []
    for epoch in range(math.ceil(wanted / len(problem_ids))):
        order += random.Random(f"{builder.config.seed}|{epoch}").sample(problem_ids, len(problem_ids))
    if lasts >= 1:
        return order[:wanted]
    per_step = round(per_generation / lasts)
    steps = [order[step * per_step : (step + 1) * per_step] for step in range(arguments.max_steps)]
    return [
        problem_id
        for step, chunk in enumerate(steps)
        for problem_id in sorted(chunk, key=partial(builder.size, step=step, progress=step / arguments.max_steps))
    ]


def route_bank(routes: Sequence[Route], config: Config) -> dict[str, list[Route]]:
    """Return the routes that training may show, by problem: labelled, no guided chains and no held-out source."""
    bank: dict[str, list[Route]] = defaultdict(list)
    for route in routes:
        if route.correct is not None and not route.guided and route.source not in config.routes.held_out:
            bank[route.problem_id].append(route)
    return dict(bank)


def require_routes(builder: RowBuilder, run: Run) -> None:
    """Raise `DataError` where the fade wants to show routes and no training problem has any."""
    with_routes = sum(problem_id in builder.bank for problem_id in builder.problems)
    if builder.config.train.fade.kind == "none":
        return
    if not with_routes:
        raise DataError(
            f"{run.path('routes.jsonl')}: none of the {len(builder.problems)} training problems has a route to show, and "
            f"train.fade asks for {builder.config.train.fade.routes}. Guided chains and held-out sources are not "
            "shown. Collect or import routes for the training problems, or set train.fade.kind: none for plain GRPO."
        )
    if with_routes < len(builder.problems):
        print(f"{len(builder.problems) - with_routes} of {len(builder.problems)} training problems have no routes: shown alone.")


def report_headroom(
    policy: Policy, problems: Sequence[Problem], domain: Domain, config: Config, run: Run, *, new_tokens: int
) -> None:
    """Measure and print the headroom and write RUN/headroom.json; a continued run keeps what it measured."""
    kept, path = run.work("train") / "headroom.json", run.path("headroom.json")
    if kept.exists():
        write_json(path, json.loads(kept.read_text(encoding="utf-8")))
        return
    found = measure_headroom(policy, problems, domain, config, new_tokens=new_tokens)
    print(
        f"Headroom on {found.problems} training problems, {found.samples} samples each: mean@1 {found.mean_at_1:.1%}, "
        f"majority@{found.samples} {found.majority_at_n:.1%}, pass@{found.samples} {found.pass_at_n:.1%}, "
        f"mixed groups {found.mixed_share:.1%}."
    )
    if warning := found.warning():
        print(f"Warning: {warning}")
    write_json(kept, found.to_json())
    write_json(path, found.to_json())


def forget_after(path: Path, step: int) -> None:
    """Remove the rows after `step` from a file of the run; a file that is not there becomes an empty one."""
    with append_jsonl(path):
        pass
    write_jsonl(path, [row for row in read_jsonl(path) if row["step"] <= step])


def _card(config: Config, run: Run, trainer: ReaLMTrainer, num_problems: int) -> str:
    fade: Mapping[str, Any] = config.train.fade.model_dump()
    arguments = trainer.args
    completions = arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size
    text = [
        f"Trained from `{config.model}` by ReaLM (arXiv 2508.12387, the project's own reading): reinforcement learning with",
        "multi-route process verification, the routes fading out of the prompt until the model answers alone.",
        "",
        f"- run: `{run.folder.name}`, recipe `{config.recipe}`, seed {config.seed}",
        f"- {trainer.state.global_step} steps on {num_problems} problems, {completions} completions per step",
        f"- fade: {', '.join(f'{name} {value}' for name, value in fade.items())}",
    ]
    return model_card(title="model", base_model=config.model, text=text)
