"""Attention over a packed row: each token sees its group's prefix and what is before it in its own completion.

A model gets here through Transformers' attention interface. `install` gives its config an implementation that hands calls with
a `shared_prefix` keyword to the object under that keyword and all others to the implementation that the model had; it stays,
since a checkpointed layer runs again in the backward pass.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from realm.prefix.kernels import Places, Rules, attend, attend_backward, merge
from realm.prefix.layout import Bucket, Group, Layout
from realm.prefix.products import speed_up_products
from realm.prefix.support import Unshareable

_NAME = "shared_prefix_"
_HARMLESS = {"position_ids", "use_cache", "output_attentions", "output_hidden_states", "output_router_logits", "return_dict"}
"""What Transformers passes down to an attention function that does not change what attention computes."""


class Attention(Protocol):
    """What a call's `shared_prefix` keyword holds."""

    def attend(self, module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, rules: Rules) -> Tensor:
        """Return [batch, tokens, heads, dim] from [batch, heads, tokens, dim]."""
        ...


def install(model: PreTrainedModel) -> None:
    """Let the model serve calls with a `shared_prefix` keyword, and its linear layers be quick; once is enough."""
    before = model.config._attn_implementation
    if before.startswith(_NAME):
        return
    if _NAME + before not in ALL_ATTENTION_FUNCTIONS:
        AttentionInterface.register(_NAME + before, partial(_dispatch, before=before))
        AttentionMaskInterface.register(_NAME + before, ALL_MASK_ATTENTION_FUNCTIONS[before])
    model.config._attn_implementation = _NAME + before
    speed_up_products(model)


def run_backbone(model: PreTrainedModel, input_ids: Tensor, position_ids: Tensor, shared: Attention) -> Tensor:
    """Return the last hidden states of a causal language model whose attention is `shared`."""
    no_mask = input_ids.new_zeros((1, 1, 1, 1))  # a mask of four dimensions is passed on as it is, so none is built
    return model.base_model(
        input_ids=input_ids, position_ids=position_ids, attention_mask=no_mask, use_cache=False, shared_prefix=shared
    ).last_hidden_state


