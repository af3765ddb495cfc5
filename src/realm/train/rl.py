"""Reinforcement learning with routes that fade out: `ReaLMTrainer` and the stage `train`.

The trainer is TRL's GRPO (Shao et al. 2024, arXiv 2402.03300); this file adds only the prompts that
change from step to step.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset

from realm.checkpoint import check_model, find_context_length, require_length
from realm.core.errors import ConfigError, DataError
from realm.core.jsonl import read_problems, read_routes
from realm.core.records import Problem, RouteSet
from realm.policy import Policy
from realm.prefix import PrefixSharingError
from realm.prefix.trainer import SharedPrefixTrainer
from realm.scale.server import check_vllm
from realm.train.arguments import (
    check_lora,
    count_rollouts,
    make_grpo_arguments,
    make_lora_config,
)
from realm.train.callbacks import (
    FadeLogger,
    TrainingState,
    drop_rows_after,
    find_last_checkpoint,
    find_step,
)
from realm.train.grader import Grader, load_terms
from realm.train.headroom import report_forecast
from realm.train.rows import RowBuilder, order_rows, require_room, require_routes
from realm.train.transfer import Transfer
from realm.train.trl import (
    encode_prompts,
    find_student_tags,
    save_policy,
    train_to_end,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from transformers import PreTrainedTokenizerBase
    from trl import GRPOConfig

    from realm.config.root import Config
    from realm.run import Run

ROLLOUTS = "rollouts/samples.jsonl"


class ReaLMTrainer(SharedPrefixTrainer):
    """GRPO whose prompts are written when completions are generated, in evaluation too.

    So no prompt is ever out of date, and the reward terms see what was shown. Afterwards the
    training state observes the outcomes, and `transfer`, if used, adds its loss to TRL's.
    """

    def __init__(
        self,
        *args: Any,
        builder: RowBuilder,
        grader: Grader,
        training_state: TrainingState,
        transfer: Transfer | None = None,
        **kwargs: Any,
    ) -> None:
        self._builder = builder
        self._grader = grader
        self._training_state = training_state
        self._transfer = transfer
        super().__init__(*args, **kwargs)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        rows = self._write_rows(inputs)
        batch = super()._generate_and_score_completions(rows)
        if not self.model.training:
            return batch
        self._training_state.observe(self._grader.outcomes)
        if self._transfer is not None:
            for name, value in self._transfer.collect(self._list_rollouts(rows, batch)).items():
                # TRL logs the mean of what was appended since its last log.
                self._metrics["train"][name].append(value)
        return batch

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if self._transfer is None or not self.model.training:
            return loss
        return loss + self._transfer.next_loss(model, self.accelerator.device)

    def _write_rows(self, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the rows with this step's prompts.

        TRL places the copies of a row side by side, across processes in the order of their index.
        """
        step, size = self.state.global_step, self.num_generations
        progress = step / max(1, self.state.max_steps)
        in_group = self.model.training and self._builder.config.train.fade.mode == "in_group"
        num_copies = size if in_group else 1
        offset = self.accelerator.process_index * len(inputs)
        keys = [
            (row["problem_id"], (offset + place) % num_copies) for place, row in enumerate(inputs)
        ]
        # Each different prompt once: the copies of a row share it.
        built = {
            (problem_id, copy): self._builder.build_row(
                problem_id, step, progress, copy=copy, num_copies=num_copies
            )
            for problem_id, copy in set(keys)
        }
        rows = [{**row, **built[key]} for row, key in zip(inputs, keys, strict=True)]
        if self.model.training:
            # GRPO compares completions of one prompt: the copies must be byte-identical.
            shared = "problem_id" if in_group else "prompt"
            for place, row in enumerate(rows):
                # The first copy in this process: the group may begin in the process before it.
                first = rows[max(0, place - (offset + place) % size)]
                assert row[shared] == first[shared], "the copies of a prompt differ"
        return rows

    def _list_rollouts(
        self, rows: Sequence[dict[str, Any]], batch: Mapping[str, Any]
    ) -> list[tuple[Any, ...]]:
        """Return (problem id, graded completion, its token ids) for each row."""
        completions = [
            ids[mask.bool()].tolist()
            for ids, mask in zip(batch["completion_ids"], batch["completion_mask"], strict=True)
        ]
        problem_ids = [row["problem_id"] for row in rows]
        return list(zip(problem_ids, self._grader.graded, completions, strict=True))


def run_train(run: Run) -> None:
    """Write RUN/model, headroom.json, fade.jsonl and rollouts/ from the problems and the routes."""
    config = run.config
    start = find_start(run)
    problems = select_rl_problems(run)
    if not problems:
        raise DataError(
            f"{run.path('problems.jsonl')}: no problem of the split train is left with "
            f"train.skip: {config.train.skip}, so there is nothing to train on."
        )
    terms = load_terms(config, run.reward_terms)
    arguments = make_grpo_arguments(
        config, run.work("train"), num_problems=len(problems), terms=terms
    )
    think_end = config.prompt.think_end
    # The tag that ends private thinking may be a special token, which decoding drops.
    policy = Policy(start, keep=[think_end] if think_end else [])
    tokenizer = policy.tokenizer
    if think_end:
        find_student_tags(tokenizer, config)  # raises what would leave every answer unread
    routes = read_routes(run.path("routes.jsonl"))
    builder = RowBuilder(problems, routes, run.domain.verifier, config, tokenizer)
    require_routes(builder, run)
    new_tokens = arguments.max_completion_length
    assert new_tokens  # TRL declares as optional what its defaults set
    # First what fails at once, then the headroom, which takes minutes.
    require_room(builder, start, find_context_length(policy.model.config), new_tokens)
    rollouts = count_rollouts(arguments)
    report_forecast(policy, problems, run, rollouts=rollouts, new_tokens=new_tokens)
    grader = Grader(
        run.domain.verifier, config, terms, read=policy.read, samples_path=run.path(ROLLOUTS)
    )
    # The trainer loads the model again: two copies may not fit into memory.
    del policy.model
    gc.collect()
    torch.cuda.empty_cache()
    with _explain_sharing():
        trainer = make_trainer(start, arguments, builder, grader, tokenizer, run)
        train_to_end(trainer, "train")
    run.record_figures(count_budget(trainer))
    save_policy(trainer, tokenizer, run, "model", _write_card_text(trainer, config, len(problems)))


