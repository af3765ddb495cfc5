"""The usual way, each row padded and encoded by itself: what runs where prompts cannot be shared, and what sharing must equal."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel


def stock_logps(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    *,
    temperature: float,
) -> tuple[Tensor, Tensor]:
    """Return log-probabilities and entropies of completion tokens, each [rows, longest], zero after the end."""
    width = max(map(len, completions))
    input_ids, mask = _left_padded(prompts, model.device)
    answers = torch.tensor(
        [[*ids, *[0] * (width - len(ids))] for ids in completions], device=model.device
    )
    real = torch.tensor(
        [[1] * len(ids) + [0] * (width - len(ids)) for ids in completions], device=model.device
    )
    mask = torch.cat([mask, real], 1)
    logits = model(
        input_ids=torch.cat([input_ids, answers], 1),
        attention_mask=mask,
        position_ids=(mask.cumsum(1) - 1).clamp_min(0),
        logits_to_keep=width + 1,
        use_cache=False,
    ).logits[:, :-1]
    logs = torch.log_softmax(
        logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature, -1
    )
    logps, entropies = logs.gather(-1, answers[..., None])[..., 0], -(logs.exp() * logs).sum(-1)
    return logps.masked_fill(real == 0, 0), entropies.masked_fill(real == 0, 0)


def stock_rollout(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], settings: GenerationConfig
) -> list[list[int]]:
    """Return one completion for each prompt by Transformers' `generate`, with its stop token where there is one."""
    input_ids, mask = _left_padded(prompts, model.device)
    own, model.generation_config = model.generation_config, settings
    try:
        sequences = model.generate(
            input_ids=input_ids, attention_mask=mask, generation_config=settings
        )
    finally:
        model.generation_config = own
    return [
        until_stop(ids, stop_tokens(settings))
        for ids in sequences[:, input_ids.shape[1] :].tolist()
    ]


def stop_tokens(settings: GenerationConfig) -> list[int]:
    """Return the tokens that end a completion."""
    stops = settings.eos_token_id
    return [] if stops is None else stops if isinstance(stops, list) else [stops]


def until_stop(ids: list[int], stops: Sequence[int]) -> list[int]:
    """Return a completion up to its first stop token, that one included."""
    return ids[: next((place + 1 for place, token in enumerate(ids) if token in stops), len(ids))]


def _left_padded(prompts: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    width = max(map(len, prompts))
    ids = torch.tensor(
        [[0] * (width - len(prompt)) + list(prompt) for prompt in prompts], device=device
    )
    mask = torch.tensor(
        [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device
    )
    return ids, mask
