"""Sample the completions of each prompt from one encoding of it: its keys and values are stored once a group."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import (
    GenerationConfig,
    LogitsProcessorList,
    MinPLogitsWarper,
    PreTrainedModel,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from realm.prefix.decoding import Decoding, Prefixes
from realm.prefix.interface import install, run_backbone
from realm.prefix.layout import pack
from realm.prefix.logps import logits_of
from realm.prefix.stock import stock_rollout, stop_tokens, until_stop
from realm.prefix.support import Unshareable, causal_lm, require_known, require_shareable

_PREFILL_TOKENS = 16384
"""Prompt tokens that are encoded at once."""
_LITTLE_WORK = 5e8
"""Operations of a decoding step that one thread does in a few milliseconds."""
_COMPACT = 0.8
"""Finished rows leave the batch when at most this share of it goes on."""


def group_rollout(
    model: nn.Module, prompts: Sequence[Sequence[int]], group_size: int, settings: GenerationConfig
) -> list[list[int]]:
    """Return `group_size` completions for the first prompt, then as many for the next, each with its stop token if it has one.

    The distribution is that of Transformers' `generate` under the same settings; of the model's own generation config
    nothing is taken. Draws come from torch's global generator. Settings or a model that sharing does not know are left to
    `generate`, with a warning that says why.
    """
    try:
        return sample_groups(
            require_shareable(model), prompts, [group_size] * len(prompts), settings
        )
    except Unshareable as reason:
        warnings.warn(f"Prompts are not shared: {reason}.", stacklevel=2)
        return stock_rollout(
            causal_lm(model), [prompt for prompt in prompts for _ in range(group_size)], settings
        )


@torch.no_grad()
def sample_groups(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    sizes: Sequence[int],
    settings: GenerationConfig,
) -> list[list[int]]:
    """Return `sizes[i]` completions for prompt i, prompt after prompt; `Unshareable` for what sharing does not know."""
    require_known(settings)
    install(model)
    counts = torch.tensor(sizes, device=model.device)
    prefixes, logits = _encode(model, prompts)
    logits = logits.repeat_interleave(counts, 0)
    with _threads(model, rows=len(logits)):
        drawn = _decode(model, Decoding(prefixes, counts), logits, settings)
    return [until_stop(ids, stop_tokens(settings)) for ids in drawn.tolist()]


def _decode(
    model: PreTrainedModel, decoding: Decoding, logits: Tensor, settings: GenerationConfig
) -> Tensor:
    """Return the tokens of all rows up to the last that was needed; what follows a stop token means nothing."""
    choose, device = Sampler(settings), logits.device
    stops = torch.tensor(stop_tokens(settings), device=device)
    drawn = torch.zeros((len(logits), settings.max_new_tokens), dtype=torch.long, device=device)
    rows, running = (
        torch.arange(len(logits), device=device),
        torch.ones(len(logits), dtype=torch.bool, device=device),
    )
    for place in range(settings.max_new_tokens):
        tokens = choose(logits)
        drawn[rows, place] = tokens
        if len(stops):
            running &= ~torch.isin(tokens, stops)
        left = int(running.sum())
        if left == 0 or place + 1 == settings.max_new_tokens:
            break
        if left <= _COMPACT * len(rows):
            keep = running.nonzero().flatten()
            rows, tokens, running = rows[keep], tokens[keep], running[keep]
            decoding.keep(keep)
        hidden = run_backbone(model, tokens[:, None], decoding.positions, decoding)
        decoding.advance()
        logits = logits_of(model, hidden[:, -1])
    return drawn[:, : place + 1]


@contextmanager
def _threads(model: PreTrainedModel, *, rows: int) -> Iterator[None]:
    """Take one thread where a decoding step is little work: its many small products gain less than meeting costs them.

    On two idle cores a second thread saves a third of the time; where another process wants a core, waiting for it costs much
    more. The choice goes by sizes alone, so that a run can be repeated to the last bit.
    """
    before = torch.get_num_threads()
    little = model.device.type == "cpu" and 2 * rows * model.num_parameters() < _LITTLE_WORK
    torch.set_num_threads(1 if little else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Sampler:
    """Draws the next token of each row by Transformers' own warpers, in the order in which `generate` applies them."""

    def __init__(self, settings: GenerationConfig) -> None:
        self.greedy, self.warp = not settings.do_sample, LogitsProcessorList()
        if settings.temperature is not None and settings.temperature != 1.0:
            self.warp.append(TemperatureLogitsWarper(settings.temperature))
        if settings.top_k:
            self.warp.append(TopKLogitsWarper(settings.top_k))
        if settings.top_p is not None and settings.top_p < 1.0:
            self.warp.append(TopPLogitsWarper(settings.top_p))
        if settings.min_p is not None:
            self.warp.append(MinPLogitsWarper(settings.min_p))

    def __call__(self, logits: Tensor) -> Tensor:
        if self.greedy:
            return logits.argmax(-1)
        chances = torch.softmax(self.warp(None, logits), -1)
        if not chances.is_cpu:
            return torch.multinomial(chances, 1)[:, 0]
        reached = chances.double().cumsum(
            -1
        )  # one number a row, where `multinomial` would draw one for each token
        drawn = torch.rand(len(chances), 1, dtype=torch.double) * reached[:, -1:]
        return torch.searchsorted(reached, drawn, right=True)[:, 0]


def _encode(model: PreTrainedModel, prompts: Sequence[Sequence[int]]) -> tuple[Prefixes, Tensor]:
    """Return the keys and values of the prompts, and the logits after each."""
    prefixes, logits, start = Prefixes([len(prompt) for prompt in prompts], model.device), [], 0
    while start < len(prompts):
        stop, budget = start + 1, _PREFILL_TOKENS - len(prompts[start])
        while stop < len(prompts) and (budget := budget - len(prompts[stop])) >= 0:
            stop += 1
        part = prompts[start:stop]
        layout = pack(part, [[[0]]] * len(part), model.device)
        prefixes.expect(start, layout)
        logits.append(
            logits_of(
                model,
                run_backbone(model, layout.input_ids, layout.position_ids, prefixes)[
                    0, layout.reads
                ],
            )
        )
        start = stop
    return prefixes, torch.cat(logits)
