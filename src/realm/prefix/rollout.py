"""Sample the completions of each prompt from one encoding of it.

The prompts are encoded in packed passes (see `layout`) that store their keys and values. Then all
completions take one token at a time in step: on a GPU in `graphs`, elsewhere here. Here completions
of a prompt are computed as one row until they differ: the samples of a policy that is nearly sure
have long beginnings in common. Rows that have ended leave the batch.

Shape legend:
    B  rows, that is, different beginnings of completions that are still running
    C  completions that are still running
    V  vocabulary
    D  size of the hidden states
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from realm.prefix.decoding import DecodingAttention, PromptCache
from realm.prefix.graphs import GraphDecoder, can_use_graphs
from realm.prefix.interface import install_shared_attention, run_backbone
from realm.prefix.layout import pack_groups
from realm.prefix.logps import compute_logits
from realm.prefix.sampler import Sampler, cut_after_stop, get_stop_tokens
from realm.prefix.support import require_known_settings, require_shareable_model

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import GenerationConfig, PreTrainedModel

_PREFILL_TOKENS = 16384
"""Prompt tokens that are encoded at once."""
_SMALL_STEP = 5e8
"""Operations of a decoding step that one thread does in a few milliseconds."""


@torch.no_grad()
def sample_completions(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    counts: Sequence[int],
    settings: GenerationConfig,
) -> list[list[int]]:
    """Return `counts[i]` completions of prompt i, prompt by prompt.

    The distribution is that of Transformers' `generate` under the same settings. The model's own
    generation config plays no part. Draws come from torch's global generator.

    Returns:
        Token ids of each completion, with its stop token if it has one.

    Raises:
        PrefixSharingError: sharing does not support the model or the settings. Nothing is drawn.
        FloatingPointError: the model computes NaN.
    """
    inner = require_shareable_model(model)
    require_known_settings(settings)
    install_shared_attention(inner)
    cache, logits = _encode_prompts(inner, prompts)
    if can_use_graphs(inner):
        drawn = GraphDecoder(inner, cache, counts, settings).complete_all(logits)
    else:
        repeats = torch.tensor(counts, device=inner.device)
        prompt_of = torch.arange(len(prompts), device=inner.device).repeat_interleave(repeats)
        with _choose_threads(inner, num_rows=len(prompt_of)):
            attention = DecodingAttention(cache, max_rows=len(prompt_of))
            drawn = _decode(inner, attention, logits, prompt_of, settings)
    stops = set(get_stop_tokens(settings))
    return [cut_after_stop(ids, stops) for ids in drawn.tolist()]


def _encode_prompts(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]]
) -> tuple[PromptCache, Tensor]:
    """Return the stored keys and values of the prompts, and the logits (prompts, V) after each."""
    cache = PromptCache([len(prompt) for prompt in prompts], model.device)
    logits = []
    for first, part in _split_prompts(prompts):
        # A completion of one token feeds nothing: only the prompt's last place is read.
        layout = pack_groups(part, [[[0]]] * len(part), model.device)
        cache.start_pass(first, layout)
        hidden = run_backbone(model, layout.input_ids, layout.position_ids, cache)
        logits.append(compute_logits(model, hidden[0, layout.reads]))
    return cache, torch.cat(logits)


def _split_prompts(
    prompts: Sequence[Sequence[int]],
) -> Iterator[tuple[int, Sequence[Sequence[int]]]]:
    """Yield prompts of up to `_PREFILL_TOKENS` tokens together, and the number of the first."""
    first = num_tokens = 0
    for number, prompt in enumerate(prompts):
        if number > first and num_tokens + len(prompt) > _PREFILL_TOKENS:
            yield first, prompts[first:number]
            first, num_tokens = number, 0
        num_tokens += len(prompt)
    yield first, prompts[first:]


def _decode(
    model: PreTrainedModel,
    attention: DecodingAttention,
    logits: Tensor,
    rows: Tensor,
    settings: GenerationConfig,
) -> Tensor:
    """Return tokens (all completions, longest); what follows a stop token means nothing.

    Args:
        model: The model.
        attention: Has one row of each prompt.
        logits: (prompts, V) after each prompt.
        rows: The row of each completion.
        settings: Sampling settings and stop tokens.
    """
    sample = Sampler(settings)
    device = logits.device
    stops = torch.tensor(get_stop_tokens(settings), device=device)
    drawn = torch.zeros((len(rows), settings.max_new_tokens), dtype=torch.long, device=device)
    running = torch.arange(len(rows), device=device)
    for place in range(settings.max_new_tokens):
        tokens = sample(logits, rows)
        drawn[running, place] = tokens
        if len(stops):
            goes_on = ~torch.isin(tokens, stops)
            running, rows, tokens = running[goes_on], rows[goes_on], tokens[goes_on]
        if len(running) == 0 or place + 1 == settings.max_new_tokens:
            break
        # Completions of one row that drew the same token stay one row.
        pairs, continuation_of = (rows * logits.shape[1] + tokens).unique(return_inverse=True)
        places = attention.branch_rows(pairs // logits.shape[1])
        rows = places[continuation_of]
        # A row that has ended and is still in the batch gets token 0; nobody reads what it gives.
        fed = torch.zeros(len(attention.positions), dtype=torch.long, device=device)
        fed[places] = pairs % logits.shape[1]
        # One token per row: each row is a sequence of length 1 for the model.
        hidden = run_backbone(model, fed[:, None], attention.positions, attention)
        attention.advance()
        logits = compute_logits(model, hidden[:, -1])
    return drawn[:, : place + 1]


@contextmanager
def _choose_threads(model: PreTrainedModel, *, num_rows: int) -> Iterator[None]:
    """Take one thread where a decoding step is little work.

    On two idle cores a second thread saves a third of the time. Where another process wants a
    core, threads wait for each other, which costs much more. The choice depends on sizes alone,
    so that a run can be repeated to the last bit.
    """
    before = torch.get_num_threads()
    is_small = model.device.type == "cpu" and 2 * num_rows * model.num_parameters() < _SMALL_STEP
    torch.set_num_threads(1 if is_small else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
