"""A local Transformers model that answers prompts: for evaluation, and for whatever else samples outside training."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jinja2 import TemplateError
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from realm.core.errors import DataError, ModelError
from realm.core.quiet import quiet_libraries
from realm.prefix.rollout import group_rollout
from realm.prefix.stock import stock_rollout

_OUR_TAG = re.compile(r"</?\s*(?:verify|reason|answer|think|route)\b[^<>]*>")


@dataclass(frozen=True, kw_only=True)
class Completion:
    """What the model wrote after one prompt; `num_tokens` counts the stop token when there is one."""

    text: str
    num_tokens: int
    prompt_tokens: int


def load_checkpoint(
    model: str | Path, *, device: str | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return the model and the tokenizer of a checkpoint folder or a hub id, ready to generate.

    float32 on the CPU and bfloat16 on a GPU. Code that comes with a checkpoint is never run. Raises `ModelError`, with
    what to try, for everything that is not a complete causal language model with its tokenizer.
    """
    name, device = str(model), device or ("cuda" if torch.cuda.is_available() else "cpu")
    require_model(name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(_load_failure(name, "its tokenizer", error)) from error
    try:
        network, notes = AutoModelForCausalLM.from_pretrained(
            name,
            dtype=torch.float32 if device == "cpu" else torch.bfloat16,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(_load_failure(name, "its weights", error)) from error
    if missing := sorted(notes["missing_keys"]):
        raise ModelError(
            f"{name}: {len(missing)} weights of the model are not in the checkpoint ({missing[0]}, ...), so that it would answer "
            f"at random. Save the whole model with `save_pretrained`; merge an adapter into its base first."
        )
    if len(tokenizer) > network.get_input_embeddings().num_embeddings:
        raise ModelError(
            f"{name}: the tokenizer knows {len(tokenizer)} tokens and the model "
            f"{network.get_input_embeddings().num_embeddings}. They belong to different models; take both from one."
        )
    return network.to(device).eval(), tokenizer


def require_model(name: str) -> None:
    """Raise `ModelError` where `name` is plainly no model, before its weights are loaded or fetched."""
    _require_model_folder(name)
    quiet_libraries()
    try:
        AutoConfig.from_pretrained(name)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(_load_failure(name, "its config.json", error)) from error


class Policy:
    """A model with its tokenizer: renders prompts and completes them, batch after batch.

    Of the checkpoint's own generation settings only the stop tokens are used, so that all methods decode alike.
    """

    def __init__(
        self, model: str | Path, *, device: str | None = None, keep: Sequence[str] = ()
    ) -> None:
        """Load `model`; the texts in `keep` (an unusual end of thinking) survive decoding even as special tokens."""
        self.name = str(model)
        self.model, self.tokenizer = load_checkpoint(model, device=device)
        stops = self.model.generation_config.eos_token_id
        stops = stops if isinstance(stops, list) else [stops]
        self._stops = sorted(
            {stop for stop in (*stops, self.tokenizer.eos_token_id) if stop is not None}
        )
        pads = (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id, *self._stops, 0)
        self._pad = next(pad for pad in pads if pad is not None)
        self._unspoken = {
            token_id
            for token_id, token in self.tokenizer.added_tokens_decoder.items()
            if token.special
            and not _OUR_TAG.fullmatch(token.content.strip())
            and token.content.strip() not in keep
        }
        self.model.generation_config = GenerationConfig(
            eos_token_id=self._stops or None, pad_token_id=self._pad
        )

    def render(self, prompt: str, system: str | None = None) -> str:
        """Return the whole text that the model completes: the chat template up to the model's turn, where it has one.

        A tokenizer without a template gets the plain text, the system text first.
        """
        if self.tokenizer.chat_template is None:
            return prompt if system is None else f"{system}\n\n{prompt}"
        messages = [] if system is None else [{"role": "system", "content": system}]
        try:
            return self.tokenizer.apply_chat_template(
                [*messages, {"role": "user", "content": prompt}],
                tokenize=False,
                add_generation_prompt=True,
            )
        except TemplateError as error:
            raise ModelError(
                f"{self.name}: its chat template refuses the prompt ({error}). "
                f"Some templates know no system role: set prompt.system to null and say it in the prompt templates."
            ) from error

    def generate(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int,
        batch_tokens: int,
        seed: int,
        temperature: float = 0.0,
        num_samples: int = 1,
        skip: Collection[int] = (),
        on_done: Callable[[list[int], list[Completion]], None] | None = None,
    ) -> list[Completion]:
        """Complete rendered prompts: `num_samples` completions per prompt, one prompt after the other.

        Greedy at temperature 0. `on_done` hears of each finished batch: the indices of its prompts and their
        completions. Prompts whose index is in `skip` are left out; the others come out as they would without `skip`,
        so that what was interrupted can be continued.
        """
        assert num_samples == 1 or temperature > 0, (
            "greedy completions of one prompt are all the same"
        )
        encoded = self._encode(prompts)
        self._require_context(encoded, max_new_tokens)
        finished: dict[int, list[Completion]] = {}
        for batch in _batches(
            [len(ids) for ids in encoded], max_new_tokens, num_samples, batch_tokens
        ):
            wanted = [index for index in batch if index not in skip]
            if not wanted:
                continue
            ids = [encoded[index] for index in batch]
            texts = self._complete(ids, max_new_tokens, temperature, num_samples, (seed, batch[0]))
            per_prompt = {
                index: texts[i * num_samples : (i + 1) * num_samples]
                for i, index in enumerate(batch)
            }
            finished |= {index: per_prompt[index] for index in wanted}
            if on_done is not None:
                on_done(
                    wanted, [completion for index in wanted for completion in per_prompt[index]]
                )
        return [completion for index in sorted(finished) for completion in finished[index]]

    def _encode(self, prompts: Sequence[str]) -> list[list[int]]:
        """Return token ids; a chat template has written its own BOS, a plain text gets the tokenizer's."""
        if not prompts:
            return []
        return self.tokenizer(
            list(prompts), add_special_tokens=self.tokenizer.chat_template is None
        )["input_ids"]

    def _require_context(self, encoded: list[list[int]], max_new_tokens: int) -> None:
        context = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        lengths = [len(ids) for ids in encoded]
        if lengths and min(lengths) == 0:
            raise DataError(
                f"Prompt {lengths.index(0) + 1} of {len(lengths)} is empty. Give every problem a question."
            )
        if context is None or not lengths or max(lengths) + max_new_tokens <= context:
            return
        too_long = sum(length + max_new_tokens > context for length in lengths)
        raise ModelError(
            f"{self.name} reads at most {context} tokens, and {too_long} of {len(lengths)} prompts do not fit: the longest is "
            f"{max(lengths)} tokens, and {max_new_tokens} more are asked for. Lower the new tokens (evaluate.max_new_tokens), "
            f"show fewer or shorter routes (evaluate.routes), or take a model with a longer context."
        )

    @torch.inference_mode()
    def _complete(
        self,
        batch: list[list[int]],
        max_new_tokens: int,
        temperature: float,
        num_samples: int,
        seed: tuple[int, int],
    ) -> list[Completion]:
        sampling = {"do_sample": temperature > 0}
        if temperature > 0:
            sampling |= {"temperature": temperature, "top_k": 0, "top_p": 1.0}
        stop = {
            "max_new_tokens": max_new_tokens,
            "eos_token_id": self._stops or None,
            "pad_token_id": self._pad,
        }
        settings = GenerationConfig(**stop, **sampling)
        with torch.random.fork_rng(
            devices=[self.model.device] if self.model.device.type == "cuda" else []
        ):
            torch.manual_seed(int.from_bytes(hashlib.sha256(repr(seed).encode()).digest()[:8]) >> 1)
            rows = self._continue(batch, num_samples, settings)
        return [
            Completion(
                text=self.read(ids),
                num_tokens=self._length(ids),
                prompt_tokens=len(batch[row // num_samples]),
            )
            for row, ids in enumerate(rows)
        ]

    def _continue(
        self, batch: list[list[int]], num_samples: int, settings: GenerationConfig
    ) -> list[list[int]]:
        """Return the new tokens: on the CPU from one encoding of each prompt, where the model allows it, else by `generate`."""
        if self.model.device.type == "cpu":
            return group_rollout(self.model, batch, num_samples, settings)
        return stock_rollout(
            self.model, [ids for ids in batch for _ in range(num_samples)], settings
        )

    def read(self, ids: list[int]) -> str:
        """Return the text of a completion up to its first stop token, with our tags and without the special tokens."""
        spoken = [
            token_id
            for token_id in ids[: self._length(ids)]
            if token_id not in self._unspoken and token_id not in self._stops
        ]
        return self.tokenizer.decode(
            spoken, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )

    def _length(self, ids: list[int]) -> int:
        return next(
            (place + 1 for place, token_id in enumerate(ids) if token_id in self._stops), len(ids)
        )


def _batches(
    lengths: list[int], max_new_tokens: int, num_samples: int, batch_tokens: int
) -> Iterator[list[int]]:
    """Yield indices in batches of similar length, longest first; rows x (longest + new tokens) stays within the budget.

    A prompt that is over the budget by itself makes a batch of its own.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        if (
            batch
            and (len(batch) + 1) * num_samples * (lengths[batch[0]] + max_new_tokens) > batch_tokens
        ):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _require_model_folder(name: str) -> None:
    """Refuse what is plainly no checkpoint before any library looks at it; what reads like a hub id passes."""
    folder = Path(name)
    if folder.is_dir():
        if (folder / "adapter_config.json").exists() and not (folder / "config.json").exists():
            raise ModelError(
                f"{name} is a PEFT adapter, no whole model. Merge it into its base (`merge_and_unload`) and save that."
            )
        if not (folder / "config.json").exists():
            raise ModelError(
                f"{name} is no Transformers checkpoint: it has no config.json. "
                f"Give a folder that `save_pretrained` wrote, or a hub id."
            )
    elif folder.exists() or not re.fullmatch(r"[\w-][\w.-]*(/[\w.-]+)?", name):
        raise ModelError(
            f"{name}: no such model folder. "
            f"Give a folder that `save_pretrained` wrote, or a hub id such as Qwen/Qwen2.5-1.5B-Instruct."
        )


def _load_failure(name: str, part: str, error: Exception) -> str:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if Path(name).is_dir():
        return f"{name}: {part} cannot be loaded ({reason}). Give a whole folder of a causal language model, tokenizer included."
    return (
        f"{name}: {part} cannot be loaded ({reason}). It is no folder here, and as a hub id it was not found or not reached: "
        f"check the spelling and the network; a gated model needs HF_TOKEN in the environment; without a network give a folder."
    )
