"""Attention of some queries to some keys with the log-sum-exp of the scores, and its gradients.

Attention over a union of keys A and B is a weighted mean of the attention over each,

    out(A + B) = (exp(a) out(A) + exp(b) out(B)) / (exp(a) + exp(b)),

where a and b are the log-sum-exps of the scores over A and B (Hydragen, arXiv 2402.05099). So each
part is computed by itself. The backward pass of a part, given the *merged* output and log-sum-exp,
is exactly its share of the whole gradient, as in FlashAttention (arXiv 2205.14135) and ring
attention (arXiv 2310.01889): no scores are stored between the passes.

Torch's fused kernels compute a part where they can, plain matrix products elsewhere.

Shape legend:
    B  batch
    H  heads; keys and values have as many as queries here
    Q  queries
    K  keys
    D  size of a head
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

_MAX_SCORES = 1 << 24
"""Scores that the plain way holds at once: 64 MiB of float32."""
_NO_SCORE = -1e30
"""The log-sum-exp over no key at all. Finite, so that the difference of two is a number."""


@dataclass(frozen=True)
class Rules:
    """How a layer scores keys.

    Attributes:
        scale: factor of the scores, usually D ** -0.5.
        window: how many tokens back a token sees, itself included; `None` for all.
        softcap: Gemma 2's bound: scores become softcap * tanh(scores / softcap).
    """

    scale: float
    window: int | None = None
    softcap: float | None = None


@dataclass(frozen=True)
class Positions:
    """Where queries and keys stand in their sequences.

    Attributes:
        queries: (Q,)
        keys: (K,)
        max_distance: the largest distance of a query and a key that it may see, plus one.
        is_causal: queries and keys are the same tokens, so that a query sees itself and what is
            before it. Otherwise all keys are before all queries.
    """

    queries: Tensor
    keys: Tensor
    max_distance: int
    is_causal: bool = False

    def find_hidden(self, rules: Rules, queries: slice, keys: slice) -> Tensor:
        """Return (queries, keys), true where the query must not see the key."""
        distance = self.queries[queries, None] - self.keys[keys]
        hidden = distance < 0
        return hidden if rules.window is None else hidden | (distance >= rules.window)


def attend(
    query: Tensor, key: Tensor, value: Tensor, rules: Rules, positions: Positions
) -> tuple[Tensor, Tensor]:
    """Return the output (B, H, Q, D) and the log-sum-exp (B, H, Q) of the scores."""
    if _is_fusible(query, value, rules, positions.max_distance):
        if query.is_cpu:
            return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
                query, key, value, 0.0, positions.is_causal, scale=rules.scale
            )
        return torch.ops.aten._scaled_dot_product_flash_attention(
            query, key, value, 0.0, positions.is_causal, False, scale=rules.scale
        )[:2]
    found = [
        attend_visible(
            query[..., queries, :],
            key[..., keys, :],
            value[..., keys, :],
            rules,
            positions.find_hidden(rules, queries, keys),
        )
        for queries, keys in _split_queries(query, key, rules, positions)
    ]
    outputs, sums = zip(*found, strict=True)  # pieces of the queries, one after the other
    return torch.cat(outputs, -2), torch.cat(sums, -1)


def attend_backward(
    grad: Tensor, saved: tuple[Tensor, ...], rules: Rules, positions: Positions
) -> tuple[Tensor, Tensor, Tensor]:
    """Return this part's share of the gradients of query, key and value.

    With weights p = exp(score - sums) and delta = sum over D of grad * output, the gradients are
    those of FlashAttention: dV = p^T grad, dS = p * (grad V^T - delta), dQ = dS K, dK = dS^T Q.

    Args:
        grad: (B, H, Q, D) gradient of the merged output.
        saved: query, key, value, and the *merged* output and log-sum-exp over all parts.
        rules: as in the forward pass.
        positions: as in the forward pass.
    """
    query, key, value, output, sums = saved
    if _is_fusible(query, value, rules, positions.max_distance):
        return _attend_backward_fused(grad, saved, rules, positions)
    exact = torch.promote_types(query.dtype, torch.float32)
    grad, wide, value = grad.to(exact), query.to(exact), value.to(exact)
    grad_query = torch.empty_like(wide)
    grad_key = torch.zeros_like(key, dtype=exact)
    grad_value = torch.zeros_like(value)
    for queries, keys in _split_queries(query, key, rules, positions):
        hidden = positions.find_hidden(rules, queries, keys)
        scores, slope = _score(query[..., queries, :], key[..., keys, :], rules, hidden)
        # By the sums over all parts: the weights of this part alone need not add up to 1.
        weights = (scores - sums[..., queries, None]).exp()
        grad_out = grad[..., queries, :]
        # What the normalization of softmax takes back: the mean of the weights' gradients.
        delta = (grad_out * output[..., queries, :]).sum(-1, keepdim=True)
        grad_scores = weights * (grad_out @ value[..., keys, :].transpose(-1, -2) - delta)
        grad_scores = grad_scores * slope
        grad_query[..., queries, :] = grad_scores @ key[..., keys, :].to(exact)
        grad_key[..., keys, :] += grad_scores.transpose(-1, -2) @ wide[..., queries, :]
        grad_value[..., keys, :] += weights.transpose(-1, -2) @ grad_out
    return grad_query.to(query.dtype), grad_key.to(key.dtype), grad_value.to(key.dtype)


def attend_visible(
    query: Tensor, key: Tensor, value: Tensor, rules: Rules, hidden: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the output (B, H, Q, D) and the log-sum-exp (B, H, Q) over the keys not `hidden`.

    `hidden` is a mask that broadcasts to (B, H, Q, K), or `None` where all keys are seen. The
    fused kernel returns NaN for a query that sees no key. Only windows hide a whole part, so
    masks with windows go the plain way.
    """
    is_safe = hidden is None or rules.window is None
    if query.is_cpu and rules.softcap is None and is_safe and query.shape[-1] == value.shape[-1]:
        mask = None
        if hidden is not None:
            bias = torch.zeros(hidden.shape, dtype=query.dtype).masked_fill_(hidden, -torch.inf)
            # The kernel wants a row for each query. They are all alike, so a view will do.
            mask = bias.expand(-1, -1, query.shape[-2], -1)
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, 0.0, False, attn_mask=mask, scale=rules.scale
        )
    scores, _ = _score(query, key, rules, hidden)
    # A query that sees no key has the weights exp(-inf - _NO_SCORE) = 0 and so the output 0.
    sums = scores.logsumexp(-1).clamp_min(_NO_SCORE)
    return (scores - sums[..., None]).exp().to(value.dtype) @ value, sums