@contextmanager
def _explain_sharing() -> Iterator[None]:
    """Turn what only training can find out about shared prompts into a message for the user."""
    try:
        yield
    except PrefixSharingError as error:
        raise ConfigError(
            f"train.shared_prefix: found on, but prompts cannot be shared: {error}. "
            "Try auto or off."
        ) from error


def check_train(run: Run) -> None:
    """Raise the user's mistakes in the settings of this stage, before any stage has spent time."""
    config = run.config
    terms = load_terms(config, run.reward_terms)
    # There is no data yet. The number only sets how long training lasts.
    num_problems = config.train.problems or 1
    arguments = make_grpo_arguments(config, Path("unused"), num_problems=num_problems, terms=terms)
    check_vllm(arguments, config.resolve_model())
    model = check_model(config.resolve_model(), config.prompt.system)
    require_length("train.grpo.max_completion_length", arguments.max_completion_length, model)
    check_lora(config.train.lora, model)


def find_start(run: Run) -> str:
    """Return the model that reinforcement learning starts from: a folder or a hub id."""
    if run.config.recipe == "r1":
        return str(run.path("distilled"))
    return run.config.resolve_model()


def select_rl_problems(run: Run) -> list[Problem]:
    """Return the problems that reinforcement learning uses."""
    problems = read_problems(run.path("problems.jsonl"))
    train = [problem for problem in problems if problem.split == "train"]
    return train[run.config.train.skip :][: run.config.train.problems]


def make_trainer(
    start: str,
    arguments: GRPOConfig,
    builder: RowBuilder,
    grader: Grader,
    tokenizer: PreTrainedTokenizerBase,
    run: Run,
) -> ReaLMTrainer:
    """Return the trainer; fade.jsonl and the rollouts are cut to the step where it continues."""
    train = builder.config.train
    checkpoint = find_last_checkpoint(Path(str(arguments.output_dir)))
    # What was logged after the checkpoint will be logged again.
    if arguments.process_index == 0:
        for name in ("fade.jsonl", ROLLOUTS):
            drop_rows_after(run.path(name), find_step(checkpoint) if checkpoint else 0)
    transfer = _make_transfer(arguments, builder, grader) if train.fade.transfer else None
    training_state = TrainingState(builder.gate)
    if checkpoint:
        training_state.load(checkpoint)
    return ReaLMTrainer(
        builder=builder,
        shared_prefix=train.shared_prefix,
        grader=grader,
        training_state=training_state,
        transfer=transfer,
        model=start,
        reward_funcs=grader.make_reward_functions(),
        args=arguments,
        # Ids only: the trainer writes the prompt when it is due.
        train_dataset=Dataset.from_dict({"problem_id": order_rows(builder, arguments)}),
        processing_class=tokenizer,
        callbacks=[training_state, FadeLogger(run.path("fade.jsonl"), training_state)],
        peft_config=make_lora_config(train.lora),
    )


def _make_transfer(arguments: GRPOConfig, builder: RowBuilder, grader: Grader) -> Transfer:
    def encode(problem_id: str) -> list[int]:
        prompt = builder.write_prompt(problem_id, RouteSet(problem_id=problem_id))
        return encode_prompts(builder.tokenizer, [prompt])[0]

    return Transfer(
        builder.config.train.fade.transfer,
        read=grader.read,
        encode=encode,
        num_parts=arguments.steps_per_generation or 1,
        # Of an update: TRL's losses are means over it too, and Transformers does not divide again.
        num_completions=arguments.per_device_train_batch_size
        * arguments.gradient_accumulation_steps,
    )


def count_budget(trainer: ReaLMTrainer) -> dict[str, int]:
    """Return what training sampled and learned from, for the manifest, in completion tokens."""
    key = "completions/mean_length"
    lengths = [row[key] for row in trainer.state.log_history if key in row]
    # Each generation has the same number of completions, so the mean of means is the mean.
    rollouts = count_rollouts(trainer.args)
    tokens = round(rollouts * sum(lengths) / len(lengths)) if lengths else 0
    return {"rollouts": rollouts, "trained_completions": rollouts, "trained_tokens": tokens}


def _write_card_text(trainer: ReaLMTrainer, config: Config, num_problems: int) -> list[str]:
    arguments = trainer.args
    completions = (
        arguments.per_device_train_batch_size
        * arguments.gradient_accumulation_steps
        * arguments.world_size
    )
    fade = ", ".join(f"{name} {value}" for name, value in config.train.fade.model_dump().items())
    return [
        f"Trained from `{config.model}` by ReaLM (arXiv 2508.12387, this project's reading of it): "
        "reinforcement learning with multi-route process verification, the routes fading out of "
        "the prompt until the model answers alone.",
        f"- {trainer.state.global_step} steps on {num_problems} problems, "
        f"{completions} completions per step",
        f"- fade: {fade}",
    ]
