"""A local Transformers model that answers prompts: for evaluation and all sampling outside RL."""

from __future__ import annotations

import copy
import hashlib
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from realm.checkpoint import load_checkpoint, render_chat, without_zero3
from realm.core.errors import DataError, ModelError
from realm.core.ranks import gather_objects, take_share
from realm.method.prompt import OUR_TAG, break_control_tokens
from realm.prefix import PrefixSharingError, sample_completions
from realm.prefix.graphs import can_use_graphs
from realm.prefix.sampler import cut_after_stop, require_numbers

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Completion:
    """What the model wrote after one prompt. `num_tokens` counts the stop token if there is one.

    Completion(text="<answer>4</answer>", num_tokens=6, prompt_tokens=31)
    """

    text: str
    num_tokens: int
    prompt_tokens: int


def make_stop_settings(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> GenerationConfig:
    """Return the generation settings of evaluation: the stop tokens, and no checkpoint's sampling.

    So all methods decode alike. Saved models get them too.
    """
    own = model.generation_config.eos_token_id
    stops = {*(own if isinstance(own, list) else [own]), tokenizer.eos_token_id} - {None}
    # Padding is masked, so any token serves where the tokenizer names none.
    pads = (tokenizer.pad_token_id, tokenizer.eos_token_id, *sorted(stops), 0)
    return GenerationConfig(
        eos_token_id=sorted(stops) or None,
        pad_token_id=next(pad for pad in pads if pad is not None),
        bos_token_id=tokenizer.bos_token_id,
    )


def require_plain_templates(
    tokenizer: PreTrainedTokenizerBase, templates: Sequence[str | None]
) -> None:
    """Raise `ModelError` if a prompt template holds a control token, which would be broken up."""
    for template in filter(None, templates):
        if break_control_tokens(template, tokenizer) != template:
            raise ModelError(
                f"prompt: the template {template[:80]!r} holds a control token of the tokenizer, "
                "which would be broken up as in a question. Give the tokenizer a chat template."
            )


class Policy:
    """A model with its tokenizer: renders prompts and completes them in batches."""

    def __init__(self, model: str | Path, *, keep: Sequence[str] = ()) -> None:
        """Load `model`. Texts in `keep` survive decoding even if they are special tokens."""
        self.name = str(model)
        self.model, self.tokenizer = self._load(model)
        self.model.generation_config = make_stop_settings(self.model, self.tokenizer)
        self._stops = set(self.model.generation_config.eos_token_id or [])
        # Elsewhere `generate` answers: outside training there is little to share (decision 6).
        self._shares_prompts = self.model.device.type == "cpu" or can_use_graphs(self.model)
        self._unspoken = {
            token_id
            for token_id, token in self.tokenizer.added_tokens_decoder.items()
            if token.special
            and not OUR_TAG.fullmatch(token.content.strip())  # decoding would drop it
            and token.content.strip() not in keep
        }

    def _load(self, model: str | Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        return load_checkpoint(model)

    def render(self, prompt: str, system: str | None = None) -> str:
        """Return the text that the model completes, from the chat template if there is one."""
        prompt = break_control_tokens(prompt, self.tokenizer)
        if self.tokenizer.chat_template is None:
            return prompt if system is None else f"{system}\n\n{prompt}"
        messages = [] if system is None else [{"role": "system", "content": system}]
        messages.append({"role": "user", "content": prompt})
        return render_chat(self.tokenizer, messages, self.name)

    def generate(  # noqa: PLR0913
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int,
        batch_tokens: int,
        seed: int,
        temperature: float = 0.0,
        num_samples: int = 1,
        skip: Collection[int] = (),
        is_shared: bool = False,
        on_done: Callable[[list[int], list[Completion]], None] | None = None,
    ) -> list[Completion]:
        """Return `num_samples` completions of each rendered prompt, prompt by prompt.

        Temperature 0 is greedy. A batch has at most `batch_tokens` rows times tokens. `on_done` is
        called after each with its prompts' indices and their completions. Prompts whose indices
        are in `skip` are left out. The others come out as without `skip`, so that what was
        interrupted can be continued. With `is_shared` all processes call this, each completes a
        share of the batches, and all return the completions that one process would.
        """
        assert num_samples == 1 or temperature > 0, "greedy completions of a prompt are all alike"
        encoded = self._encode(prompts)
        self._require_context(encoded, max_new_tokens)
        settings = copy.copy(self.model.generation_config)
        settings.update(max_new_tokens=max_new_tokens, do_sample=temperature > 0)
        if temperature > 0:
            # Unset, top_k would be 50: samples must come from the distribution that RL trains.
            settings.update(temperature=temperature, top_k=0, top_p=1.0)
        finished: dict[int, list[Completion]] = {}
        lengths = [(len(ids) + max_new_tokens) * num_samples for ids in encoded]
        batches = list(_split_batches(lengths, batch_tokens))
        # Whole batches, since the draws of a prompt depend on its batch.
        for batch in take_share(batches) if is_shared else batches:
            wanted = [index for index in batch if index not in skip]
            if not wanted:
                continue
            # Skipped prompts of a batch are completed too: the others' draws depend on them.
            ids = [encoded[index] for index in batch]
            found = iter(self._complete(ids, num_samples, settings, (seed, batch[0])))
            done = {index: [next(found) for _ in range(num_samples)] for index in batch}
            finished |= {index: done[index] for index in wanted}
            if on_done:
                on_done(wanted, [one for index in wanted for one in done[index]])
        if is_shared:
            finished = {i: found for part in gather_objects(finished) for i, found in part.items()}
        return [completion for index in sorted(finished) for completion in finished[index]]

    def read(self, ids: list[int]) -> str:
        """Return the text of a completion up to its stop token, our tags but no special tokens."""
        # A stop token counts as generated, and is no part of the text.
        hidden = self._unspoken | self._stops
        spoken = [token for token in cut_after_stop(ids, self._stops) if token not in hidden]
        settings = {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}
        return str(self.tokenizer.decode(spoken, **settings))

    def _encode(self, prompts: Sequence[str]) -> list[list[int]]:
        if not prompts:
            return []
        # A chat template has written its own BOS. A plain text gets the tokenizer's.
        is_plain = self.tokenizer.chat_template is None
        return self.tokenizer(list(prompts), add_special_tokens=is_plain)["input_ids"]

    def _require_context(self, encoded: list[list[int]], max_new_tokens: int) -> None:
        lengths = [len(ids) for ids in encoded]
        if 0 in lengths:
            place = f"{lengths.index(0) + 1} of {len(lengths)}"
            raise DataError(f"Prompt {place} is empty. Give every problem a question.")
        context = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        num_long = sum(context is not None and n + max_new_tokens > context for n in lengths)
        if num_long:
            raise ModelError(
                f"{self.name} reads at most {context} tokens, and {num_long} of {len(lengths)} "
                f"prompts do not fit: the longest is {max(lengths)} tokens, and {max_new_tokens} "
                "more are asked for. Lower evaluate.max_new_tokens, show fewer or shorter routes "
                "(evaluate.routes), or take a model with a longer context."
            )

    @without_zero3()
    @torch.inference_mode()
    def _complete(
        self, batch: list[list[int]], num_samples: int, settings: GenerationConfig, seed: object
    ) -> list[Completion]:
        devices = [self.model.device] if self.model.device.type == "cuda" else []
        # Sampling leaves the random state of the caller alone.
        with torch.random.fork_rng(devices):
            # Any two seeds give unrelated draws, neighbouring ones too. Torch takes 63 bits.
            digest = hashlib.sha256(repr(seed).encode()).digest()
            torch.manual_seed(int.from_bytes(digest[:8]) >> 1)
            try:
                rows = self._sample(batch, num_samples, settings)
            except FloatingPointError as error:
                raise ModelError(
                    f"{self.name}: {error}. Its weights are damaged, or training diverged."
                ) from error
        return [
            Completion(
                text=self.read(ids),
                num_tokens=len(cut_after_stop(ids, self._stops)),
                prompt_tokens=len(batch[row // num_samples]),
            )
            for row, ids in enumerate(rows)
        ]

    def _sample(
        self, batch: list[list[int]], num_samples: int, settings: GenerationConfig
    ) -> list[list[int]]:
        """Return new tokens, from one encoding of each prompt where the model allows it."""
        if self._shares_prompts:
            try:
                return sample_completions(self.model, batch, [num_samples] * len(batch), settings)
            except PrefixSharingError as reason:
                self._shares_prompts = False
                logger.warning("%s encodes each prompt once per sample: %s.", self.name, reason)
        rows = [ids for ids in batch for _ in range(num_samples)]
        return generate_unshared(self.model, rows, settings)


def generate_unshared(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], settings: GenerationConfig
) -> list[list[int]]:
    """Return one completion for each prompt by Transformers' `generate`."""
    width = max(map(len, prompts))
    # Padded on the left: a completion must follow its prompt without a gap.
    ids = torch.tensor([[0] * (width - len(prompt)) + [*prompt] for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    generate: Any = model.generate  # declared as a tensor
    sequences = generate(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        generation_config=settings,
        logits_processor=[require_numbers],
    )
    return sequences[:, width:].tolist()


def _split_batches(lengths: list[int], budget: int) -> Iterator[list[int]]:
    """Yield indices in batches of similar length, longest first: rows x longest fits the budget.

    A prompt above the budget is a batch of its own.
    """
    batch: list[int] = []
    # Longest first, so that a batch that does not fit into memory fails at once.
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        if batch and (len(batch) + 1) * lengths[batch[0]] > budget:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