def merge(output: Tensor, sums: Tensor, other: Tensor, other_sums: Tensor) -> tuple[Tensor, Tensor]:
    """Return the output (..., D) and the log-sum-exp (...) over the keys of both parts."""
    # exp(b) / (exp(a) + exp(b)) = sigmoid(b - a), which does not overflow.
    weight = torch.sigmoid(other_sums - sums)[..., None]
    merged = torch.lerp(output.to(weight.dtype), other.to(weight.dtype), weight)
    return merged.to(output.dtype), torch.logaddexp(sums, other_sums)


def _attend_backward_fused(
    grad: Tensor, saved: tuple[Tensor, ...], rules: Rules, positions: Positions
) -> tuple[Tensor, Tensor, Tensor]:
    query, key, value, output, sums = saved
    if query.is_cpu:
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
            grad, *saved, 0.0, positions.is_causal, scale=rules.scale
        )
    no_dropout = torch.zeros((), dtype=torch.long, device=query.device)  # seed and offset
    # The two `None` are the offsets of sequences of unequal length in one row, which we do not use.
    return torch.ops.aten._scaled_dot_product_flash_attention_backward(
        grad, query, key, value, output, sums.contiguous(), None, None, query.shape[-2],
        key.shape[-2], 0.0, positions.is_causal, no_dropout, no_dropout, scale=rules.scale,
    )  # fmt: skip


def _is_fusible(query: Tensor, value: Tensor, rules: Rules, max_distance: int) -> bool:
    """Return whether torch's fused kernels compute this part, forward and backward."""
    hides_keys = rules.window is not None and rules.window < max_distance
    if rules.softcap is not None or hides_keys or query.shape[-1] != value.shape[-1]:
        return False
    if query.is_cpu:
        return True
    # What FlashAttention 2 takes on CUDA.
    is_half = query.dtype in (torch.bfloat16, torch.float16)
    return query.is_cuda and is_half and query.shape[-1] <= 256 and query.shape[-1] % 8 == 0


def _split_queries(
    query: Tensor, key: Tensor, rules: Rules, positions: Positions
) -> Iterator[tuple[slice, slice]]:
    """Yield the queries in pieces of at most `_MAX_SCORES` scores, with the keys each may see."""
    batch, heads, length, _ = query.shape
    # Whole rows of scores: a softmax needs all keys of its query at once.
    step = max(1, _MAX_SCORES // max(1, batch * heads * key.shape[-2]))
    for start in range(0, length, step):
        stop = min(start + step, length)
        if not positions.is_causal:
            yield slice(start, stop), slice(0, key.shape[-2])
        else:
            first = 0 if rules.window is None else max(0, start - rules.window + 1)
            yield slice(start, stop), slice(first, stop)


def _score(
    query: Tensor, key: Tensor, rules: Rules, hidden: Tensor | None
) -> tuple[Tensor, Tensor | float]:
    """Return the scores (B, H, Q, K), minus infinity where hidden, and their slope.

    The slope is the derivative of a score by the product of query and key. Scores are at least
    float32: bfloat16 would round a score of 20 by up to 0.06 and so a weight by 6%.
    """
    scores = _multiply_in_float32(query, key) * rules.scale
    slope: Tensor | float = rules.scale
    if rules.softcap is not None:
        bent = torch.tanh(scores / rules.softcap)
        scores = bent * rules.softcap
        slope = (1 - bent * bent) * rules.scale
    return scores if hidden is None else scores.masked_fill(hidden, -torch.inf), slope


def _multiply_in_float32(query: Tensor, key: Tensor) -> Tensor:
    """Return the products (B, H, Q, K) in at least float32."""
    exact = torch.promote_types(query.dtype, torch.float32)
    if query.is_cuda and query.dtype != exact:
        # Exact products summed in float32, too, but without copies of the keys in float32, which
        # would make a decoding step half as long again.
        rows, columns = query.flatten(0, 1), key.flatten(0, 1).transpose(1, 2)
        return torch.bmm(rows, columns, out_dtype=exact).unflatten(0, query.shape[:2])
    return query.to(exact) @ key.to(exact).transpose(-1, -2)
