"""Log-probabilities of completions with gradients, each prompt encoded once for all of them.

The log-probability of token y after a context with logits z at temperature t is
log softmax(z / t)[y], its entropy -sum softmax(z / t) log softmax(z / t).

Shape legend:
    G  completions per prompt
    C  tokens of the longest completion
    N  tokens of the packed row
    M  completion tokens of the packed row
    D  size of the hidden states
    V  vocabulary
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.checkpoint import checkpoint

from realm.prefix.attention import PackedAttention
from realm.prefix.interface import install_shared_attention, run_backbone
from realm.prefix.layout import pack_groups
from realm.prefix.support import require_shareable_model

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from realm.prefix.layout import Layout

_MAX_LOGITS = 1 << 25
"""Logits that exist at once: 128 MiB of float32."""


def compute_group_logps(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[Sequence[int]]],
    *,
    temperature: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Return log-probabilities and entropies of completion tokens, zero after a completion's end.

    Args:
        model: a causal language model, bare or with an adapter.
        prompts: token ids.
        completions: token ids of the completions of each prompt.
        temperature: divides the logits.

    Returns:
        Two tensors (completions of all prompts, C), both with gradients.

    Raises:
        PrefixSharingError: the model's prompts cannot be shared.
    """
    inner = require_shareable_model(model)
    layout = pack_groups(prompts, completions, inner.device)
    width = max(layout.lengths, default=0)
    logps, entropies = compute_packed_logps(inner, layout, temperature)
    return layout.pad_completions(logps, width), layout.pad_completions(entropies, width)


def serve_packed_logps(model: PreTrainedModel) -> None:
    """Let `model(packed=(layout, temperature))` return `compute_packed_logps`.

    So the pass goes through whatever wraps the model: DistributedDataParallel has to see it.
    """
    usual = model.forward

    # With its signature, from which Trainer reads which arguments and columns the model takes.
    @wraps(usual)
    def forward(*args: Any, packed: tuple[Layout, float] | None = None, **kwargs: Any) -> Any:
        return usual(*args, **kwargs) if packed is None else compute_packed_logps(model, *packed)

    model.forward = forward


def compute_packed_logps(
    model: PreTrainedModel, layout: Layout, temperature: float
) -> tuple[Tensor, Tensor]:
    """Return log-probabilities and entropies (M,) of the completion tokens of a packed row."""
    install_shared_attention(model)
    # The attention object goes with the call, so nothing of a pass stays behind in the model.
    hidden = run_backbone(model, layout.input_ids, layout.position_ids, PackedAttention(layout))
    # Only places that predict a completion token go through the head, which is wide.
    hidden = hidden[0].index_select(0, layout.reads)
    step = max(1, _MAX_LOGITS // model.get_output_embeddings().weight.shape[0])
    if len(hidden) <= step:
        return _score_labels(model, hidden, layout.labels, temperature)
    # Logits in pieces: the backward pass computes each piece anew instead of keeping all.
    found = [
        checkpoint(_score_labels, model, *piece, temperature, use_reentrant=False)
        for piece in zip(hidden.split(step), layout.labels.split(step), strict=True)
    ]
    logps, entropies = zip(*found, strict=True)
    return torch.cat(logps), torch.cat(entropies)


def compute_logits(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """Return logits (..., V) of (..., D) in at least float32, after Gemma's final soft cap."""
    logits = model.get_output_embeddings()(hidden)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    cap = getattr(model.config, "final_logit_softcapping", None)
    return logits if cap is None else torch.tanh(logits / cap) * cap


def _score_labels(
    model: PreTrainedModel, hidden: Tensor, labels: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    logs = torch.log_softmax(compute_logits(model, hidden) / temperature, -1)
    # Not [:, 0]: FSDP2 warns of a view, which loses its hooks where it is changed in place.
    return logs.gather(-1, labels[:, None]).sum(-1), -(logs.exp() * logs).sum(-1)
