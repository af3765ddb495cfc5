"""What sharing must equal: each row padded and encoded by itself, by Transformers alone."""

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
    """Return log-probabilities and entropies, each (rows, longest), zero after the end."""
    width = max(map(len, completions))
    input_ids, mask = left_padded(prompts)
    answers = torch.tensor([[*ids, *[0] * (width - len(ids))] for ids in completions])
    real = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids in completions])
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
    """Return one completion for each prompt by `generate`, with its stop token if it has one."""
    input_ids, mask = left_padded(prompts)
    own, model.generation_config = model.generation_config, settings
    try:
        sequences = model.generate(
            input_ids=input_ids, attention_mask=mask, generation_config=settings
        )
    finally:
        model.generation_config = own
    stops = settings.eos_token_id or []
    return [
        ids[: next((place + 1 for place, token in enumerate(ids) if token in stops), len(ids))]
        for ids in sequences[:, input_ids.shape[1] :].tolist()
    ]


def left_padded(prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Return ids and mask (rows, longest)."""
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    return ids, mask
