"""What the trainings share around TRL: prompts, tokens, context check, loss, resume and save."""

from __future__ import annotations

import inspect
import logging
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import is_peft_model
from datasets import Dataset
from peft import get_peft_model
from torch.nn.functional import cross_entropy
from transformers import (
    AutoConfig,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
)
from trl import SFTTrainer

from realm.checkpoint import copy_processor, find_model_class, without_zero3
from realm.core.errors import ModelError
from realm.core.folder import remove_path
from realm.core.jsonl import write_text
from realm.method.prompt import break_control_tokens
from realm.method.thoughts import ThinkTags, find_think_tags
from realm.policy import make_stop_settings, require_plain_templates
from realm.prefix.support import find_causal_lm
from realm.train.callbacks import (
    GradientCheck,
    LaunchNote,
    ProgressBar,
    StopIfTrained,
    TrainedError,
    find_last_checkpoint,
    find_step,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from realm.config.root import Config
    from realm.config.training import PromptConfig
    from realm.run import Run

TrlPrompt = str | list[dict[str, str]]
"""A prompt as TRL takes it: text, or messages of a chat."""

logger = logging.getLogger(__name__)

# Stands for the answer in a rendered chat; any text that no template writes will do.
_SLOT = "the-completion-goes-here"


def as_trl_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str, system: str | None) -> TrlPrompt:
    """Return one prompt as messages, or as plain text if the tokenizer has no chat template."""
    prompt = break_control_tokens(prompt, tokenizer)
    if tokenizer.chat_template is None:
        return prompt if system is None else f"{system}\n\n{prompt}"
    opening = [] if system is None else [{"role": "system", "content": system}]
    return [*opening, {"role": "user", "content": prompt}]


def encode_prompts(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[TrlPrompt]
) -> list[list[int]]:
    """Return the token ids that TRL and `Policy` give the model before the completion."""
    if not prompts:
        return []
    encoded: Any
    if isinstance(prompts[0], str):
        encoded = tokenizer(text=list(prompts))
    else:
        encoded = tokenizer.apply_chat_template(
            list(prompts),  # type: ignore[arg-type]  # all are messages
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
        )
    return encoded["input_ids"]


def tokenize_rows(
    rows: Sequence[Mapping[str, Any]],
    tokenizer: PreTrainedTokenizerBase,
    *,
    prompts: PromptConfig,
    closing: str,
) -> Dataset:
    """Return `input_ids` and `labels` per row: the prompt without loss, then completion and stop.

    This is not left to TRL, because chat templates of reasoning models render an answered turn
    differently from an open one: TRL's rows would teach a context that never occurs in use. Control
    tokens in the texts are broken up, but for those of the think tags.
    """
    opened = encode_prompts(
        tokenizer, [as_trl_prompt(tokenizer, row["prompt"], prompts.system) for row in rows]
    )
    keep = (prompts.think_start, prompts.think_end)
    texts = [break_control_tokens(row["completion"], tokenizer, keep=keep) for row in rows]
    texts = [text + closing for text in texts]
    completions = tokenizer(texts, add_special_tokens=False)["input_ids"]
    pairs = list(zip(opened, completions, strict=True))
    return Dataset.from_dict(
        {
            "input_ids": [prompt + completion for prompt, completion in pairs],
            "labels": [[-100] * len(prompt) + completion for prompt, completion in pairs],
        }
    )


def find_turn_end(model: Any, tokenizer: PreTrainedTokenizerBase, config: Config) -> str:
    """Return what ends every taught completion.

    It is the end of the turn as the chat template has it (Gemma's has one of its own), else the
    EOS token.
    """
    require_plain_templates(tokenizer, (config.prompt.autonomous, config.prompt.assisted))
    prompt = as_trl_prompt(tokenizer, "question", config.prompt.system)
    closing = str(tokenizer.eos_token or "")
    if not isinstance(prompt, str):
        answered = [*prompt, {"role": "assistant", "content": _SLOT}]
        tail = render_prompt_text(tokenizer, answered, is_open=False).rpartition(_SLOT)[2]
        stops = _find_stop_tokens(model.generation_config.eos_token_id, tokenizer)
        ends = [tail.index(stop) + len(stop) for stop in stops if stop in tail]
        # Up to the first stop token: what templates write after it is never generated.
        closing = tail[: min(ends)] if ends else closing
    if not closing:
        raise ModelError(
            f"{config.model}: its tokenizer has no EOS token, so a student would never learn to "
            "stop. Set one and save it again."
        )
    return closing


