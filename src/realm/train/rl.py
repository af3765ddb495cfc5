"""Reinforcement learning with routes that fade: `ReaLMTrainer` and its stage."""

from __future__ import annotations

import gc
import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import gather_object
from datasets import Dataset
from transformers import PreTrainedTokenizerBase
from trl import GRPOConfig

from realm.config.root import Config
from realm.core.errors import ConfigError, DataError, ModelError
from realm.core.jsonl import read_problems, read_routes, write_json
from realm.core.records import Problem, RouteSet
from realm.domains import Domain
from realm.policy import Policy, require_model
from realm.prefix import PrefixSharingError
from realm.prefix.trainer import SharedPrefixTrainer
from realm.train.callbacks import Journal, Keeper, forget_after
from realm.train.grader import Grader, reward_weights
from realm.train.headroom import measure_headroom
from realm.train.rows import RowBuilder, require_routes
from realm.train.transfer import Alone, Transfer
from realm.train.trl import (
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

if TYPE_CHECKING:
    from realm.run import Run

ROLLOUTS = "rollouts/samples.jsonl"


class ReaLMTrainer(SharedPrefixTrainer):
    """Writes the prompts when completions are generated, in evaluation too: none is ever stale, and rewards see what is shown.

    Afterwards the `keeper` is told what came of them. With `transfer` its loss is added to TRL's.
    """

    def __init__(
        self,
        *args: Any,
        builder: RowBuilder,
        grader: Grader,
        keeper: Keeper,
        transfer: Transfer | None = None,
        **kwargs: Any,
    ) -> None:
        self._builder, self._grader, self._keeper, self._transfer = (
            builder,
            grader,
            keeper,
            transfer,
        )
        super().__init__(*args, **kwargs)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        rows = self._write_rows(inputs)
        batch = super()._generate_and_score_completions(rows)
        if self.model.training and self._keeper.watchers:
            self._keeper.observe(gather_object(self._grader.outcomes))
            if self._transfer is not None:
                with self.compute_loss_context_manager():
                    figures = self._transfer.collect(
                        self.model, self._tried(rows, batch), self.accelerator.device
                    )
                self._log_figures(figures)
        return batch

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if self._transfer is None or not self.model.training:
            return loss
        more, figures = self._transfer.loss(model, self.accelerator.device)
        self._log_figures(figures)
        return loss + more

    def _write_rows(self, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the rows with today's prompts; the copies of one stand together, over the processes in their order."""
        step = self.state.global_step
        progress = step / max(1, self.state.max_steps)
        in_group = self.model.training and self._builder.config.train.fade.mode == "in_group"
        copies, before = (
            self.num_generations if in_group else 1,
            self.accelerator.process_index * len(inputs),
        )
        keys = [(row["problem_id"], (before + place) % copies) for place, row in enumerate(inputs)]
        built = {
            key: self._builder.row(key[0], step, progress, copy=key[1], copies=copies)
            for key in set(keys)
        }
        rows = [{**row, **built[key]} for row, key in zip(inputs, keys, strict=True)]
        if self.model.training:
            same, size = "problem_id" if in_group else "prompt", self.num_generations
            firsts = [max(0, place - (before + place) % size) for place in range(len(rows))]
            assert all(
                row[same] == rows[first][same] for row, first in zip(rows, firsts, strict=True)
            ), "the copies of a prompt differ"
        return rows

    def _tried(self, rows: Sequence[dict[str, Any]], batch: Mapping[str, Any]) -> Iterator[Any]:
        """Yield (problem id, graded completion, ids of its prompt, its own ids) for each row."""
        for place, (row, graded) in enumerate(zip(rows, self._grader.graded, strict=True)):
            prompt, completion = (
                batch[f"{part}_ids"][place][batch[f"{part}_mask"][place].bool()].tolist()
                for part in ("prompt", "completion")
            )
            yield row["problem_id"], graded, prompt, completion

    def _log_figures(self, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self._metrics["train"][name].append(value)


def run_train(run: Run) -> None:
    """Write RUN/model, RUN/headroom.json, RUN/fade.jsonl and RUN/rollouts from the problems and the routes."""
    config = run.config
    start = str(run.path("distilled")) if config.recipe == "r1" else config.resolve_model()
    problems = [
        problem for problem in read_problems(run.path("problems.jsonl")) if problem.split == "train"
    ][: config.train.problems]
    if not problems:
        raise DataError(
            f"{run.path('problems.jsonl')}: no problem has the split train, so there is nothing to train on."
        )
    domain, work = run.domain, run.work("train")
    arguments = grpo_arguments(config, work, num_problems=len(problems))
    policy = Policy(start, keep=[config.prompt.think_end] if config.prompt.think_end else [])
    builder = RowBuilder(
        problems, read_routes(run.path("routes.jsonl")), domain, config, policy.tokenizer
    )
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
    report_headroom(
        policy, problems, domain, config, run, new_tokens=arguments.max_completion_length
    )
    grader = Grader(domain, config, read=policy.read, samples_path=run.path(ROLLOUTS))
    tokenizer, policy.model = policy.tokenizer, None
    gc.collect()
    torch.cuda.empty_cache()
    try:
        trainer = make_trainer(start, arguments, builder, grader, tokenizer, run)
        train(trainer, "train", work)
    except PrefixSharingError as error:
        raise ConfigError(
            f"train.shared_prefix: found on, but prompts cannot be shared: {error}. "
            "Try auto or off."
        ) from error
    except FloatingPointError as error:
        raise ModelError(
            f"{start}: {error}. Its weights are damaged, or training diverged: "
            "try a lower train.grpo.learning_rate."
        ) from error
    run.record_figures(budget(trainer))
    save_policy(trainer, tokenizer, run.path("model"), _card(config, run, trainer, len(problems)))


def check_train(run: Run) -> None:
    """Raise a user's mistake in the settings of this stage, before any stage has spent time."""
    config = run.config
    require_model(config.resolve_model())
    grpo_arguments(config, Path("unused"), num_problems=config.train.problems or 1)
    lora_config(config.train.lora)


def make_trainer(
    start: str,
    arguments: GRPOConfig,
    builder: RowBuilder,
    grader: Grader,
    tokenizer: PreTrainedTokenizerBase,
    run: Run,
) -> ReaLMTrainer:
    """Return the trainer, and bring fade.jsonl and the rollouts back to the step where it will continue."""
    checkpoint = last_checkpoint(Path(arguments.output_dir))
    step = int(checkpoint.name.rsplit("-", 1)[1]) if checkpoint else 0
    if arguments.process_index == 0:
        for name in ("fade.jsonl", ROLLOUTS):
            forget_after(run.path(name), step)
    fade = builder.config.train.fade
    alone = Alone() if fade.transfer else None
    keeper = Keeper(builder.gate, alone)
    if checkpoint:
        keeper.load(checkpoint)
    transfer = alone and Transfer(
        fade.transfer,
        alone,
        read=grader.read,
        encode=lambda problem_id: encode_prompts(
            tokenizer, [builder.prompt(problem_id, RouteSet(problem_id=problem_id))]
        )[0],
        temperature=arguments.temperature,
        parts=arguments.steps_per_generation,
        completions=arguments.per_device_train_batch_size,
    )
    return ReaLMTrainer(
        builder=builder,
        shared_prefix=builder.config.train.shared_prefix,
        grader=grader,
        keeper=keeper,
        transfer=transfer,
        model=start,
        reward_funcs=grader.reward_functions(),
        args=arguments,
        train_dataset=Dataset.from_dict({"problem_id": row_order(builder, arguments)}),
        processing_class=tokenizer,
        callbacks=[keeper, Journal(run.path("fade.jsonl"), keeper)],
        peft_config=lora_config(builder.config.train.lora),
    )


def grpo_arguments(config: Config, work: Path, *, num_problems: int) -> GRPOConfig:
    """Return TRL's arguments: the user's `grpo:` section over our presets, and what the method itself requires.

    The number of steps is always explicit, since the fade needs to know the end. Checkpoints fall on the start of a
    generation: elsewhere a resumed run would sample anew in the middle of one.
    """
    settings, fade = config.train.grpo, config.train.fade
    presets = {"logging_steps": 1, "seed": config.seed}
    required = {
        "output_dir": str(work),
        "remove_unused_columns": False,
        "shuffle_dataset": False,
        "reward_weights": reward_weights(config.train.reward),
    }
    try:
        arguments = make_arguments(
            GRPOConfig, "train.grpo", settings, presets=presets, required=required
        )
    except ConfigError as error:
        if "divisible by num_generations" not in str(error):
            raise
        raise ConfigError(
            f"{error} A generation has per_device_train_batch_size x gradient_accumulation_steps x processes completions, "
            "num_generations for each prompt. Try a multiple of num_generations as per_device_train_batch_size."
        ) from None
    if fade.mode == "in_group" and arguments.use_vllm and arguments.vllm_mode == "server":
        raise ConfigError(
            "train.fade.mode: found in_group with train.grpo.vllm_mode: server, which sends one prompt per group, while in_group "
            "shows routes to some of its copies only. Allowed with a server: routes, chance, both. Or set vllm_mode: colocate."
        )
    if fade.transfer and config.prompt.think_end:
        raise ConfigError(
            f"train.fade.transfer: found {fade.transfer:g} with prompt.think_end. What a model thinks in private over routes "
            "cannot be credited to a prompt without them, and without it the model would learn not to think. Set it to 0."
        )
    if arguments.max_steps <= 0:
        generations = arguments.num_train_epochs * num_problems / prompts_per_generation(arguments)
        arguments.max_steps = max(1, math.ceil(generations * _steps_per_generation(arguments)))
    window = max(1, round(_steps_per_generation(arguments)))
    if "save_steps" not in settings:
        arguments.save_steps = math.ceil(arguments.max_steps / 20 / window) * window
    every = (
        arguments.save_steps
        if arguments.save_steps >= 1
        else math.ceil(arguments.max_steps * arguments.save_steps)
    )
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


def num_rollouts(arguments: GRPOConfig) -> int:
    """Return how many completions the whole training samples."""
    return (
        math.ceil(arguments.max_steps / _steps_per_generation(arguments))
        * arguments.generation_batch_size
    )


def budget(trainer: ReaLMTrainer) -> dict[str, int]:
    """Return what the training sampled and learned from, for the manifest; tokens are those of the completions."""
    lengths = [
        row["completions/mean_length"]
        for row in trainer.state.log_history
        if "completions/mean_length" in row
    ]
    rollouts = num_rollouts(trainer.args)
    tokens = round(rollouts * sum(lengths) / len(lengths)) if lengths else 0
    return {"rollouts": rollouts, "trained_completions": rollouts, "trained_tokens": tokens}


def _steps_per_generation(arguments: GRPOConfig) -> float:
    """Return how many optimizer steps one generation lasts; below 1 where one step takes several generations."""
    return (
        arguments.steps_per_generation
        * arguments.num_iterations
        / arguments.gradient_accumulation_steps
    )


def row_order(builder: RowBuilder, arguments: GRPOConfig) -> list[str]:
    """Return the problem of every row of the whole training, epoch after epoch, each shuffled by itself.

    Laid out in full, so that TRL makes one pass over it without shuffling and a resumed run meets the same problems. Where
    one optimizer step takes several generations, its prompts stand in order of length: TRL pads a generation to its
    longest prompt, and guided and unguided ones of the same step differ a lot.
    """
    lasts, per_generation = _steps_per_generation(arguments), prompts_per_generation(arguments)
    problem_ids, wanted = (
        list(builder.problems),
        math.ceil(arguments.max_steps / lasts) * per_generation,
    )
    order: list[str] = []
    for epoch in range(math.ceil(wanted / len(problem_ids))):
        order += random.Random(f"{builder.config.seed}|{epoch}").sample(
            problem_ids, len(problem_ids)
        )
    if lasts >= 1:
        return order[:wanted]
    per_step = round(per_generation / lasts)
    steps = [order[step * per_step : (step + 1) * per_step] for step in range(arguments.max_steps)]
    return [
        problem_id
        for step, chunk in enumerate(steps)
        for problem_id in sorted(
            chunk, key=partial(builder.size, step=step, progress=step / arguments.max_steps)
        )
    ]


def report_headroom(
    policy: Policy,
    problems: Sequence[Problem],
    domain: Domain,
    config: Config,
    run: Run,
    *,
    new_tokens: int,
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


def _card(config: Config, run: Run, trainer: ReaLMTrainer, num_problems: int) -> str:
    fade: Mapping[str, Any] = config.train.fade.model_dump()
    arguments = trainer.args
    completions = (
        arguments.per_device_train_batch_size
        * arguments.gradient_accumulation_steps
        * arguments.world_size
    )
    text = [
        f"Trained from `{config.model}` by ReaLM (arXiv 2508.12387, the project's own reading): reinforcement learning with",
        "multi-route process verification, the routes fading out of the prompt until the model answers alone.",
        "",
        f"- run: `{run.folder.name}`, recipe `{config.recipe}`, seed {config.seed}",
        f"- {trainer.state.global_step} steps on {num_problems} problems, {completions} completions per step",
        f"- fade: {', '.join(f'{name} {value}' for name, value in fade.items())}",
    ]
    return model_card(title="model", base_model=config.model, text=text)
