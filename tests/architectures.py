"""Tiny random models of every architecture whose prompts are shared, and prompts for them."""

from __future__ import annotations

import random
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

_SHAPE: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_WINDOWED = {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]}
_GPT2 = {
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 256,
    "attn_pdrop": 0.0,
    "resid_pdrop": 0.0,
    "embd_pdrop": 0.0,
}
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen2": ("qwen2", {}),
    "qwen2, a window": ("qwen2", {"use_sliding_window": True, **_WINDOWED}),
    "qwen3": ("qwen3", {"head_dim": 16}),
    "llama": ("llama", {"num_key_value_heads": 1}),
    "mistral, a window": ("mistral", {"sliding_window": 8}),
    "gemma2": (
        "gemma2",
        {"head_dim": 8, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0, **_WINDOWED},
    ),
    "gemma3": ("gemma3_text", {"head_dim": 8, **_WINDOWED}),
    "phi3": ("phi3", {}),
    "gpt2": ("gpt2", _GPT2),
    "gpt_neox": ("gpt_neox", {"num_key_value_heads": 4, "hidden_act": "gelu"}),
}


def make_model(name: str = "qwen2", *, seed: int = 0, **changes: Any) -> PreTrainedModel:
    """Return a random model of the architecture `name`, ready to train."""
    kind, more = ARCHITECTURES[name]
    config = AutoConfig.for_model(kind, **_SHAPE | more | changes)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32).train()


def make_rows(
    *,
    group_size: int = 3,
    prompts: tuple[int, ...] = (11, 5),
    longest: int = 20,
    even: bool = False,
    seed: int = 0,
) -> tuple[list[list[int]], list[list[int]]]:
    """Return prompts of the given lengths, each with `group_size` completions of many lengths."""
    draw = random.Random(seed)

    def ids(length: int) -> list[int]:
        return [draw.randrange(3, 64) for _ in range(length)]

    number = len(prompts) * group_size
    lengths = (
        [longest] * number
        if even
        else [0, 1, longest, *(draw.randint(2, longest) for _ in range(number))][:number]
    )
    return [ids(length) for length in prompts], [ids(length) for length in lengths]
