"""The memory plan of a config, as `--dry-run` prints it below a stage."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realm.checkpoint import check_model, find_context_length
from realm.scale.memory import (
    GB,
    MemoryPlan,
    Work,
    choose_gpu,
    plan_answers,
    plan_training,
    read_shape,
)
from realm.train.arguments import check_lora, make_grpo_arguments, make_sft_arguments

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from trl import GRPOConfig, SFTConfig

    from realm.config.root import Config
    from realm.run import Run

# No problem is written yet. The plan names this number.
PROMPT_TOKENS = 1024


def estimate_distill(run: Run) -> str | None:
    """Return the memory plan of distillation; `None` for self-distillation, which has none."""
    config = run.config
    if config.distill.kind == "self":
        return None
    arguments = make_sft_arguments(config, Path("unused"))
    return _describe(plan_distill(config, arguments), is_on_gpu=not arguments.use_cpu)


def estimate_train(run: Run) -> str | None:
    """Return the memory plan of reinforcement learning."""
    config = run.config
    arguments = make_grpo_arguments(config, Path("unused"), num_problems=1)
    has_vllm = arguments.use_vllm and arguments.vllm_mode == "colocate"
    plan, parameters = plan_train(config, arguments)
    return _describe(
        plan,
        is_on_gpu=not arguments.use_cpu,
        vllm_share=arguments.vllm_gpu_memory_utilization if has_vllm else 0.0,
        vllm_weights=2 * parameters / arguments.vllm_tensor_parallel_size if has_vllm else 0.0,
    )


def estimate_eval(run: Run) -> str | None:
    """Return the memory plan of the evaluation; `None` if no model is loaded for it."""
    import torch

    if run.config.model is None:
        return None
    is_on_gpu = torch.cuda.is_available()
    return _describe(plan_eval(run.config, is_on_gpu=is_on_gpu), is_on_gpu=is_on_gpu)


def plan_distill(config: Config, arguments: SFTConfig) -> MemoryPlan:
    """Return what one process of distillation holds."""
    model = _load_trained(config)
    answer = config.distill.max_chain_tokens or config.evaluate.max_new_tokens
    length = arguments.max_length or _guess_prompt(model, answer) + answer
    rows = arguments.per_device_train_batch_size
    work = Work(
        tokens=rows * length,
        # On a GPU TRL's head computes logits in tiles; on a CPU our trainer computes those taught.
        scored_tokens=rows * min(answer, length) if arguments.use_cpu else 0,
        **_read_work(config, arguments),
    )
    return plan_training(read_shape(model), work)


def plan_train(config: Config, arguments: GRPOConfig) -> tuple[MemoryPlan, int]:
    """Return what one process of reinforcement learning holds, and the model's parameters."""
    common = _read_work(config, arguments)
    group, new_tokens = arguments.num_generations, arguments.max_completion_length
    assert group and new_tokens and arguments.steps_per_generation  # TRL always sets them
    rows = arguments.per_device_train_batch_size
    # The prefix engine encodes a prompt once for its group. Under FSDP2 it does so in passes only,
    # and under DeepSpeed not at all.
    in_rollouts = config.train.shared_prefix != "off" and common["state_shards"] == 1
    is_fsdp2 = _uses_fsdp() and os.environ.get("FSDP_VERSION") == "2"
    in_passes = in_rollouts or (config.train.shared_prefix != "off" and is_fsdp2)
    model = _load_trained(config)
    prompt_tokens = _guess_prompt(model, new_tokens)

    def count_tokens(num_rows: int, *, is_shared: bool) -> int:
        num_prompts = math.ceil(num_rows / group) if is_shared else num_rows
        return num_prompts * prompt_tokens + num_rows * new_tokens

    shape, num_rollouts = read_shape(model), rows * arguments.steps_per_generation
    work = Work(
        tokens=count_tokens(rows, is_shared=in_passes),
        cached_tokens=(
            0 if arguments.use_vllm else count_tokens(num_rollouts, is_shared=in_rollouts)
        ),
        # With an adapter the reference is the model without it.
        has_reference=arguments.beta > 0 and config.train.lora is None,
        **common,
    )
    return plan_training(shape, work), shape.parameters


def plan_eval(config: Config, *, is_on_gpu: bool) -> MemoryPlan:
    """Return what the evaluation of one model holds."""
    model = check_model(config.resolve_model(), config.prompt.system)
    settings = config.evaluate
    prompt_tokens = _guess_prompt(model, settings.max_new_tokens)
    share = prompt_tokens / (prompt_tokens + settings.max_new_tokens)
    return plan_answers(
        read_shape(model),
        batch_tokens=settings.batch_tokens,
        prompt_tokens=round(settings.batch_tokens * share),
        bytes_=2 if is_on_gpu else 4,
    )


def _load_trained(config: Config) -> PreTrainedModel:
    """Return the model that is trained, without weights, with its adapter if there is one."""
    model = check_model(config.resolve_model(), config.prompt.system)
    check_lora(config.train.lora, model)
    return model


def _uses_fsdp() -> bool:
    return os.environ.get("ACCELERATE_USE_FSDP") == "true"


def _guess_prompt(model: PreTrainedModel, new_tokens: int) -> int:
    """Return `PROMPT_TOKENS`, or what the context of a small model leaves for a prompt."""
    context = find_context_length(model.config) or PROMPT_TOKENS + new_tokens
    return max(1, min(PROMPT_TOKENS, context - new_tokens))


def _read_work(config: Config, arguments: SFTConfig | GRPOConfig) -> dict[str, Any]:
    """Return the fields of `Work` that both trainings set alike."""
    kwargs = arguments.model_init_kwargs
    kwargs = kwargs if isinstance(kwargs, dict) else {}
    weight_bytes = 2 if re.search("16", str(kwargs.get("dtype", ""))) else 4
    # PEFT keeps an adapter in float32.
    trained_bytes = weight_bytes if config.train.lora is None else 4
    is_8bit = "8bit" in str(arguments.optim)
    processes = arguments.world_size
    is_fsdp = _uses_fsdp()
    is_deepspeed = os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true"
    stage = int(os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", 0)) if is_deepspeed else 0
    return {
        "weight_bytes": weight_bytes,
        "trained_bytes": trained_bytes,
        "state_bytes": 2.0 if is_8bit else 2.0 * trained_bytes,
        "is_half": bool(arguments.bf16 or arguments.fp16),
        "is_checkpointed": bool(arguments.gradient_checkpointing),
        "processes": processes,
        "weight_shards": processes if is_fsdp or stage == 3 else 1,
        "state_shards": processes if is_fsdp or stage >= 2 else 1,
    }


def _describe(
    plan: MemoryPlan, *, is_on_gpu: bool, vllm_share: float = 0.0, vllm_weights: float = 0.0
) -> str:
    """Return the plan in two lines."""
    place = "on each GPU" if is_on_gpu else "in main memory, for each process"
    advice = ""
    if is_on_gpu:
        size = choose_gpu(plan, vllm_share=vllm_share, vllm_weights=vllm_weights)
        advice = f"; a GPU of {size} GB or more" if size else "; no GPU is large enough"
    beside = f", and {vllm_share:.0%} of it for vLLM" if vllm_share else ""
    return (
        f"  about {plan.peak / GB:.1f} GB {place}{beside}{advice} (prompts of at most "
        f"{PROMPT_TOKENS:,} tokens)\n  in GB: {plan.describe()}"
    )
