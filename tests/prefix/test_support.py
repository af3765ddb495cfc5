from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

from architectures import ARCHITECTURES, make_model, make_rows
from realm.prefix import Unshareable, group_logps, group_rollout
from realm.prefix.stock import stock_logps
from realm.prefix.support import causal_lm, require_known, require_shareable

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
            "qwen3_next", intermediate_size=32, num_experts=0, linear_num_key_heads=2, linear_num_value_heads=2,
            linear_key_head_dim=8, linear_value_head_dim=8, head_dim=8, layer_types=["linear_attention", "full_attention"],
        ),
        "state-space or recurrent",
    ),
    "sinks": (
        lambda: make_other(
            "gpt_oss", intermediate_size=32, num_local_experts=2, num_experts_per_tok=1, head_dim=8, pad_token_id=0,
            layer_types=["full_attention", "full_attention"],
        ),
        "attention sinks",
    ),
    "chunked layers": (
        lambda: make_other(
            "llama4_text", intermediate_size=32, intermediate_size_mlp=32, head_dim=8, moe_layers=[], pad_token_id=0
        ),
        "another kind",
    ),
    "scaled logits": (lambda: make_other("cohere", intermediate_size=32, logit_scale=0.25, pad_token_id=0), "scales its logits"),
    "attention dropout": (lambda: make_model("qwen2", attention_dropout=0.1), "drops out 10%"),
}  # fmt: skip


@pytest.mark.parametrize("make, reason", OTHERS.values(), ids=OTHERS.keys())
def test_what_cannot_be_shared_runs_the_usual_path_with_one_warning(make, reason) -> None:
    model = make()
    prompts, completions = make_rows()
    with pytest.warns(UserWarning, match=f"Prompts are not shared: .*{reason}") as warned:
        torch.manual_seed(0)
        found = group_logps(model, prompts, completions, 3)
    assert len([warning for warning in warned if "not shared" in str(warning.message)]) == 1
    torch.manual_seed(0)
    expected = stock_logps(
        model, [prompt for prompt in prompts for _ in range(3)], completions, temperature=1.0
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_named_architectures_are_shareable(name: str) -> None:
    model = make_model(name)
    assert require_shareable(model) is model


def test_adapters_and_wrappers_are_seen_through() -> None:
    model = make_model()
    wrapped = nn.Module()
    wrapped.module = get_peft_model(model, LoraConfig(target_modules="all-linear"))
    assert causal_lm(wrapped) is model


def test_an_adapter_that_adds_tokens_cannot_be_shared() -> None:
    adapted = get_peft_model(
        make_model(), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    )
    with pytest.raises(Unshareable, match="tokens of its own"):
        require_shareable(adapted)


def test_generation_settings_it_does_not_know_are_named() -> None:
    require_known(
        GenerationConfig(
            max_new_tokens=5, repetition_penalty=1.0, cache_implementation=None, top_k=0
        )
    )
    with pytest.raises(Unshareable, match=r"repetition_penalty = 1\.2"):
        require_known(GenerationConfig(max_new_tokens=5, repetition_penalty=1.2))
    with pytest.raises(Unshareable, match="num_beams = 4"):
        require_known(GenerationConfig(max_new_tokens=5, num_beams=4))
    with pytest.raises(Unshareable, match="no max_new_tokens"):
        require_known(GenerationConfig(max_length=5))


def test_generation_settings_it_does_not_know_are_left_to_transformers() -> None:
    model = make_model().eval()
    settings = GenerationConfig(
        max_new_tokens=6, do_sample=False, repetition_penalty=5.0, pad_token_id=0
    )
    with pytest.warns(UserWarning, match="repetition_penalty"):
        found = group_rollout(model, [[3, 4, 5]], 2, settings)
    assert found[0] == found[1] and len(set(found[0])) == len(found[0]) == 6
