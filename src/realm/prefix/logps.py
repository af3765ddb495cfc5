"""Log-probabilities of completions, with gradients: each prompt is encoded once for all of its completions."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from realm.prefix.attention import PackedAttention
from realm.prefix.interface import install, run_backbone
from realm.prefix.layout import Layout, pack
from realm.prefix.stock import stock_logps
from realm.prefix.support import Unshareable, causal_lm, require_shareable

_CELLS = 1 << 25
"""Logits that exist at once."""


def group_logps(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    group_size: int,
    *,
    temperature: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Return log-probabilities and entropies of the completions' tokens, each [completions, longest], zero after the end.

    `completions` holds `group_size` token lists for the first prompt, then as many for the next. Both results carry
    gradients. A model whose prompts cannot be shared is run the usual way, with a warning that says why.
    """
    if len(completions) != len(prompts) * group_size:
        raise ValueError(
            f"{len(completions)} completions for {len(prompts)} prompts of {group_size} each"
        )
    groups = [
        completions[start : start + group_size] for start in range(0, len(completions), group_size)
    ]
    try:
        inner = require_shareable(model)
        layout = pack(prompts, groups, inner.device)
        logps, entropies = packed_logps(inner, layout, temperature)
    except Unshareable as reason:
        warnings.warn(f"Prompts are not shared: {reason}.", stacklevel=2)
        rows = [prompt for prompt in prompts for _ in range(group_size)]
        return stock_logps(causal_lm(model), rows, completions, temperature=temperature)
    width = max(layout.lengths, default=0)
    return layout.pad(logps, width), layout.pad(entropies, width)


def serve_packed_logps(model: PreTrainedModel) -> None:
    """Let calls of the model with a `packed` keyword return `packed_logps(model, *packed)`.

    So the pass goes through whatever wraps the model, which a wrapper for distributed training has to see.
    """
    usual = model.forward

    @wraps(usual)
    def forward(*args: Any, packed: tuple[Layout, float] | None = None, **kwargs: Any) -> Any:
        return usual(*args, **kwargs) if packed is None else packed_logps(model, *packed)

    model.forward = forward


def packed_logps(
    model: PreTrainedModel, layout: Layout, temperature: float
) -> tuple[Tensor, Tensor]:
    """Return log-probability and entropy of each completion token of a packed row, in its order."""
    install(model)
    hidden = run_backbone(model, layout.input_ids, layout.position_ids, PackedAttention(layout))
    return read_tokens(model, hidden[0].index_select(0, layout.reads), layout.labels, temperature)


def read_tokens(
    model: PreTrainedModel, hidden: Tensor, labels: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Return log-probability and entropy of each label under the language-model head, from its hidden state.

    More logits than fit at once are computed in pieces, and again in the backward pass.
    """
    step = max(1, _CELLS // model.get_output_embeddings().weight.shape[0])
    if len(labels) <= step:
        return _read(model, hidden, labels, temperature)
    pieces = zip(hidden.split(step), labels.split(step), strict=True)
    found = [checkpoint(_read, model, *piece, temperature, use_reentrant=False) for piece in pieces]
    logps, entropies = zip(*found, strict=True)
    return torch.cat(logps), torch.cat(entropies)


def logits_of(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """Return the logits in at least float32, bent by Gemma's final soft cap where the model has one."""
    logits = model.get_output_embeddings()(hidden)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    cap: Any = getattr(model.config, "final_logit_softcapping", None)
    return logits if cap is None else torch.tanh(logits / cap) * cap


def _read(
    model: PreTrainedModel, hidden: Tensor, labels: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    logs = torch.log_softmax(logits_of(model, hidden) / temperature, -1)
    return logs.gather(-1, labels[:, None])[:, 0], -(logs.exp() * logs).sum(-1)
