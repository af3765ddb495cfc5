"""Attention over a packed row: each token sees its group's prefix and what is before it in its own completion."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from realm.prefix.kernels import Places, Rules, attend, attend_backward, merge
from realm.prefix.layout import Bucket, Group, Layout


class Attention(Protocol):
    """What a call's `shared_prefix` keyword holds."""

    def attend(
        self, module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, rules: Rules
    ) -> Tensor:
        """Return [batch, tokens, heads, dim] from [batch, heads, tokens, dim]."""
        ...


class PackedAttention:
    """Attention of one pass over a packed row, with gradients.

    Queries may be those of the tokens that `layout.last` names alone: of each prefix its last one, and all completions.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def attend(
        self, module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, rules: Rules
    ) -> Tensor:
        """Return [1, tokens, heads, dim]."""
        return _Packed.apply(query[0], key[0], value[0], self.layout, rules)[None]


class _Packed(torch.autograd.Function):
    """Attention over a packed row; of its work only the output and the log-sum-exp of each token's scores are kept."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, layout: Layout, rules: Rules
    ) -> Tensor:
        (heads, tokens, _), repeats, dropped = (
            query.shape,
            query.shape[0] // key.shape[0],
            key.shape[1] - query.shape[1],
        )
        output = value.new_empty(tokens, heads, value.shape[-1])
        out = output.transpose(0, 1)
        sums = query.new_empty(heads, tokens, dtype=torch.promote_types(query.dtype, torch.float32))
        for bucket in layout.buckets:
            keys, values = (bucket.take(x).repeat_interleave(repeats, 1) for x in (key, value))
            slots = bucket.moved(dropped)
            found, found_sums = attend(
                slots.take(query), keys, values, rules, _own_places(bucket, query.device)
            )
            slots.put(out, found)
            slots.put(sums, found_sums)
        for number, group in enumerate(layout.groups):
            prefix, (asking, own) = group.prefix, _queries(number, group, dropped)
            keys, values = (x[:, prefix].expand(repeats, -1, -1, -1) for x in (key, value))
            places = _prefix_places(layout, group, asking)
            found, found_sums = attend(
                _by_repeat(query[:, asking], repeats), keys, values, rules, places
            )
            out[:, asking], sums[:, asking] = _by_head(found), _by_head(found_sums)
            seen = _seen(group, rules)
            if own.start < own.stop and seen.start < seen.stop:
                places = _cross_places(layout, group, seen, repeats)
                found, found_sums = attend(
                    _folded(query[:, own], repeats),
                    key[None, :, seen],
                    value[None, :, seen],
                    rules,
                    places,
                )
                merged = merge(
                    out[:, own],
                    sums[:, own],
                    _unfolded(found, repeats),
                    _unfolded(found_sums, repeats),
                )
                out[:, own], sums[:, own] = merged
        ctx.save_for_backward(query, key, value, output, sums)
        ctx.layout, ctx.rules = layout, rules
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, output, sums = ctx.saved_tensors
        layout, rules, repeats, dropped = (
            ctx.layout,
            ctx.rules,
            query.shape[0] // key.shape[0],
            key.shape[1] - query.shape[1],
        )
        out, grad, grads = (
            output.transpose(0, 1),
            grad_output.transpose(0, 1),
            [torch.empty_like(x) for x in (query, key, value)],
        )
        for bucket in layout.buckets:
            keys, values = (bucket.take(x).repeat_interleave(repeats, 1) for x in (key, value))
            slots = bucket.moved(dropped)
            toward, queries, outputs, totals = (slots.take(x) for x in (grad, query, out, sums))
            places = _own_places(bucket, query.device)
            found = attend_backward(
                bucket.silence(toward), queries, keys, values, outputs, totals, rules, places
            )
            slots.put(grads[0], found[0])
            for whole, part in zip(grads[1:], found[1:], strict=True):
                bucket.put(whole, part.unflatten(1, (-1, repeats)).sum(2))
        for number, group in enumerate(layout.groups):
            prefix, (asking, own) = group.prefix, _queries(number, group, dropped)
            keys, values = (x[:, prefix].expand(repeats, -1, -1, -1) for x in (key, value))
            toward, queries, outputs, totals = (
                _by_repeat(x[:, asking], repeats) for x in (grad, query, out, sums)
            )
            places = _prefix_places(layout, group, asking)
            found = attend_backward(toward, queries, keys, values, outputs, totals, rules, places)
            grads[0][:, asking] = _by_head(found[0])
            for whole, part in zip(grads[1:], found[1:], strict=True):
                whole[:, prefix] = part.sum(0)
            seen = _seen(group, rules)
            if own.start < own.stop and seen.start < seen.stop:
                toward, queries, outputs, totals = (
                    _folded(x[:, own], repeats) for x in (grad, query, out, sums)
                )
                places = _cross_places(layout, group, seen, repeats)
                found = attend_backward(
                    toward,
                    queries,
                    key[None, :, seen],
                    value[None, :, seen],
                    outputs,
                    totals,
                    rules,
                    places,
                )
                grads[0][:, own] += _unfolded(found[0], repeats)
                for whole, part in zip(grads[1:], found[1:], strict=True):
                    whole[:, seen] += part[0]
        return *grads, None, None


def _seen(group: Group, rules: Rules) -> slice:
    """Return the part of the prefix that the completions see, all of it but for a window."""
    start, stop = group.prefix.start, group.prefix.stop
    return slice(start if rules.window is None else max(start, stop - rules.window + 1), stop)


def _queries(number: int, group: Group, dropped: int) -> tuple[slice, slice]:
    """Return where the queries of a group's prefix and of its completions lie when `dropped` of the row's tokens do not ask."""
    if not dropped:
        return group.prefix, group.own
    return slice(number, number + 1), slice(group.own.start - dropped, group.own.stop - dropped)


def _prefix_places(layout: Layout, group: Group, asking: slice) -> Places:
    positions = layout.position_ids[0, group.prefix]
    whole = asking == group.prefix
    return Places(
        queries=positions if whole else positions[-1:],
        keys=positions,
        longest=group.prefix_length,
        causal=whole,
    )


def _own_places(bucket: Bucket, device: torch.device) -> Places:
    positions = torch.arange(bucket.width, device=device)
    return Places(queries=positions, keys=positions, longest=bucket.width, causal=True)


def _cross_places(layout: Layout, group: Group, seen: slice, repeats: int) -> Places:
    positions = layout.position_ids[0]
    return Places(
        queries=positions[group.own].repeat(repeats), keys=positions[seen], longest=layout.longest
    )


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
