"""What both training stages share around TRL: its arguments, the context check, progress, checkpoints, the final folder."""

from __future__ import annotations

import difflib
import json
import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate.utils import is_peft_model
from transformers import (
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from realm.core.errors import ConfigError, ModelError
from realm.core.jsonl import write_text
from realm.core.progress import progress
from realm.core.quiet import quiet_libraries
from realm.policy import make_stop_settings
from realm.prefix.support import find_causal_lm

Arguments = TypeVar("Arguments", bound=TrainingArguments)


def make_arguments(
    kind: type[Arguments],
    where: str,
    settings: dict[str, Any],
    *,
    presets: dict[str, Any],
    required: dict[str, Any],
) -> Arguments:
    """Return TRL's arguments: the user's `settings` win over `presets`; a setting in `required` is the method's own.

    What TRL refuses becomes a `ConfigError` that names the section `where`.
    """
    if taken := sorted(set(settings) & set(required)):
        raise ConfigError(
            f"{where}.{taken[0]}: the method sets it itself (to {required[taken[0]]!r}). Remove it from the config."
        )
    known = {field.name for field in fields(kind) if field.init}
    if unknown := sorted(set(settings) - known):
        near = difflib.get_close_matches(unknown[0], known, n=1)
        raise ConfigError(
            f"{where}.{unknown[0]}: {kind.__name__} of TRL has no such setting. "
            + (f"Did you mean {near[0]}?" if near else "See its documentation.")
        )
    device = (
        {}
        if on_gpu(settings)
        else {"use_cpu": True, "bf16": False, "gradient_checkpointing": False}
    )
    quiet_libraries()
    common = {"report_to": "none", "disable_tqdm": True, "save_total_limit": 2}
    try:
        return kind(**common | device | presets | settings | required)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: {kind.__name__} of TRL refuses it: {error}") from error


def on_gpu(settings: dict[str, Any]) -> bool:
    """Tell whether training with these settings runs on a CUDA device."""
    return torch.cuda.is_available() and not settings.get("use_cpu", False)


def as_trl_prompt(
    tokenizer: PreTrainedTokenizerBase, prompt: str, system: str | None
) -> str | list[dict[str, str]]:
    """Return one prompt as TRL wants it: messages where the tokenizer has a chat template, else plain text, system text first."""
    if tokenizer.chat_template is None:
        return prompt if system is None else f"{system}\n\n{prompt}"
    return [{"role": "system", "content": system}] * (system is not None) + [
        {"role": "user", "content": prompt}
    ]


def encode_prompts(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str | list[dict[str, str]]]
) -> list[list[int]]:
    """Return the token ids that TRL and `Policy` feed the model for each prompt, up to where the completion begins."""
    if not prompts:
        return []
    if isinstance(prompts[0], str):
        return tokenizer(text=list(prompts))["input_ids"]
    return tokenizer.apply_chat_template(
        list(prompts), add_generation_prompt=True, tokenize=True, return_dict=True
    )["input_ids"]


def require_context(
    model: str,
    context: int | None,
    lengths: Sequence[tuple[str, int]],
    *,
    new_tokens: int,
    advice: str,
) -> None:
    """Raise `ModelError` where a row of (problem id, tokens) does not fit `context`, the model's or a setting's."""
    if context is None or not lengths:
        return
    longest_id, longest = max(lengths, key=lambda length: length[1])
    if longest + new_tokens <= context:
        return
    too_long = sum(length + new_tokens > context for _, length in lengths)
    more = f" and {new_tokens} new tokens" if new_tokens else ""
    raise ModelError(
        f"{model}: {too_long} of {len(lengths)} rows do not fit into {context} tokens. The longest, problem {longest_id}, has "
        f"{longest} tokens{more}. Nothing is cut off silently: {advice}"
    )


def context_of(model_config: Any) -> int | None:
    """Return how many tokens the model reads at most; `None` where its config does not say."""
    return getattr(model_config.get_text_config(), "max_position_embeddings", None)


def lora_config(settings: dict[str, Any] | None) -> Any | None:
    """Return PEFT's `LoraConfig` of the section `train.lora`; `None` where there is none."""
    if settings is None:
        return None
    from peft import LoraConfig

    try:
        return LoraConfig(**{"task_type": "CAUSAL_LM"} | settings)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"train.lora: LoraConfig of PEFT refuses it: {error}") from error


def last_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint that was written whole; what a kill tore is removed."""
    whole = []
    for checkpoint in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        try:
            json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            shutil.rmtree(checkpoint, ignore_errors=True)
        else:
            whole.append(checkpoint)
    return max(whole, key=lambda checkpoint: int(checkpoint.name.rsplit("-", 1)[1]), default=None)


def train(trainer: Trainer, description: str, work: Path) -> None:
    """Train to the end, from the last whole checkpoint where there is one, with our progress in place of the trainer's prints."""
    checkpoint = last_checkpoint(work)
    if checkpoint is not None:
        print(f"{description}: continues at step {checkpoint.name.rsplit('-', 1)[1]}")
    bar = _Progress(description)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(bar)
    # Rollouts and the saved model use the same settings as evaluation. A checkpoint's own ones
    # may be such as Transformers refuses to save: a temperature without sampling.
    network = find_causal_lm(trainer.model)
    network.generation_config = make_stop_settings(network, trainer.processing_class)
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    finally:
        bar.close()


def save_policy(
    trainer: Trainer, tokenizer: PreTrainedTokenizerBase, folder: Path, card: str
) -> None:
    """Write a plain Transformers folder: adapters merged, tokenizer, chat template, generation config and model card."""
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    model = trainer.accelerator.unwrap_model(trainer.model)
    if is_peft_model(model):
        model, state = model.merge_and_unload(), None
    else:
        state = trainer.accelerator.get_state_dict(trainer.model)
    if trainer.is_world_process_zero():
        model.save_pretrained(part, state_dict=state)
        tokenizer.save_pretrained(part)
        write_text(part / "README.md", card)
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    trainer.accelerator.wait_for_everyone()


def model_card(*, title: str, base_model: str, text: Sequence[str]) -> str:
    """Return the README.md of a model folder; a hub id as base model goes into the header, a path does not."""
    header = ["---", "library_name: transformers", "pipeline_tag: text-generation"]
    if re.fullmatch(r"[\w.-]+/[\w.-]+", base_model) and not base_model.startswith("."):
        header.append(f"base_model: {base_model}")
    return "\n".join([*header, "---", "", f"# {title}", "", *text, ""])


class _Progress(TrainerCallback):
    """Our progress bar over the trainer's steps."""

    def __init__(self, description: str) -> None:
        self.description = description
        self._bar: AbstractContextManager[Callable[[int], None]] | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self._bar = progress(self.description, state.max_steps)
            self._advance = self._bar.__enter__()
            self._advance(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._bar is not None:
            self._advance(1)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None
