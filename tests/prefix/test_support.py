from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

from architectures import ARCHITECTURES, make_model, make_rows
from realm import prefix
from realm.prefix import PrefixSharingError, compute_group_logps, sample_completions
from realm.prefix.support import find_causal_lm, require_known_settings, require_shareable_model

_SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 64,
}


def make_other(kind: str, **settings: object) -> nn.Module:
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **_SMALL | settings)).train()


OTHERS = {
    "state-space": (lambda: make_other("mamba", state_size=4), "mamba"),
    "hybrid": (
        lambda: make_other(
            "qwen3_next", intermediate_size=32, num_experts=0, linear_num_key_heads=2,
            linear_num_value_heads=2, linear_key_head_dim=8, linear_value_head_dim=8, head_dim=8,
            layer_types=["linear_attention", "full_attention"],
        ),
        "state-space or recurrent",
    ),
    "sinks": (
        lambda: make_other(
            "gpt_oss", intermediate_size=32, num_local_experts=2, num_experts_per_tok=1,
            head_dim=8, pad_token_id=0, layer_types=["full_attention", "full_attention"],
        ),
        "attention sinks",
    ),
    "chunked layers": (
        lambda: make_other(
            "llama4_text", intermediate_size=32, intermediate_size_mlp=32, head_dim=8,
            moe_layers=[], pad_token_id=0,
        ),
        "unsupported layers",
    ),
    "scaled logits": (
        lambda: make_other("cohere", intermediate_size=32, logit_scale=0.25, pad_token_id=0),
        "scales its logits",
    ),
    "attention dropout": (lambda: make_model("qwen2", attention_dropout=0.1), "drops out 10%"),
}  # fmt: skip


@pytest.mark.parametrize("make, reason", OTHERS.values(), ids=OTHERS.keys())
def test_what_cannot_be_shared_is_refused_with_the_reason(make, reason) -> None:
    prompts, completions = make_rows()
    with pytest.raises(PrefixSharingError, match=reason):
        compute_group_logps(make(), prompts, [completions[:3], completions[3:]])


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_named_architectures_are_shareable(name: str) -> None:
    model = make_model(name)
    assert require_shareable_model(model) is model


def test_adapters_and_wrappers_are_seen_through() -> None:
    model = make_model()
    wrapped = nn.Module()
    wrapped.module = get_peft_model(model, LoraConfig(target_modules="all-linear"))
    assert find_causal_lm(wrapped) is model
    assert find_causal_lm(torch.compile(model)) is model


def test_an_adapter_that_adds_tokens_cannot_be_shared() -> None:
    adapted = get_peft_model(
        make_model(), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    )
    with pytest.raises(PrefixSharingError, match="tokens of its own"):
        require_shareable_model(adapted)


def test_generation_settings_it_does_not_know_are_named() -> None:
    require_known_settings(
        GenerationConfig(
            max_new_tokens=5, repetition_penalty=1.0, cache_implementation=None, top_k=0
        )
    )
    with pytest.raises(PrefixSharingError, match=r"repetition_penalty = 1\.2"):
        require_known_settings(GenerationConfig(max_new_tokens=5, repetition_penalty=1.2))
    with pytest.raises(PrefixSharingError, match="num_beams = 4"):
        require_known_settings(GenerationConfig(max_new_tokens=5, num_beams=4))
    with pytest.raises(PrefixSharingError, match="no max_new_tokens"):
        require_known_settings(GenerationConfig(max_length=5))


def test_rollouts_refuse_settings_that_they_do_not_know() -> None:
    settings = GenerationConfig(max_new_tokens=6, do_sample=False, repetition_penalty=5.0)
    with pytest.raises(PrefixSharingError, match="repetition_penalty"):
        sample_completions(make_model().eval(), [[3, 4, 5]], [2], settings)


def test_the_package_imports_nothing_of_realm() -> None:
    for path in sorted(Path(prefix.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or "."]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            foreign = [name for name in names if name.startswith(("realm", "."))]
            assert all(name.startswith("realm.prefix") for name in foreign), path.name
