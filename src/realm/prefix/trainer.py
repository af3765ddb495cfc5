"""TRL's GRPO trainer with each prompt encoded once for its G completions, in rollouts and in all passes of training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor
from trl import GRPOTrainer
from trl.models.utils import disable_gradient_checkpointing
from trl.trainer import grpo_trainer

from realm.core.errors import ConfigError
from realm.prefix.layout import Layout, pack
from realm.prefix.logps import serve_packed_logps
from realm.prefix.rollout import sample_groups
from realm.prefix.support import Unshareable, causal_lm, require_known, require_shareable

SharedPrefix = Literal["auto", "on", "off"]
_CHECKED_ROWS = 8


class SharedPrefixTrainer(GRPOTrainer):
    """TRL's trainer with the same mathematics and fewer tokens.

    Wraps what TRL calls for rollouts, for the order of a generation's rows, and for log-probabilities (of the old, the
    reference and the current policy). What cannot be shared takes TRL's own way: with `auto` after a warning that says why,
    with `on` it is an error.
    """

    def __init__(self, *args: Any, shared_prefix: SharedPrefix = "auto", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._mode = shared_prefix
        self._shares_passes = self._shares_rollouts = shared_prefix != "off"
        self._checked = False
        if self._shares_passes:
            try:
                self._require_shareable()
            except Unshareable as reason:
                self._stop_sharing(str(reason))
        if self._shares_rollouts and self._transformers_generates:
            try:
                require_known(self.generation_config)
            except Unshareable as reason:
                self._stop_sharing(str(reason), passes=False)
        if self._shares_passes:
            for model in filter(None, (self.model, self.ref_model)):
                serve_packed_logps(causal_lm(model))

    @property
    def _transformers_generates(self) -> bool:
        return not self.use_vllm and not self.use_transformers_continuous_batching

    def _require_shareable(self) -> None:
        require_shareable(self.model)
        if self.aux_loss_enabled:
            raise Unshareable("the loss has a part for balancing experts, which counts every token")
        if self.args.cast_lm_head_to_fp32:
            raise Unshareable("cast_lm_head_to_fp32 is set")
        if self.is_deepspeed_enabled or self.is_fsdp_enabled:
            raise Unshareable("the weights are spread over several devices")

    def _stop_sharing(self, reason: str, *, passes: bool = True) -> None:
        """Go on without sharing in rollouts and, unless said otherwise, in passes, after a warning; an error where it must be."""
        if self._mode == "on":
            raise ConfigError(
                f"train.shared_prefix: on, but prompts cannot be shared: {reason}. Try auto or off."
            )
        self._shares_rollouts, self._shares_passes = False, self._shares_passes and not passes
        if self.accelerator.is_main_process:
            print(
                f"Warning: {'Rollouts and training' if passes else 'Rollouts'} encode every prompt once per completion: {reason}."
            )

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        if not self._shares_passes:
            return super()._prepare_inputs(generation_batch)
        with _groups_stay_together(self.num_generations):
            return super()._prepare_inputs(generation_batch)

    def _generate_single_turn(
        self,
        prompt_ids: Any,
        images: Any,
        multimodal_fields: Any,
        num_generations: int,
        has_tool_images: bool = False,
    ) -> Any:
        if (
            self._shares_rollouts
            and self._transformers_generates
            and images is None
            and not multimodal_fields
        ):
            try:
                found = self._rollout(prompt_ids)
                self._check(self.model, *_padded(prompt_ids, found, self.accelerator.device))
            except Unshareable as reason:
                self._stop_sharing(str(reason))
            if self._shares_rollouts:
                return found, None
        return super()._generate_single_turn(
            prompt_ids, images, multimodal_fields, num_generations, has_tool_images
        )

    def _rollout(self, prompt_ids: Sequence[Sequence[int]]) -> list[list[int]]:
        """Return one completion for each prompt, in their order."""
        prompts, members = _group(prompt_ids)
        checkpointing = self.args.gradient_checkpointing_kwargs
        with self.accelerator.autocast(), disable_gradient_checkpointing(self.model, checkpointing):
            found = sample_groups(
                causal_lm(self.model),
                prompts,
                [len(rows) for rows in members],
                self.generation_config,
            )
        order = [row for rows in members for row in rows]
        return [ids for _, ids in sorted(zip(order, found, strict=True))]

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **more: Any,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        plain = not compute_aux_loss and all(value is None for value in more.values())
        if self._shares_passes and plain:
            self._check(model, input_ids, attention_mask, logits_to_keep)
        if not self._shares_passes or not plain:
            return super()._get_per_token_logps_and_entropies(
                model,
                input_ids,
                attention_mask,
                logits_to_keep,
                batch_size,
                compute_entropy,
                compute_aux_loss,
                **more,
            )
        size = batch_size or len(input_ids)
        found = [
            self._packed(model, *rows, logits_to_keep)
            for rows in zip(input_ids.split(size), attention_mask.split(size), strict=True)
        ]
        logps, entropies = (torch.cat(parts) for parts in zip(*found, strict=True))
        return logps, entropies if compute_entropy else None, None

    def _packed(
        self, model: Any, input_ids: Tensor, attention_mask: Tensor, keep: int
    ) -> tuple[Tensor, Tensor]:
        """Return log-probabilities and entropies, [rows, keep] each, from one packed pass."""
        layout, order = _layout(input_ids, attention_mask, keep)
        with self.accelerator.autocast():
            logps, entropies = model(packed=(layout, self.temperature))
        return layout.pad(logps, keep)[order], layout.pad(entropies, keep)[order]

    @torch.no_grad()
    def _check(self, model: Any, input_ids: Tensor, mask: Tensor, keep: int) -> None:
        """Hold the shared log-probabilities of a few rows against TRL's, once, and stop sharing where they differ."""
        padding = (mask[:, :-keep] == 0).sum(1)
        rows, start = (padding == padding[0]).nonzero()[:_CHECKED_ROWS, 0], int(padding[0])
        input_ids, mask = input_ids[rows, start:], mask[rows, start:]
        real = mask[:, -keep:] == 1
        if self._checked or not real.any():
            return
        self._checked, training = True, model.training
        model.eval()
        try:
            theirs, _, _ = super()._get_per_token_logps_and_entropies(model, input_ids, mask, keep)
            ours, _ = self._packed(model, input_ids, mask, keep)
        except Unshareable as reason:
            self._stop_sharing(str(reason))
            return
        finally:
            model.train(training)
        half = self.accelerator.mixed_precision != "no" or causal_lm(model).dtype in (
            torch.bfloat16,
            torch.float16,
        )
        gap = ((ours - theirs).abs() / (1 + theirs.abs()))[real].mean()
        if not gap <= (2e-2 if half else 1e-4):
            self._stop_sharing(
                f"its log-probabilities differ from the usual way's by {gap:.1e} on average"
            )


