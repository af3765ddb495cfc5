"""TRL's GRPO trainer with each prompt encoded once for its G completions.

It wraps what TRL calls for rollouts, for the order of a generation's rows, and for the
log-probabilities of the old, the reference and the current policy. The mathematics is TRL's.

Shape legend:
    B  rows of a batch, each a prompt and a completion
    P  tokens of the longest prompt, padded on the left
    C  tokens of the longest completion, padded on the right
    G  completions per prompt (TRL's num_generations)
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, Literal

import torch
from torch import Tensor
from trl import GRPOTrainer
from trl.models.utils import disable_gradient_checkpointing
from trl.trainer import grpo_trainer

from realm.prefix.layout import Layout, pack_groups
from realm.prefix.logps import serve_packed_logps
from realm.prefix.rollout import sample_completions
from realm.prefix.support import (
    PrefixSharingError,
    find_causal_lm,
    require_known_settings,
    require_shareable_model,
)

logger = logging.getLogger(__name__)

# Size of the batch that is checked: enough for unequal completions, little next to a step.
_CHECKED_ROWS = 8
_CHECKED_TOKENS = 16
_SPREAD = "the weights are spread over several devices"
_MAX_GAP = {True: 2e-2, False: 1e-4}
"""Largest mean difference from TRL's log-probabilities, for half precision and for float32."""


