"""Draw next tokens from logits, and tell where a completion ends.

Shape legend:
    B  rows, each with logits
    C  completions; several may share a row
    V  vocabulary
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import GenerationConfig


def get_stop_tokens(settings: GenerationConfig) -> list[int]:
    """Return the tokens that end a completion."""
    stops = settings.eos_token_id
    if stops is None:
        return []
    return stops if isinstance(stops, list) else [stops]


def cut_after_stop(ids: list[int], stops: set[int]) -> list[int]:
    """Return a completion up to its first stop token, that one included."""
    ends = (place + 1 for place, token in enumerate(ids) if token in stops)
    return ids[: next(ends, len(ids))]


def require_numbers(input_ids: Any, logits: Any) -> Any:
    """Return the logits, as a logits processor of Transformers. NaN is a `FloatingPointError`."""
    if logits.isnan().any():
        raise FloatingPointError("the model computes NaN")
    return logits


class Sampler:
    """Draw the next token of each row, with Transformers' warpers in the order of `generate`."""

    def __init__(self, settings: GenerationConfig) -> None:
        self.is_greedy = not settings.do_sample
        self.warpers = LogitsProcessorList()
        if settings.temperature is not None and settings.temperature != 1.0:
            self.warpers.append(TemperatureLogitsWarper(settings.temperature))
        if settings.top_k:
            self.warpers.append(TopKLogitsWarper(settings.top_k))
        if settings.top_p is not None and settings.top_p < 1.0:
            self.warpers.append(TopPLogitsWarper(settings.top_p))
        if settings.min_p is not None:
            self.warpers.append(MinPLogitsWarper(settings.min_p))

    def __call__(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Return (C,) tokens: one for each completion, drawn from the (B, V) logits of its row."""
        logits = require_numbers(None, logits)
        if self.is_greedy or not logits.is_cpu:
            return self.draw_tokens(logits[rows])
        chances = self._find_chances(logits)
        # Inverse transform sampling takes one random number per row, where `multinomial` draws
        # one per token. Float64, since the sum of a large vocabulary rounds in float32; scaled by
        # the total, which is not exactly 1.
        totals = chances.double().cumsum(-1)[rows]
        drawn = torch.rand(len(rows), 1, dtype=torch.double) * totals[:, -1:]
        # `right`: a draw of exactly 0 must not give a first token of probability 0.
        return torch.searchsorted(totals, drawn, right=True)[:, 0]

    def draw_tokens(self, logits: Tensor) -> Tensor:
        """Return (B,) tokens, one for each row of logits (B, V), without waiting for a GPU."""
        if self.is_greedy:
            return logits.argmax(-1)
        chances = self._find_chances(logits)
        # The token whose exponential clock of rate p rings first: what `multinomial` does as well,
        # after checks that wait for the GPU.
        return (chances / torch.empty_like(chances).exponential_()).argmax(-1)

    def _find_chances(self, logits: Tensor) -> Tensor:
        no_ids: Any = None  # these warpers read the logits alone
        return torch.softmax(self.warpers(no_ids, logits), -1)