def find_student_tags(tokenizer: PreTrainedTokenizerBase, config: Config) -> ThinkTags | None:
    """Return what taught completions write around the private thoughts of the student, if any."""
    prompt = as_trl_prompt(tokenizer, "question", config.prompt.system)
    rendered = render_prompt_text(tokenizer, prompt)
    return find_think_tags(rendered, config.prompt.think_start, config.prompt.think_end)


def render_prompt_text(
    tokenizer: PreTrainedTokenizerBase, prompt: TrlPrompt, *, is_open: bool = True
) -> str:
    """Return the text of a prompt; an open one ends where the completion begins."""
    if isinstance(prompt, str):
        return prompt
    return str(tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=is_open))


def _find_stop_tokens(
    eos_token_id: int | list[int] | None, tokenizer: PreTrainedTokenizerBase
) -> list[str]:
    """Return the texts of the tokens that end a generation."""
    ids = eos_token_id if isinstance(eos_token_id, list) else [eos_token_id]
    texts = [tokenizer.convert_ids_to_tokens(token_id) for token_id in ids if token_id is not None]
    return [text for text in [tokenizer.eos_token, *texts] if text]


def require_context(
    model: str,
    context: int | None,
    lengths: Sequence[tuple[str, int]],
    *,
    new_tokens: int = 0,
    advice: str,
) -> None:
    """Raise `ModelError` if a row does not fit the context of the model or a setting.

    Args:
        model: What sets the limit: a model or a setting.
        context: The limit in tokens; `None` if there is none.
        lengths: (problem id, number of tokens) per row.
        new_tokens: Tokens that are generated after a row.
        advice: What the user can do.
    """
    if context is None or not lengths:
        return
    longest_id, longest = max(lengths, key=lambda length: length[1])
    if longest + new_tokens <= context:
        return
    num_too_long = sum(length + new_tokens > context for _, length in lengths)
    more = f" and {new_tokens} new tokens" if new_tokens else ""
    raise ModelError(
        f"{model}: {num_too_long} of {len(lengths)} rows do not fit into {context} tokens. The "
        f"longest, problem {longest_id}, has {longest} tokens{more}. Nothing is cut off silently: "
        f"{advice}"
    )


def train_to_end(trainer: Any, description: str) -> None:
    """Train to the last step, from the newest complete checkpoint if there is one."""
    checkpoint = find_last_checkpoint(Path(str(trainer.args.output_dir)))
    # Rollouts and the saved model use the settings of evaluation. Those of a checkpoint may be such
    # as Transformers refuses to save: a temperature without sampling.
    model = find_causal_lm(trainer.model)
    model.generation_config = make_stop_settings(model, trainer.processing_class)
    if checkpoint is not None:
        logger.info("%s: continues at step %d", description, find_step(checkpoint))
    trainer.remove_callback(PrinterCallback)  # it prints a dict at each logged step
    arguments = trainer.args
    rows = arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps
    note = LaunchNote(rows * arguments.world_size)
    for callback in (note, GradientCheck(), StopIfTrained()):
        trainer.add_callback(callback)
    with ExitStack() as stack, _explain_divergence(trainer, description), suppress(TrainedError):
        # The bar closes with the block, also when training fails.
        trainer.add_callback(ProgressBar(description, stack))
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)


@contextmanager
def _explain_divergence(trainer: Any, description: str) -> Iterator[None]:
    """Turn NaN in training or in its rollouts into a `ModelError` that names stage and step."""
    try:
        yield
    except (FloatingPointError, RuntimeError) as error:
        # Rollouts by Transformers or TRL meet NaN when torch draws the next token.
        if isinstance(error, RuntimeError) and "probability tensor contains" not in str(error):
            raise
        raise ModelError(
            f"{description}, step {trainer.state.global_step + 1}: {error}. Training diverged, or "
            f"the weights of {trainer.model.config._name_or_path} are damaged. Try a lower "
            "learning_rate (in distill.sft, distill.sdft or train.grpo)."
        ) from error