@contextmanager
def _groups_stay_together(size: int) -> Iterator[None]:
    """Let TRL shuffle the rows of a generation in groups of `size` neighbours, which share their prompt."""
    rows_apart = grpo_trainer.shuffle_sequence_dict

    def groups_together(batch: dict[str, Any]) -> dict[str, Any]:
        number = len(next(value for value in batch.values() if value is not None))
        if number % size:
            return rows_apart(batch)
        order = (torch.randperm(number // size)[:, None] * size + torch.arange(size)).flatten()
        return {name: _reordered(value, order) for name, value in batch.items()}

    grpo_trainer.shuffle_sequence_dict = groups_together
    try:
        yield
    finally:
        grpo_trainer.shuffle_sequence_dict = rows_apart


def _reordered(value: Any, order: Tensor) -> Any:
    if value is None or (isinstance(value, Tensor) and value.ndim == 0):
        return value
    return value[order] if isinstance(value, Tensor) else [value[i] for i in order]


def _layout(input_ids: Tensor, attention_mask: Tensor, keep: int) -> tuple[Layout, Tensor]:
    """Return the packed row of a padded batch, whose last `keep` columns are completions, and where its rows went."""
    ids, mask = input_ids.tolist(), attention_mask.bool()
    padding, lengths = (~mask[:, :-keep]).sum(1).tolist(), mask[:, -keep:].sum(1).tolist()
    prompts, members = _group([row[pad:-keep] for row, pad in zip(ids, padding, strict=True)])
    begin = input_ids.shape[1] - keep
    completions = [[ids[row][begin : begin + lengths[row]] for row in rows] for rows in members]
    order = torch.tensor([row for rows in members for row in rows], device=input_ids.device)
    return pack(prompts, completions, input_ids.device), order.argsort()


def _padded(
    prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]], device: Any
) -> tuple[Tensor, Tensor, int]:
    """Return the first prompt's rows as TRL pads them, their mask, and the number of columns that are completions."""
    rows = [row for row, prompt in enumerate(prompts) if prompt == prompts[0]][:_CHECKED_ROWS]
    begin, width = len(prompts[0]), max(len(completions[row]) for row in rows)
    ids = torch.zeros(len(rows), begin + width, dtype=torch.long, device=device)
    mask = torch.zeros_like(ids)
    for place, row in enumerate(rows):
        whole = [*prompts[row], *completions[row]]
        ids[place, : len(whole)], mask[place, : len(whole)] = torch.tensor(whole, device=device), 1
    return ids, mask, width


def _group(prompts: Sequence[Sequence[int]]) -> tuple[list[Sequence[int]], list[list[int]]]:
    """Return the different prompts, and the rows that have each."""
    rows: dict[tuple[int, ...], list[int]] = {}
    for row, prompt in enumerate(prompts):
        rows.setdefault(tuple(prompt), []).append(row)
    return list(rows), list(rows.values())
