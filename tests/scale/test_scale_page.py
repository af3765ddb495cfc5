"""The memory table of docs/how-to/scale.md is what the memory plan computes."""

import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from realm.scale.memory import GB, Work, choose_gpu, plan_training, read_shape

PAGE = Path(__file__).parents[2] / "docs/how-to/scale.md"
# Hidden size, feed-forward size, layers, heads, key heads, vocabulary, tied: of their config.json.
MODELS = {
    "SmolLM2-135M": ("llama", 576, 1536, 30, 9, 3, 49152, True),
    "Qwen2.5-0.5B": ("qwen2", 896, 4864, 24, 14, 2, 151936, True),
    "Qwen2.5-1.5B": ("qwen2", 1536, 8960, 28, 12, 2, 151936, True),
    "Qwen2.5-3B": ("qwen2", 2048, 11008, 36, 16, 2, 151936, True),
    "Qwen2.5-7B": ("qwen2", 3584, 18944, 28, 28, 4, 152064, False),
    "Qwen2.5-14B": ("qwen2", 5120, 13824, 48, 40, 8, 152064, False),
}
PROMPT, COMPLETION, GROUP, ACCUMULATED = 1024, 512, 8, 8


@cache
def make_shapes(name):
    """Return the shapes of a model whose weights are all trained, and with a LoRA adapter."""
    kind, hidden, intermediate, layers, heads, key_heads, vocabulary, is_tied = MODELS[name]
    config = AutoConfig.for_model(
        kind,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_heads,
        vocab_size=vocabulary,
        tie_word_embeddings=is_tied,
    )
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
        whole = read_shape(model)
        get_peft_model(model, LoraConfig(r=32, target_modules="all-linear", task_type="CAUSAL_LM"))
    return whole, read_shape(model)


def write_row(name):
    whole, adapted = make_shapes(name)
    shared = PROMPT + GROUP * COMPLETION
    one = Work(tokens=shared, cached_tokens=ACCUMULATED * shared)
    # In rollouts on weights that are shared out each completion has its prompt beside it.
    alone = ACCUMULATED * GROUP * (PROMPT + COMPLETION)
    eight = replace(one, cached_tokens=alone, processes=8, weight_shards=8, state_shards=8)
    plans = [
        plan_training(whole, one),
        plan_training(whole, eight),
        plan_training(adapted, replace(one, weight_bytes=2)),
    ]
    cells = [f"{plan.peak / GB:.1f} ({choose_gpu(plan) or 'none'})" for plan in plans]
    lasting = f"{plans[0].lasting / GB:.1f}"
    return " | ".join([f"| {name}", lasting, *cells, f"{2 * whole.parameters / GB:.1f} |"])


@pytest.mark.parametrize("name", MODELS)
def test_a_row_of_the_memory_table_is_computed(name):
    assert write_row(name) in PAGE.read_text(encoding="utf-8").splitlines()


def test_the_parameters_are_those_of_the_models():
    millions = [round(make_shapes(name)[0].parameters / 1e6) for name in MODELS]
    assert millions == [135, 494, 1544, 3086, 7616, 14770]


def test_every_launch_config_is_named_and_every_named_one_exists():
    named = set(re.findall(r"configs/accelerate/(\w+)\.yaml", PAGE.read_text(encoding="utf-8")))
    folder = PAGE.parents[2] / "configs/accelerate"
    assert named == {path.stem for path in folder.glob("*.yaml")}
