"""Attention of some queries to some keys that also returns the log-sum-exp of their scores, and its backward pass.

Softmax over a union of keys is a weighted mean of the softmaxes over its parts, the weights being their log-sum-exps. So each
part is computed by itself, and its backward pass, given the *merged* output and log-sum-exp, is exactly its share of the
gradient: no score is ever stored. The fused kernels of torch do it where they can, plain matrix products elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

_CELLS = 1 << 24
"""Scores that the plain way holds at once."""
_LOWEST = -1e30
"""The log-sum-exp of no score at all; finite, so that differences of two stay numbers."""


@dataclass(frozen=True)
class Rules:
    """How a layer scores: the factor, how far back a token sees (`None`: all the way), Gemma 2's soft cap."""

    scale: float
    window: int | None = None
    softcap: float | None = None


@dataclass(frozen=True)
class Places:
    """The positions of queries and keys; `longest` is the largest distance between them, plus one.

    `causal` says that they are the same tokens, so that each sees itself and what is before it; else every key is before
    every query.
    """

    queries: Tensor
    keys: Tensor
    longest: int
    causal: bool = False


def attend(
    query: Tensor, key: Tensor, value: Tensor, rules: Rules, places: Places
) -> tuple[Tensor, Tensor]:
    """Return output and log-sum-exp of [batch, heads, queries, dim] over keys and values of as many heads."""
    if fused(query, value, rules, places.longest):
        if query.is_cpu:
            return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
                query, key, value, 0.0, places.causal, scale=rules.scale
            )
        return torch.ops.aten._scaled_dot_product_flash_attention(
            query, key, value, 0.0, places.causal, False, scale=rules.scale
        )[:2]
    outputs, sums = [], []
    for part, seen in _parts(query, key, rules, places):
        scores, _ = _scores(
            query[..., part, :], key[..., seen, :], rules, places.queries[part], places.keys[seen]
        )
        sums.append(scores.logsumexp(-1).clamp_min(_LOWEST))
        outputs.append((scores - sums[-1][..., None]).exp().to(value.dtype) @ value[..., seen, :])
    return torch.cat(outputs, -2), torch.cat(sums, -1)


def attend_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    output: Tensor,
    sums: Tensor,
    rules: Rules,
    places: Places,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return this part's gradients of query, key and value, from the output and the log-sum-exp over *all* parts."""
    if fused(query, value, rules, places.longest):
        if query.is_cpu:
            return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
                grad, query, key, value, output, sums, 0.0, places.causal, scale=rules.scale
            )
        unused = torch.zeros((), dtype=torch.long, device=query.device)
        return torch.ops.aten._scaled_dot_product_flash_attention_backward(
            grad, query, key, value, output, sums.contiguous(), None, None, query.shape[-2], key.shape[-2], 0.0, places.causal,
            unused, unused, scale=rules.scale,
        )  # fmt: skip
    exact = torch.promote_types(query.dtype, torch.float32)
    grad, wide, value = grad.to(exact), query.to(exact), value.to(exact)
    grad_query, grad_key, grad_value = (
        torch.empty_like(wide),
        torch.zeros_like(key, dtype=exact),
        torch.zeros_like(value),
    )
    for part, seen in _parts(query, key, rules, places):
        scores, slope = _scores(
            query[..., part, :], key[..., seen, :], rules, places.queries[part], places.keys[seen]
        )
        weights, toward = (scores - sums[..., part, None]).exp(), grad[..., part, :]
        grad_value[..., seen, :] += weights.transpose(-1, -2) @ toward
        delta = (toward * output[..., part, :]).sum(-1, keepdim=True)
        inner = weights * (toward @ value[..., seen, :].transpose(-1, -2) - delta) * rules.scale
        inner = inner if slope is None else inner * slope
        grad_query[..., part, :] = inner @ key[..., seen, :].to(exact)
        grad_key[..., seen, :] += inner.transpose(-1, -2) @ wide[..., part, :]
    return grad_query.to(query.dtype), grad_key.to(key.dtype), grad_value.to(key.dtype)