def _dispatch(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    before: str,
    shared_prefix: Attention | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    if shared_prefix is None:
        stock: Callable[..., tuple[Tensor, Tensor | None]] = ALL_ATTENTION_FUNCTIONS.get_interface(
            before, getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
        )
        return stock(module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **kwargs)
    rules = Rules(
        scale=query.shape[-1] ** -0.5 if scaling is None else scaling,
        window=kwargs.pop("sliding_window", None),
        softcap=kwargs.pop("softcap", None),
    )
    if dropout:
        raise Unshareable(f"its attention drops out {dropout:.0%} of the weights in training")
    if kwargs.pop("is_causal", True) is False:
        raise Unshareable("its attention is not causal")
    if unknown := sorted(name for name, given in kwargs.items() if given is not None and name not in _HARMLESS):
        raise Unshareable(f"its attention takes {unknown[0]}, which sharing does not know")
    rounded = (x.to(value.dtype) for x in (query, key))  # under autocast rotary embeddings widen them, which SDPA undoes too
    return shared_prefix.attend(module, *rounded, value, rules), None


class PackedAttention:
    """Attention of one pass over a packed row, with gradients."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def attend(self, module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, rules: Rules) -> Tensor:
        """Return [1, tokens, heads, dim]."""
        return _Packed.apply(query[0], key[0], value[0], self.layout, rules)[None]


class _Packed(torch.autograd.Function):
    """Attention over a packed row; of its work only the output and the log-sum-exp of each token's scores are kept."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, layout: Layout, rules: Rules) -> Tensor:
        (heads, tokens, _), repeats = query.shape, query.shape[0] // key.shape[0]
        output = value.new_empty(tokens, heads, value.shape[-1])
        out = output.transpose(0, 1)
        sums = query.new_empty(heads, tokens, dtype=torch.promote_types(query.dtype, torch.float32))
        for bucket in layout.buckets:
            keys, values = (bucket.take(x).repeat_interleave(repeats, 1) for x in (key, value))
            found, found_sums = attend(bucket.take(query), keys, values, rules, _own_places(bucket, query.device))
            bucket.put(out, found)
            bucket.put(sums, found_sums)
        for group in layout.groups:
            prefix, own = group.prefix, group.own
            keys, values = (x[:, prefix].expand(repeats, -1, -1, -1) for x in (key, value))
            found, found_sums = attend(_by_repeat(query[:, prefix], repeats), keys, values, rules, _prefix_places(layout, group))
            out[:, prefix], sums[:, prefix] = _by_head(found), _by_head(found_sums)
            seen = _seen(group, rules)
            if own.start < own.stop and seen.start < seen.stop:
                places = _cross_places(layout, group, seen, repeats)
                found, found_sums = attend(
                    _folded(query[:, own], repeats), key[None, :, seen], value[None, :, seen], rules, places
                )
                merged = merge(out[:, own], sums[:, own], _unfolded(found, repeats), _unfolded(found_sums, repeats))
                out[:, own], sums[:, own] = merged
        ctx.save_for_backward(query, key, value, output, sums)
        ctx.layout, ctx.rules = layout, rules
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, output, sums = ctx.saved_tensors
        layout, rules, repeats = ctx.layout, ctx.rules, query.shape[0] // key.shape[0]
        out, grad, grads = output.transpose(0, 1), grad_output.transpose(0, 1), [torch.empty_like(x) for x in (query, key, value)]
        for bucket in layout.buckets:
            keys, values = (bucket.take(x).repeat_interleave(repeats, 1) for x in (key, value))
            found = attend_backward(
                bucket.silence(bucket.take(grad)), bucket.take(query), keys, values, bucket.take(out), bucket.take(sums), rules,
                _own_places(bucket, query.device),
            )  # fmt: skip
            bucket.put(grads[0], found[0])
            for whole, part in zip(grads[1:], found[1:], strict=True):
                bucket.put(whole, part.unflatten(1, (-1, repeats)).sum(2))
        for group in layout.groups:
            prefix, own = group.prefix, group.own
            keys, values = (x[:, prefix].expand(repeats, -1, -1, -1) for x in (key, value))
            given = (_by_repeat(x[:, prefix], repeats) for x in (grad, query, out, sums))
            toward, queries, outputs, totals = given
            found = attend_backward(toward, queries, keys, values, outputs, totals, rules, _prefix_places(layout, group))
            grads[0][:, prefix] = _by_head(found[0])
            for whole, part in zip(grads[1:], found[1:], strict=True):
                whole[:, prefix] = part.sum(0)
            seen = _seen(group, rules)
            if own.start < own.stop and seen.start < seen.stop:
                toward, queries, outputs, totals = (_folded(x[:, own], repeats) for x in (grad, query, out, sums))
                places = _cross_places(layout, group, seen, repeats)
                found = attend_backward(toward, queries, key[None, :, seen], value[None, :, seen], outputs, totals, rules, places)
                grads[0][:, own] += _unfolded(found[0], repeats)
                for whole, part in zip(grads[1:], found[1:], strict=True):
                    whole[:, seen] += part[0]
        return *grads, None, None


def _seen(group: Group, rules: Rules) -> slice:
    """Return the part of the prefix that the completions see, all of it but for a window."""
    start, stop = group.prefix.start, group.prefix.stop
    return slice(start if rules.window is None else max(start, stop - rules.window + 1), stop)


def _prefix_places(layout: Layout, group: Group) -> Places:
    positions = layout.position_ids[0, group.prefix]
    return Places(queries=positions, keys=positions, longest=group.prefix_length, causal=True)


def _own_places(bucket: Bucket, device: torch.device) -> Places:
    positions = torch.arange(bucket.width, device=device)
    return Places(queries=positions, keys=positions, longest=bucket.width, causal=True)


def _cross_places(layout: Layout, group: Group, seen: slice, repeats: int) -> Places:
    positions = layout.position_ids[0]
    return Places(queries=positions[group.own].repeat(repeats), keys=positions[seen], longest=layout.longest)


def _by_repeat(packed: Tensor, repeats: int) -> Tensor:
    """Return [heads, tokens, ...] as [repeats, key heads, tokens, ...]: query heads that share keys lie in one batch."""
    return packed.unflatten(0, (-1, repeats)).transpose(0, 1)


def _by_head(parts: Tensor) -> Tensor:
    return parts.transpose(0, 1).flatten(0, 1)


def _folded(packed: Tensor, repeats: int) -> Tensor:
    """Return [heads, tokens, ...] as [1, key heads, repeats x tokens, ...]: all queries of a key head in one sequence."""
    return packed.unflatten(0, (-1, repeats)).flatten(1, 2)[None]


def _unfolded(found: Tensor, repeats: int) -> Tensor:
    return found[0].unflatten(1, (repeats, -1)).flatten(0, 1)
