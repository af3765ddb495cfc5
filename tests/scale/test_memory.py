"""The memory plan against numbers worked out by hand, and against what a tiny model holds."""

from dataclasses import replace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from realm.scale.memory import (
    GB,
    MemoryPlan,
    Shape,
    Work,
    choose_gpu,
    plan_answers,
    plan_training,
    read_shape,
)
from tiny import make_tiny

SHAPE = Shape(
    parameters=1000, trained=1000, layers=2, hidden=8, intermediate=16, keys=4, vocabulary=32
)
WORK = Work(tokens=10, cached_tokens=20)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("tiny"))


def load(tiny):
    return AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)


def test_a_training_in_numbers_worked_out_by_hand():
    plan = plan_training(SHAPE, WORK)
    assert plan == MemoryPlan(
        weights=4000,
        gradients=4000,
        optimizer=8000,
        copies=2000,
        activations=4 * 8 * 10 * 2 + (240 + 128 + 16) * 10,
        logits=2 * 10 * 32 + 4 * 32 * 8,
        rollouts=2 * 2 * 4 * 2 * 20,
    )
    # Rollouts are over when the passes begin.
    assert plan.peak == 16000 + 2000 + 4480 + 1664


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        # DDP: the buckets that gradients are sent in are a second copy of them.
        ({"processes": 4}, {"gradients": 8000, "weights": 4000}),
        # FSDP2 and ZeRO-3.
        (
            {"processes": 4, "weight_shards": 4, "state_shards": 4},
            {"weights": 1000, "gradients": 1000, "optimizer": 2000, "copies": 1000},
        ),
        # ZeRO-2.
        (
            {"processes": 4, "state_shards": 4},
            {"weights": 4000, "gradients": 1000, "optimizer": 2000, "copies": 2000},
        ),
        ({"has_reference": True}, {"weights": 8000, "optimizer": 8000}),
        (
            {"weight_bytes": 2, "trained_bytes": 2, "state_bytes": 4.0},
            {"weights": 2000, "gradients": 2000, "optimizer": 4000, "copies": 0},
        ),
        ({"is_checkpointed": False}, {"activations": 3840 * 2}),
        ({"is_half": False}, {"copies": 0, "rollouts": 1280}),
        ({"scored_tokens": 5}, {"logits": 12 * 32 * 5}),
    ],
)
def test_settings_change_what_they_should(changed, expected):
    plan = vars(plan_training(SHAPE, replace(WORK, **changed)))
    assert {name: plan[name] for name in expected} == expected


def test_an_adapter_has_gradients_and_optimizer_of_its_own_size_only():
    plan = plan_training(replace(SHAPE, trained=100), replace(WORK, weight_bytes=2))
    # 900 frozen weights of 2 bytes and 100 of 4.
    assert (plan.weights, plan.gradients, plan.optimizer) == (2200, 400, 800)
    assert plan.logits == 2 * 10 * 32, "the head has no gradient"


def test_answers_in_numbers_worked_out_by_hand():
    plan = plan_answers(SHAPE, batch_tokens=30, prompt_tokens=10, bytes_=2)
    assert plan == MemoryPlan(weights=2000, activations=80 * 2 * 10, rollouts=2 * 4 * 2 * 2 * 30)


def test_weights_gradients_and_optimizer_are_what_a_model_holds_after_a_step(tiny):
    model = load(tiny)
    optimizer = torch.optim.AdamW(model.parameters())
    model(input_ids=torch.arange(8)[None]).logits.sum().backward()
    optimizer.step()
    states = [
        value
        for state in optimizer.state.values()
        for value in state.values()
        if value.ndim  # the number of the step is a scalar
    ]
    plan = plan_training(read_shape(model), WORK)
    assert plan.weights == sum(weight.nbytes for weight in model.parameters())
    assert plan.gradients == sum(weight.grad.nbytes for weight in model.parameters())
    assert plan.optimizer == sum(value.nbytes for value in states)


def test_the_shape_of_an_adapter_is_that_of_peft(tiny):
    lora = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    model = load(tiny)
    trained, every = get_peft_model(model, lora).get_nb_trainable_parameters()
    shape = read_shape(model)
    assert (shape.trained, shape.parameters) == (trained, every)
    assert every == load(tiny).num_parameters() + trained


def measure_saved_bytes(model, num_tokens, *, is_half):
    """Return the bytes that autograd keeps for the backward pass, without the weights."""
    known = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = (tensor, storage.nbytes())  # held, so no address is reused
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_half),
    ):
        ids = torch.arange(num_tokens)[None] % 100
        output = model.model(input_ids=ids, use_cache=False)
    del output
    return sum(size for _, size in kept.values())


@pytest.mark.parametrize("is_half", [True, False])
@pytest.mark.parametrize("is_checkpointed", [True, False])
def test_activations_are_what_a_layer_keeps_for_the_backward_pass(tiny, is_half, is_checkpointed):
    config, sizes, num_tokens = AutoConfig.from_pretrained(tiny), {}, 2048
    for num_layers in (2, 4):
        config.num_hidden_layers = num_layers
        config.layer_types = ["full_attention"] * num_layers
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).train()
        if is_checkpointed:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        copies = 2 * sum(weight.numel() for weight in model.model.layers.parameters())
        sizes[num_layers] = measure_saved_bytes(model, num_tokens, is_half=is_half)
        # The copies of the weights in bfloat16 are a part of the plan of their own.
        sizes[num_layers] -= copies if is_half and not is_checkpointed else 0
    per_layer = (sizes[4] - sizes[2]) / 2
    work = Work(tokens=num_tokens, is_half=is_half, is_checkpointed=is_checkpointed)
    shape = read_shape(load(tiny))
    two = plan_training(replace(shape, layers=2), work).activations
    four = plan_training(replace(shape, layers=4), work).activations
    assert (four - two) / 2 == pytest.approx(per_layer, rel=0 if is_checkpointed else 0.1)


def test_rollouts_are_the_keys_and_values_of_a_cache(tiny):
    model = load(tiny)
    cache = model(input_ids=torch.arange(7)[None], use_cache=True).past_key_values
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    work = replace(WORK, cached_tokens=7, is_half=False)
    assert plan_training(read_shape(model), work).rollouts == held


def test_the_smallest_gpu_leaves_room_for_vllm_and_a_tenth():
    plan = MemoryPlan(weights=31 * GB)
    assert choose_gpu(plan) == 40
    assert choose_gpu(plan, vllm_share=0.25) == 48  # 0.9 x 48 - 12 = 31.2
    assert choose_gpu(plan, vllm_share=0.35) == 80
    # The model must fit the share of vLLM, too: 15.2 GB are more than 0.35 x 0.9 x 48.
    assert choose_gpu(MemoryPlan(weights=GB), vllm_share=0.35, vllm_weights=15.2 * GB) == 80
    assert choose_gpu(MemoryPlan(weights=1000 * GB)) == 0


def test_a_plan_names_its_parts_and_leaves_out_what_is_next_to_nothing():
    plan = MemoryPlan(weights=3.1 * GB, copies=1.55 * GB, logits=0.01 * GB)
    assert plan.describe() == "weights 3.1, bfloat16 copies 1.6"