class SharedPrefixTrainer(GRPOTrainer):
    """TRL's trainer with fewer tokens to compute.

    Args:
        *args: as for `GRPOTrainer`.
        shared_prefix: "auto" does what cannot be shared in TRL's way, after a warning that says
            why. "on" raises `PrefixSharingError` instead. "off" is TRL's trainer unchanged.
        **kwargs: as for `GRPOTrainer`.
    """

    # TRL declares these too widely, or as optional.
    model: Any
    args: Any
    num_generations: Any
    max_completion_length: Any

    def __init__(
        self, *args: Any, shared_prefix: Literal["auto", "on", "off"] = "auto", **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._is_required = shared_prefix == "on"
        self._shares_passes = shared_prefix != "off"
        self._shares_rollouts = self._shares_passes and not (
            self.use_vllm or self.use_transformers_continuous_batching
        )
        self._is_checked = False
        with self._fall_back("Rollouts and training"):
            self._require_shareable()
        with self._fall_back("Rollouts"):
            if self._shares_rollouts:
                self._require_whole_weights()
                require_known_settings(self.generation_config)
        for model in filter(None, (self.model, self.ref_model)):
            if self._shares_passes:
                serve_packed_logps(find_causal_lm(model))

    def _require_shareable(self) -> None:
        if not self._shares_passes:
            return
        require_shareable_model(self.model)
        if self.aux_loss_enabled:
            raise PrefixSharingError("the loss that balances experts counts every token")
        if self.args.cast_lm_head_to_fp32:
            raise PrefixSharingError("cast_lm_head_to_fp32 is set")
        # The hooks of FSDP2 gather the weights of each layer around its call, of any arguments.
        if self.is_deepspeed_enabled or (self.is_fsdp_enabled and not self.accelerator.is_fsdp2):
            raise PrefixSharingError(_SPREAD)

    def _require_whole_weights(self) -> None:
        # Processes whose rows end early would leave the others waiting for their weights.
        if self.is_fsdp_enabled:
            raise PrefixSharingError(_SPREAD)

    @contextmanager
    def _fall_back(self, what: Literal["Rollouts and training", "Rollouts"]) -> Iterator[None]:
        """Do `what` in TRL's way from here on, after a warning, if the block cannot share."""
        try:
            yield
        except PrefixSharingError as reason:
            if self._is_required:
                raise
            self._shares_rollouts = False
            self._shares_passes = self._shares_passes and what == "Rollouts"
            if self.accelerator.is_main_process:
                logger.warning("%s encode every prompt once per completion: %s.", what, reason)

    @torch.no_grad()
    def _check_once(self, prompt_ids: Sequence[list[int]]) -> None:
        """Compare shared log-probabilities with TRL's, and stop sharing where they differ.

        It reads the longest prompt of the first batch, followed by tokens of the same prompt. It
        leaves the random state alone: a run that is resumed checks again, an uninterrupted one
        does not, and both must draw the same completions.
        """
        if self._is_checked or not self._shares_passes:
            return
        self._is_checked = True
        batch = _make_check_batch(prompt_ids, self.max_completion_length, self.accelerator.device)
        model, was_training = self.model, self.model.training
        devices = [self.accelerator.device] if self.accelerator.device.type == "cuda" else []
        with self._fall_back("Rollouts and training"), torch.random.fork_rng(devices):
            try:
                # Dropout of attention, which cannot be shared, shows only in training mode.
                self._compute_packed(model.train(), *batch)
                model.eval()
                ours, _ = self._compute_packed(model, *batch)
                theirs, _, _ = super()._get_per_token_logps_and_entropies(model, *batch)
            finally:
                model.train(was_training)
            num_bytes = find_causal_lm(model).dtype.itemsize
            is_half = self.accelerator.mixed_precision != "no" or num_bytes < 4
            is_token = batch[1][:, -batch[2] :] == 1
            gap = ((ours - theirs).abs() / (1 + theirs.abs()))[is_token].mean()
            # All processes decide alike, since they make their passes together.
            gap = self.accelerator.gather(gap[None]).max()
            if not gap <= _MAX_GAP[is_half]:  # also if the gap is NaN
                raise PrefixSharingError(
                    f"shared log-probabilities differ from TRL's by {gap:.1e} on average"
                )

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        with _shuffle_groups_whole(self):
            return super()._prepare_inputs(generation_batch)

    def _generate_single_turn(self, prompt_ids: Any, *args: Any, **kwargs: Any) -> Any:
        self._check_once(prompt_ids)
        if not self._shares_rollouts:
            return super()._generate_single_turn(prompt_ids, *args, **kwargs)
        rows_of_prompt = _group_equal(prompt_ids)
        checkpointing = self.args.gradient_checkpointing_kwargs
        with self.accelerator.autocast(), disable_gradient_checkpointing(self.model, checkpointing):
            counts = [len(rows) for rows in rows_of_prompt.values()]
            prompts = list(rows_of_prompt)
            found = sample_completions(self.model, prompts, counts, self.generation_config)
        # Completions stand prompt by prompt. TRL wants them in the order of its rows.
        by_row = dict(zip(chain(*rows_of_prompt.values()), found, strict=True))
        return [by_row[row] for row in range(len(prompt_ids))], None

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        **others: Any,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        if not self._shares_passes:
            given = (model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy)
            return super()._get_per_token_logps_and_entropies(*given, **others)
        # `others` are images and the loss of experts, which models that share do not have.
        size = batch_size or len(input_ids)
        found = [
            self._compute_packed(model, *rows, logits_to_keep)
            for rows in zip(input_ids.split(size), attention_mask.split(size), strict=True)
        ]
        logps, entropies = (torch.cat(parts) for parts in zip(*found, strict=True))
        return logps, entropies if compute_entropy else None, None

    def _compute_packed(
        self, model: Any, input_ids: Tensor, attention_mask: Tensor, keep: int
    ) -> tuple[Tensor, Tensor]:
        """Return log-probabilities and entropies (B, keep) of the last `keep` columns."""
        layout, order = _pack_padded(input_ids, attention_mask, keep)
        with self.accelerator.autocast():
            found = model(packed=(layout, self.temperature))
        logps, entropies = (layout.pad_completions(values, keep)[order] for values in found)
        return logps, entropies


def _pack_padded(input_ids: Tensor, mask: Tensor, keep: int) -> tuple[Layout, Tensor]:
    """Return the packed row of (B, P + C) ids, and the place (B,) of each row's completion in it.

    The last `keep` columns are the completions. Equal completions of a prompt have one place: the
    samples of a policy that is nearly sure are often the same.
    """
    rows = list(zip(input_ids, mask.bool(), strict=True))
    prompts = [tuple(ids[:-keep][real[:-keep]].tolist()) for ids, real in rows]
    completions = [tuple(ids[-keep:][real[-keep:]].tolist()) for ids, real in rows]
    distinct = {
        prompt: list(dict.fromkeys(completions[row] for row in rows_of_prompt))
        for prompt, rows_of_prompt in _group_equal(prompts).items()
    }
    pairs = [(prompt, one) for prompt, group in distinct.items() for one in group]
    place = {pair: number for number, pair in enumerate(pairs)}
    order = [place[pair] for pair in zip(prompts, completions, strict=True)]
    layout = pack_groups(list(distinct), list(distinct.values()), input_ids.device)
    return layout, torch.tensor(order, device=input_ids.device)


def _group_equal(prompts: Sequence[Sequence[int]]) -> dict[tuple[int, ...], list[int]]:
    """Return the rows of each different prompt, in order of their first row."""
    rows_of_prompt: dict[tuple[int, ...], list[int]] = {}
    for row, prompt in enumerate(prompts):
        rows_of_prompt.setdefault(tuple(prompt), []).append(row)
    return rows_of_prompt


def _make_check_batch(
    prompt_ids: Sequence[list[int]], max_length: int, device: torch.device
) -> tuple[Tensor, Tensor, int]:
    """Return ids and mask (rows, P + C) of the longest prompt with ragged completions, and C."""
    prompt = max(prompt_ids, key=len)
    keep = min(_CHECKED_TOKENS, max_length)
    tokens = torch.tensor((prompt * 2 * _CHECKED_TOKENS)[: 2 * _CHECKED_TOKENS], device=device)
    rows = torch.arange(_CHECKED_ROWS, device=device)[:, None]
    places = torch.arange(keep, device=device)
    # Row r has the completion tokens[r : keep], at least one token.
    completions = tokens[rows + places]
    is_real = (places == 0) | (places < keep - rows)
    prompts = torch.tensor(prompt, device=device).expand(_CHECKED_ROWS, -1)
    ids = torch.cat([prompts, completions], 1)
    return ids, torch.cat([torch.ones_like(prompts), is_real.long()], 1), keep


@contextmanager
def _shuffle_groups_whole(trainer: SharedPrefixTrainer) -> Iterator[None]:
    """Let TRL shuffle a generation in groups of neighbours, which share their prompt.

    TRL calls the function by its name in the module, so another one stands there meanwhile. A
    micro-batch then holds whole groups, whose prompts are encoded once.
    """
    shuffle_rows = grpo_trainer.shuffle_sequence_dict
    size = trainer.num_generations

    def shuffle_groups(seq_dict: dict[str, Any]) -> dict[str, Any]:
        num_rows = len(next(value for value in seq_dict.values() if value is not None))
        # Asked only now, since the first generation decides whether passes are shared.
        if num_rows % size or not trainer._shares_passes:
            return shuffle_rows(seq_dict)
        first_rows = torch.randperm(num_rows // size)[:, None] * size
        order = (first_rows + torch.arange(size)).flatten()

        def reorder(value: Any) -> Any:
            if value is None or (isinstance(value, Tensor) and value.ndim == 0):
                return value
            return value[order] if isinstance(value, Tensor) else [value[i] for i in order]

        return {name: reorder(value) for name, value in seq_dict.items()}

    grpo_trainer.shuffle_sequence_dict = shuffle_groups
    try:
        yield
    finally:
        grpo_trainer.shuffle_sequence_dict = shuffle_rows
