"""Attention over a packed row: each token sees its prompt and what precedes it in its completion.

It is computed in two kinds of parts, which `kernels.merge` unites:

1. every prompt and every completion over itself, causally, in batches of similar length;
2. all completions of a prompt over the prompt. Nothing is causal here, so the queries of all
   completions, and of all query heads that share a key head, form one long sequence: one product
   reads the prompt's keys once (Hydragen, arXiv 2402.05099; Prefix Grouper, arXiv 2506.05433).

Shape legend:
    N  tokens of the packed row
    H  query heads
    K  key heads; query heads h * R to h * R + R - 1 share key head h, as in Transformers
    R  query heads per key head, H / K
    D  size of a head
    S  segments of a bucket, each of up to W tokens
    T  tokens of the completions of one prompt
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from realm.prefix.kernels import Positions, Rules, attend, attend_backward, merge

if TYPE_CHECKING:
    from realm.prefix.layout import Bucket, Layout


class SharedAttention(Protocol):
    """What the `shared_prefix` keyword of a model's call holds."""

    def attend(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, rules: Rules
    ) -> Tensor:
        """Return (batch, tokens, H, D) from (batch, heads, tokens, D) of the layer `module`."""
        ...


class PackedAttention:
    """Attention of one pass over a packed row, with gradients."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def attend(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, rules: Rules
    ) -> Tensor:
        """Return (1, N, H, D)."""
        # Models project to (N, heads, D) and give a view of it. Token by token is also the order
        # in which tokens of a bucket are gathered fastest.
        by_token = (x[0].transpose(0, 1) for x in (query, key, value))
        return _AttendPacked.apply(*by_token, self.layout, rules)[None]


class _AttendPacked(torch.autograd.Function):
    """Attention of (N, H, D) over (N, K, D). It saves the output and N * H log-sum-exps."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, layout: Layout, rules: Rules
    ) -> Tensor:
        repeats = query.shape[1] // key.shape[1]
        output = value.new_empty(*query.shape[:2], value.shape[-1])
        # The sums weigh the parts against each other: bfloat16 would be off by percents (`_score`).
        exact = torch.promote_types(query.dtype, torch.float32)
        sums = query.new_empty(query.shape[:2], dtype=exact)
        for bucket in layout.buckets:
            keys, values = (_repeat_heads(bucket.take(x), repeats) for x in (key, value))
            found = attend(bucket.take(query), keys, values, rules, _own_positions(bucket))
            bucket.put(output, found[0])
            bucket.put(sums, found[1])
        for own, seen, positions in _cross_parts(layout, rules, repeats):
            # A slice of the row is a view: the prompt's keys are not copied for its completions.
            keys, values = (x[seen].transpose(0, 1)[None] for x in (key, value))
            found = attend(_fold(query[own], repeats), keys, values, rules, positions)
            other = (_unfold(x, repeats) for x in found)
            output[own], sums[own] = merge(output[own], sums[own], *other)
        ctx.save_for_backward(query, key, value, output, sums)
        ctx.layout, ctx.rules = layout, rules
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, output, sums = ctx.saved_tensors
        layout, rules, repeats = ctx.layout, ctx.rules, query.shape[1] // key.shape[1]
        grads = tuple(torch.empty_like(x) for x in (query, key, value))
        # Each token lies in one bucket, so buckets write and the parts after them add.
        for bucket in layout.buckets:
            keys, values = (_repeat_heads(bucket.take(x), repeats) for x in (key, value))
            saved = bucket.take(query), keys, values, bucket.take(output), bucket.take(sums)
            positions = _own_positions(bucket)
            found = attend_backward(bucket.take_gradients(grad), saved, rules, positions)
            bucket.put(grads[0], found[0])
            for whole, part in zip(grads[1:], found[1:], strict=True):
                # A key head gets the gradients of all query heads that share it.
                # Autocast on a GPU would sum in float32.
                bucket.put(whole, part.unflatten(1, (-1, repeats)).sum(2, dtype=whole.dtype))
        for own, seen, positions in _cross_parts(layout, rules, repeats):
            keys, values = (x[seen].transpose(0, 1)[None] for x in (key, value))
            folded = [_fold(x[own], repeats) for x in (grad, query, output, sums)]
            saved = folded[1], keys, values, folded[2], folded[3]
            found = attend_backward(folded[0], saved, rules, positions)
            grads[0][own] += _unfold(found[0], repeats)
            for whole, part in zip(grads[1:], found[1:], strict=True):
                whole[seen] += part[0].transpose(0, 1)
        return *grads, None, None


def _own_positions(bucket: Bucket) -> Positions:
    offsets = torch.arange(bucket.width, device=bucket.tokens.device)
    return Positions(queries=offsets, keys=offsets, max_distance=bucket.width, is_causal=True)


def _cross_parts(
    layout: Layout, rules: Rules, repeats: int
) -> Iterator[tuple[slice, slice, Positions]]:
    """Yield for each prompt its completions, the part of it that they see, and the positions."""
    positions = layout.position_ids[0]
    for group in layout.groups:
        start, stop = group.prompt.start, group.prompt.stop
        if rules.window is not None:  # even the first completion token looks no further back
            start = max(start, stop - rules.window + 1)
        own, seen = group.completions, slice(start, stop)
        if own.start < own.stop and seen.start < seen.stop:
            # In the order of `_fold`: all tokens of one query head, then all of the next.
            queries = positions[own].repeat(repeats)
            yield own, seen, Positions(queries, positions[seen], layout.max_distance)


def _repeat_heads(batch: Tensor, repeats: int) -> Tensor:
    """Return keys or values (S, K, W, D) as (S, H, W, D), a copy for each query head."""
    return batch if repeats == 1 else batch.repeat_interleave(repeats, 1)


def _fold(packed: Tensor, repeats: int) -> Tensor:
    """Return (T, H, ...) as (1, K, R * T, ...): all queries of a key head in one sequence."""
    return packed.unflatten(1, (-1, repeats)).movedim(0, 2).flatten(1, 2)[None]


def _unfold(folded: Tensor, repeats: int) -> Tensor:
    """Return (1, K, R * T, ...) as (T, H, ...)."""
    return folded[0].unflatten(1, (repeats, -1)).movedim(2, 0).flatten(1, 2)