def attend_all(
    query: Tensor, key: Tensor, value: Tensor, rules: Rules, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return output and log-sum-exp of [batch, heads, queries, dim] over all keys, `bias` added to the scores; no gradients.

    Only without a window does the fused kernel get a bias: there each query sees at least one key.
    """
    if (
        query.is_cpu
        and rules.softcap is None
        and (bias is None or rules.window is None)
        and query.shape[-1] == value.shape[-1]
    ):
        mask = None if bias is None else bias.expand(-1, -1, query.shape[-2], -1)
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, 0.0, False, attn_mask=mask, scale=rules.scale
        )
    scores = _biased(query, key, rules, bias)
    sums = scores.logsumexp(-1).clamp_min(_LOWEST)
    return (scores - sums[..., None]).exp().to(value.dtype) @ value, sums


def go_on(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    rules: Rules,
    bias: Tensor | None,
    output: Tensor,
    sums: Tensor,
) -> Tensor:
    """Return the output over all keys and those that `output` and `sums` already count: these weigh as one more score."""
    scores = torch.cat([sums[..., None], _biased(query, key, rules, bias)], -1)
    weights = torch.softmax(scores, -1).to(value.dtype)
    return (weights[..., 1:] @ value).addcmul_(output, weights[..., :1])


def _biased(query: Tensor, key: Tensor, rules: Rules, bias: Tensor | None) -> Tensor:
    scores = (query @ key.transpose(-1, -2)).to(
        torch.promote_types(query.dtype, torch.float32)
    ) * rules.scale
    if rules.softcap is not None:
        scores = torch.tanh(scores / rules.softcap) * rules.softcap
    return scores if bias is None else scores + bias


def merge(output: Tensor, sums: Tensor, other: Tensor, other_sums: Tensor) -> tuple[Tensor, Tensor]:
    """Return output and log-sum-exp over the keys of both parts."""
    weight = torch.sigmoid(other_sums - sums)[..., None]
    merged = torch.lerp(output.to(weight.dtype), other.to(weight.dtype), weight)
    return merged.to(output.dtype), torch.logaddexp(sums, other_sums)


def fused(query: Tensor, value: Tensor, rules: Rules, longest: int) -> bool:
    """Tell whether torch's fused kernels compute this: no soft cap, no window that hides anything, a size they know."""
    if rules.softcap is not None or (rules.window is not None and rules.window < longest):
        return False
    if query.shape[-1] != value.shape[-1]:
        return False
    if query.is_cpu:
        return True
    size = query.shape[-1]
    return (
        query.is_cuda
        and query.dtype in (torch.bfloat16, torch.float16)
        and size <= 256
        and size % 8 == 0
    )


def _parts(
    query: Tensor, key: Tensor, rules: Rules, places: Places
) -> Iterator[tuple[slice, slice]]:
    """Yield the queries in pieces whose scores fit the budget, each with the keys that it may see."""
    batch, heads, length, _ = query.shape
    step = max(1, _CELLS // max(1, batch * heads * key.shape[-2]))
    for start in range(0, length, step):
        stop = min(start + step, length)
        first = (
            max(0, start - rules.window + 1) if places.causal and rules.window is not None else 0
        )
        yield slice(start, stop), slice(first, stop if places.causal else key.shape[-2])


def _scores(
    query: Tensor, key: Tensor, rules: Rules, queries: Tensor, keys: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Return the scores in at least float32, minus infinity where a key is not seen, and the slope of the soft cap."""
    exact = torch.promote_types(query.dtype, torch.float32)
    scores, slope = query.to(exact) @ key.to(exact).transpose(-1, -2) * rules.scale, None
    if rules.softcap is not None:
        bent = torch.tanh(scores / rules.softcap)
        scores, slope = bent * rules.softcap, 1 - bent * bent
    distance = queries[:, None] - keys
    seen = distance >= 0 if rules.window is None else (distance >= 0) & (distance < rules.window)
    return scores.masked_fill(~seen, -torch.inf), slope
