"""What `--dry-run` says of memory, and what the shipped configs say of the GPU they need."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from typer.testing import CliRunner

from realm.cli import app
from realm.config.root import load_config
from realm.scale import plan
from realm.scale.memory import GB, MemoryPlan
from tiny import make_tiny
from tiny_rl import GRPO, make_config

CONFIGS = Path(__file__).parents[2] / "configs"
# As their config.json has them.
SIZES = {
    "qwen2.5-1.5b": {
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "vocab_size": 151936,
        "tie_word_embeddings": True,
    },
    "deepseek-r1-distill-qwen-7b": {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
        "tie_word_embeddings": False,
    },
}


@pytest.fixture
def use_shape(monkeypatch):
    """Return a function that makes every model one without weights of these sizes."""

    def use(name):
        config = AutoConfig.for_model("qwen2", max_position_embeddings=32768, **SIZES[name])

        def make(*_):
            with torch.device("meta"):
                return AutoModelForCausalLM.from_config(config)

        monkeypatch.setattr(plan, "check_model", make)

    return use


@pytest.mark.parametrize("name", SIZES)
def test_a_config_names_the_smallest_gpu_that_its_plan_fits(name, use_shape, monkeypatch):
    use_shape(name)
    # As on a GPU, where TRL's default of checkpointing holds.
    on_gpu = [f"{part}.gradient_checkpointing=true" for part in ("distill.sft", "train.grpo")]
    config = load_config(CONFIGS / f"{name}.yaml", on_gpu)
    monkeypatch.setattr("realm.core.errors.find_spec", lambda name: True)
    make_sft_arguments = plan.make_sft_arguments

    def make_gpu_arguments(*given):
        arguments = make_sft_arguments(*given)
        arguments.use_cpu = False
        return arguments

    monkeypatch.setattr(plan, "make_sft_arguments", make_gpu_arguments)
    monkeypatch.setattr(
        plan,
        "_describe",
        lambda found, **more: plan.choose_gpu(
            found, **{key: value for key, value in more.items() if key != "is_on_gpu"}
        ),
    )
    run = SimpleNamespace(config=config)
    stages = [plan.estimate_train] + [plan.estimate_distill] * (config.recipe == "r1")
    size = max(stage(run) for stage in stages)
    assert size
    text = (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8")
    assert re.search(r"one GPU of (\d+) GB", text)[1] == str(size)


def test_full_training_of_a_billion_parameters_holds_16_bytes_for_each(use_shape):
    use_shape("qwen2.5-1.5b")
    config = load_config(CONFIGS / "qwen2.5-1.5b.yaml")
    arguments = plan.make_sft_arguments(config, Path("unused"))
    assert plan.plan_distill(config, arguments).lasting == 16 * 1_543_714_304


def write_config(tmp_path, **grpo):
    make_tiny(tmp_path / "model", context=512)
    train = {"grpo": GRPO | grpo}
    return make_config(tmp_path, train=train)


def plan_rl(config):
    arguments = plan.make_grpo_arguments(config, Path("unused"), num_problems=1)
    return plan.plan_train(config, arguments)[0]


def test_a_prompt_is_counted_once_for_its_group_unless_sharing_is_off(tmp_path):
    config = write_config(tmp_path)
    # Four rows of two prompts, of 506 tokens since the model reads 512; six new tokens each.
    shared = plan_rl(config).rollouts
    alone = plan_rl(config.with_settings({"train.shared_prefix": "off"})).rollouts
    per_token = 2 * 4 * 16 * 2  # two tensors of float32, 16 wide, in each of two layers
    assert shared == per_token * (2 * 506 + 4 * 6)
    assert alone == per_token * (4 * 506 + 4 * 6)


def test_a_prompt_is_counted_for_each_completion_where_a_launch_shares_anything_out(
    tmp_path, monkeypatch
):
    config = write_config(tmp_path)
    alone = plan_rl(config.with_settings({"train.shared_prefix": "off"})).rollouts
    read_work = plan._read_work
    zero2 = {"processes": 4, "state_shards": 4}
    monkeypatch.setattr(plan, "_read_work", lambda *given: read_work(*given) | zero2)
    assert plan_rl(config).rollouts == alone


def test_fsdp2_shares_prompts_in_passes_and_not_in_rollouts(tmp_path, monkeypatch):
    config = write_config(tmp_path)
    off = config.with_settings({"train.shared_prefix": "off"})
    arguments = plan.make_grpo_arguments(config, Path("unused"), num_problems=1)
    for name, value in {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}.items():
        monkeypatch.setenv(name, value)
    read_work = plan._read_work
    four = {"processes": 4, "weight_shards": 4, "state_shards": 4}
    monkeypatch.setattr(plan, "_read_work", lambda *given: read_work(*given) | four)
    shared, alone = (plan.plan_train(one, arguments)[0] for one in (config, off))
    assert shared.rollouts == alone.rollouts
    per_row = (2 * 506 + 4 * 6) / (4 * 506 + 4 * 6)
    assert shared.activations == pytest.approx(per_row * alone.activations)


def test_on_a_cpu_the_logits_of_the_taught_tokens_are_held(tmp_path):
    config = write_config(tmp_path).with_settings(
        {"distill.max_chain_tokens": 100, "distill.sft.per_device_train_batch_size": 3}
    )
    arguments = plan.make_sft_arguments(config, Path("unused"))
    arguments.use_cpu = True
    logits = plan.plan_distill(config, arguments).logits
    vocabulary = AutoConfig.from_pretrained(tmp_path / "model").vocab_size
    assert logits == 12 * vocabulary * 300
    arguments.use_cpu = False
    assert plan.plan_distill(config, arguments).logits != logits


def test_a_reference_model_is_counted_for_a_kl_term(tmp_path):
    config = write_config(tmp_path)
    with_kl = config.with_settings({"train.grpo.beta": 0.1})
    assert plan_rl(with_kl).weights == 2 * plan_rl(config).weights


def test_weights_in_half_precision_and_an_optimizer_of_8_bits_are_counted_as_such(tmp_path):
    config = write_config(tmp_path, model_init_kwargs={"dtype": "bfloat16"}, optim="adamw_torch")
    weights = plan_rl(config).weights
    assert plan_rl(config).optimizer == 2 * weights and plan_rl(config).copies == 0
    arguments = plan.make_grpo_arguments(config, Path("unused"), num_problems=1)
    arguments.optim = "adamw_8bit"
    assert plan.plan_train(config, arguments)[0].optimizer == weights


@pytest.mark.parametrize(
    ("environment", "shares"),
    [
        ({"ACCELERATE_USE_FSDP": "true"}, (4, 4)),
        ({"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"}, (4, 4)),
        ({"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2"}, (1, 4)),
        ({}, (1, 1)),
    ],
)
def test_the_launch_says_who_holds_what(tmp_path, monkeypatch, environment, shares):
    config = write_config(tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    arguments = SimpleNamespace(
        model_init_kwargs=None, optim="adamw_torch", world_size=4, bf16=True, fp16=False,
        gradient_checkpointing=True,
    )  # fmt: skip
    work = plan._read_work(config, arguments)
    assert (work["weight_shards"], work["state_shards"]) == shares
    assert work["processes"] == 4


def test_a_dry_run_prints_the_plan_below_each_stage_with_a_model(tmp_path):
    write_config(tmp_path)
    (tmp_path / "none.jsonl").write_text('{"id": "a", "question": "1+1", "answer": "2"}\n')
    for name in ("x",):
        (tmp_path / name).write_text("")
    result = CliRunner().invoke(app, ["run", str(tmp_path / "small.yaml"), "--dry-run"])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    after = {stage: lines[number + 1] for number, line in enumerate(lines)
             for stage in ("train", "eval") if line.startswith(f"{stage} ")}  # fmt: skip
    place = "on each GPU" if torch.cuda.is_available() else "in main memory, for each process"
    for stage in ("train", "eval"):
        assert re.match(rf"  about \d+\.\d GB {place}", after[stage])


def test_a_plan_in_words():
    large = MemoryPlan(weights=31 * GB)
    text = plan._describe(large, is_on_gpu=True, vllm_share=0.25, vllm_weights=3 * GB)
    assert text == (
        "  about 31.0 GB on each GPU, and 25% of it for vLLM; a GPU of 48 GB or more (prompts of "
        "at most 1,024 tokens)\n  in GB: weights 31.0"
    )
    assert "no GPU is large enough" in plan._describe(MemoryPlan(weights=900 * GB), is_on_gpu=True)
    assert "GPU" not in plan._describe(large, is_on_gpu=False)