class TaughtLossTrainer(SFTTrainer):
    """TRL's SFTTrainer with a loss that scores the taught positions only, on a CPU.

    There TRL scores every position, prompts included, and does it twice. With the vocabulary of a
    real model that is most of a step: SmolLM2-135M trains 1.5 times as fast with this.
    """

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Return the mean loss per taught token; on a GPU it is TRL's own."""
        # On the class: TRL wraps the method of the instance.
        known = inspect.signature(type(find_causal_lm(model)).forward).parameters
        is_on_cpu = self.accelerator.device.type == "cpu"
        is_packed = "position_ids" in inputs  # several texts in one row, told apart by them
        if return_outputs or not is_on_cpu or is_packed or "logits_to_keep" not in known:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        targets = inputs["labels"][:, 1:]  # (batch, seq - 1): position t predicts token t + 1
        # The positions that any row of the batch is taught at: the rows share them.
        places = (targets != -100).any(dim=0).nonzero()[:, 0]
        # Rows are padded on the right, where no taught token looks. Without the mask attention
        # skips what is in the future, and forward and backward take a fifth less.
        logits = model(input_ids=inputs["input_ids"], logits_to_keep=places).logits
        taught = targets[:, places].flatten()
        total = cross_entropy(logits.float().flatten(0, 1), taught, reduction="sum")
        if num_items_in_batch is None:
            return total / (taught != -100).sum()
        # The count is that of all processes, whose gradients are averaged, as in TRL.
        is_summed = self.args.average_tokens_across_devices
        return total / num_items_in_batch * (self.accelerator.num_processes if is_summed else 1)


def save_policy(
    trainer: Trainer, tokenizer: PreTrainedTokenizerBase, run: Run, output: str, text: Sequence[str]
) -> None:
    """Write RUN/`output`, a plain Transformers folder: weights, tokenizer and model card.

    Sharded weights are gathered first. Adapters are then merged into the weights, and kept in its
    folder `adapter`. The weights have the data type of the model that training began with.

    Args:
        trainer: Holds the trained model.
        tokenizer: Saved with its chat template.
        run: The run; its config and name go into the model card.
        output: Name of the folder, and title of the card.
        text: Paragraphs of the card.
    """
    folder = run.path(output)
    # Written beside its place and renamed, so that a kill leaves the old folder or the new one.
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    model = _gather_model(trainer)
    if trainer.is_world_process_zero():
        # TRL trains in float32; saved so, a bfloat16 model would take twice the space.
        start = AutoConfig.from_pretrained(model.config._name_or_path, trust_remote_code=False)
        if is_peft_model(model):
            model.save_pretrained(part / "adapter")
            # PEFT's own card is a form with nothing filled in.
            (part / "adapter/README.md").unlink(missing_ok=True)
            model = model.merge_and_unload()
        model.to(start.dtype or model.dtype).save_pretrained(part)
        tokenizer.save_pretrained(part)
        copy_processor(start, part)
        write_text(part / "README.md", _write_card(run, output, text))
        remove_path(folder)
        part.rename(folder)
    trainer.accelerator.wait_for_everyone()


def _gather_model(trainer: Trainer) -> Any:
    """Return the trained model; where its weights are sharded, a whole one in the main process."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    if not (trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled):
        return model
    # Every process takes part in gathering. ZeRO-3 gathers through the wrapper of DeepSpeed.
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if not trainer.is_world_process_zero():
        return model
    inner = find_causal_lm(model)
    with torch.device("meta"), without_zero3():
        whole: Any = find_model_class(inner.config).from_config(
            inner.config, trust_remote_code=False
        )
        if is_peft_model(model):
            whole = get_peft_model(whole, model.peft_config["default"])
    whole.load_state_dict(state, assign=True)
    find_causal_lm(whole).tie_weights()
    find_causal_lm(whole).generation_config = inner.generation_config
    return whole


def _write_card(run: Run, title: str, text: Sequence[str]) -> str:
    """Return the README.md of a model folder. A hub id goes into its header; a path does not."""
    config = run.config
    header = ["---", "library_name: transformers", "pipeline_tag: text-generation"]
    # OWNER/NAME, as in `checkpoint.require_model`.
    if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", config.model or ""):
        header.append(f"base_model: {config.model}")
    facts = f"- run: `{run.folder.name}`, recipe `{config.recipe}`, seed {config.seed}"
    opening, *lines = text
    return "\n".join([*header, "---", "", f"# {title}", "", opening, "", facts, *lines, ""])
