from __future__ import annotations

import inspect
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer
from trl.models.utils import disable_gradient_checkpointing
from trl.trainer import grpo_trainer

from realm.prefix import PrefixSharingError
from realm.prefix.trainer import SharedPrefixTrainer, _pack_padded, _shuffle_groups_whole
from tiny import make_tiny

PROMPTS = [
    "Say a word.",
    "Which of these is longest, and why would anybody want to know?",
    "A b c",
    "What is it?",
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("model"), chat=False)


def variety(completion_ids: list[list[int]], **_: Any) -> list[float]:
    return [len(set(ids)) / 10 for ids in completion_ids]


class Rehearsed(SharedPrefixTrainer):
    """A trainer whose rollouts depend on prompt and step alone: two trainings see the same ones."""

    def _generate_single_turn(self, prompt_ids: Any, *args: Any, **kwargs: Any) -> Any:
        draw = random.Random(f"{self.state.global_step}|{prompt_ids[0]}")
        ends = [[], self.eos_token_ids[:1]]
        completions: list[list[int]] = []
        for _ in prompt_ids:
            if completions and draw.random() < 0.4:  # as a policy does that is nearly sure
                completions.append(completions[-1])
                continue
            ids = [draw.randrange(33, 90) for _ in range(draw.randint(1, 11))]
            completions.append(ids + draw.choice(ends))
        return completions, None


def make_trainer(
    checkpoint: Path,
    tmp_path: Path,
    kind: type[SharedPrefixTrainer] = SharedPrefixTrainer,
    **settings: Any,
) -> Any:
    outer = {
        name: settings.pop(name)
        for name in ("shared_prefix", "peft_config", "model")
        if name in settings
    }
    presets = {
        "output_dir": str(tmp_path), "use_cpu": True, "bf16": False, "report_to": "none",
        "disable_tqdm": True, "gradient_checkpointing": False, "save_strategy": "no",
        "per_device_train_batch_size": 8, "num_generations": 4,
        "max_completion_length": 12, "max_steps": 2, "learning_rate": 1e-3, "seed": 3,
        "temperature": 0.9, "gradient_accumulation_steps": 2, "steps_per_generation": 2,
    }  # fmt: skip
    return kind(
        model=outer.pop("model", None) or str(checkpoint),
        reward_funcs=variety,
        args=GRPOConfig(**presets | settings),
        train_dataset=Dataset.from_dict({"prompt": PROMPTS * 8}),
        processing_class=AutoTokenizer.from_pretrained(checkpoint),
        **outer,
    )


SETTINGS = {
    "plain": {},
    "a reference, two passes over a generation": {"beta": 0.1, "num_iterations": 2},
    "checkpointing, an adapter": {
        "gradient_checkpointing": True,
        "peft_config": LoraConfig(r=4, target_modules="all-linear"),
    },
    "truncated completions out": {"mask_truncated_completions": True},
}


@pytest.mark.slow
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_twenty_steps_end_at_the_same_weights_with_and_without_sharing(
    checkpoint, tmp_path, settings
) -> None:
    weights = []
    for mode in ("on", "off"):
        trainer = make_trainer(
            checkpoint, tmp_path, Rehearsed, shared_prefix=mode, max_steps=20, **settings
        )
        before = {
            name: weight.detach().clone()
            for name, weight in trainer.model.named_parameters()
            if weight.requires_grad
        }
        trainer.train()
        assert trainer._shares_passes is (mode == "on")
        weights.append(
            {
                name: weight.detach()
                for name, weight in trainer.model.named_parameters()
                if weight.requires_grad
            }
        )
    shared, usual = weights
    assert any(
        (usual[name] - weight).norm() > 1e-2 * usual[name].norm() for name, weight in before.items()
    )
    for name, weight in usual.items():
        assert (shared[name] - weight).norm() <= 1e-4 * weight.norm(), name


def test_equal_completions_of_a_prompt_are_packed_once() -> None:
    # Prompts padded on the left, completions on the right; both prompts have a completion 8, 9.
    ids = torch.tensor(
        [[5, 6, 8, 9], [0, 7, 8, 9], [5, 6, 8, 9], [0, 7, 8, 0], [5, 6, 8, 0], [0, 7, 8, 9]]
    )
    layout, order = _pack_padded(ids, (ids > 0).long(), 2)
    assert layout.lengths == (2, 1, 2, 1)
    assert layout.labels.tolist() == [8, 9, 8, 8, 9, 8]
    assert order.tolist() == [0, 2, 0, 3, 1, 2]
    assert layout.input_ids.tolist() == [[5, 6, 7, 8, 8]]


@pytest.mark.parametrize("architecture", ["qwen3", "llama", "gemma3"])
def test_the_check_of_the_first_batch_finds_no_difference(tmp_path, architecture) -> None:
    trainer = make_trainer(
        make_tiny(tmp_path / "model", architecture, chat=False), tmp_path, shared_prefix="on"
    )
    trainer.train()
    assert trainer._is_checked and trainer._shares_passes and trainer._shares_rollouts


def test_training_with_its_own_rollouts_runs_and_reproduces(checkpoint, tmp_path) -> None:
    losses = []
    for _ in range(2):
        trainer = make_trainer(
            checkpoint, tmp_path, shared_prefix="on", max_steps=3, logging_steps=1
        )
        trainer.train()
        losses.append(
            [entry["grad_norm"] for entry in trainer.state.log_history if "grad_norm" in entry]
        )
    assert losses[0] == losses[1] and any(losses[0])


def test_rollouts_come_back_in_the_order_of_their_prompts(checkpoint, tmp_path) -> None:
    trainer = make_trainer(checkpoint, tmp_path, shared_prefix="on")
    trainer.generation_config.do_sample = False
    prompt_ids = [
        trainer.processing_class(PROMPTS[number])["input_ids"] for number in (0, 1, 0, 2, 1)
    ]
    with torch.no_grad():
        shared, _ = trainer._generate_single_turn(prompt_ids, None, {}, 1)
        usual, _ = GRPOTrainer._generate_single_turn(trainer, prompt_ids, None, {}, 1)
    assert shared == usual


def test_log_probabilities_stand_in_the_order_of_their_rows(checkpoint, tmp_path) -> None:
    trainer = make_trainer(checkpoint, tmp_path, shared_prefix="on")
    ids = torch.randint(33, 90, (6, 9))
    # Prompts of four tokens. Their rows lie so that grouping them is no swap of places.
    ids[:, :4] = torch.tensor([[40], [41], [42], [40], [43], [41]])
    given = (trainer.model.eval(), ids, torch.ones_like(ids), 5)
    with torch.no_grad():
        shared, _, _ = trainer._get_per_token_logps_and_entropies(*given)
        usual, _, _ = GRPOTrainer._get_per_token_logps_and_entropies(trainer, *given)
    assert torch.allclose(shared, usual, atol=1e-5)


def test_the_shuffle_moves_all_columns_of_a_generation_alike() -> None:
    trainer: Any = SimpleNamespace(num_generations=2, _shares_passes=True)
    columns = {"a": torch.arange(16), "b": list(range(16)), "c": None, "d": torch.tensor(3.0)}
    with _shuffle_groups_whole(trainer):
        found = grpo_trainer.shuffle_sequence_dict(columns)
    order = found["a"].tolist()
    assert found["b"] == order != list(range(16)) and sorted(order) == list(range(16))
    assert all(second == first + 1 for first, second in zip(order[::2], order[1::2], strict=True))
    assert found["c"] is None and found["d"] == 3.0


def test_bfloat16_trains(checkpoint, tmp_path, caplog) -> None:
    trainer = make_trainer(checkpoint, tmp_path, shared_prefix="on", bf16=True, max_steps=1)
    trainer.train()
    assert trainer.state.global_step == 1 and trainer._shares_passes


def test_groups_stay_together_in_a_micro_batch(checkpoint, tmp_path) -> None:
    trainer = make_trainer(
        checkpoint,
        tmp_path,
        shared_prefix="on",
        per_device_train_batch_size=4,
        steps_per_generation=4,
    )
    seen = []
    usual = trainer._compute_loss

    def watched(model: Any, inputs: dict[str, Any]) -> Any:
        seen.append(inputs["prompt_ids"])
        return usual(model, inputs)

    trainer._compute_loss = watched
    trainer.train()
    assert len(seen) == 4 and all((prompts == prompts[0]).all() for prompts in seen)
    assert len({tuple(prompts[0].tolist()) for prompts in seen}) > 1
    assert grpo_trainer.shuffle_sequence_dict.__name__ == "shuffle_sequence_dict"


def test_what_cannot_be_shared_trains_the_usual_way_with_one_warning(
    checkpoint, tmp_path, caplog
) -> None:
    model = AutoModelForCausalLM.from_pretrained(checkpoint, attention_dropout=0.1)
    trainer = make_trainer(checkpoint, tmp_path, model=model)
    trainer.train()
    said = [
        record.getMessage() for record in caplog.records if record.name == "realm.prefix.trainer"
    ]
    assert (
        len(said) == 1
        and "Rollouts and training encode every prompt once per completion" in said[0]
        and "10%" in said[0]
    )


def test_insisting_on_what_cannot_be_shared_is_an_error(checkpoint, tmp_path) -> None:
    with pytest.raises(PrefixSharingError, match="cast_lm_head_to_fp32"):
        make_trainer(checkpoint, tmp_path, shared_prefix="on", cast_lm_head_to_fp32=True)


def test_unknown_generation_settings_leave_only_the_rollouts_to_trl(
    checkpoint, tmp_path, caplog
) -> None:
    trainer = make_trainer(checkpoint, tmp_path, repetition_penalty=1.3)
    trainer.train()
    assert trainer._shares_passes and not trainer._shares_rollouts
    assert (
        "Rollouts encode every prompt once per completion: shared rollouts do not support the "
        "generation setting repetition_penalty" in caplog.text
    )


def test_a_model_for_which_sharing_is_wrong_is_found_out_in_the_first_batch(
    checkpoint, tmp_path, caplog, monkeypatch
) -> None:
    monkeypatch.setattr("realm.prefix.attention.merge", lambda output, sums, *other: (output, sums))
    trainer = make_trainer(checkpoint, tmp_path)
    trainer.train()
    assert not trainer._shares_passes and "differ from TRL's" in caplog.text
    with pytest.raises(PrefixSharingError, match="differ from TRL's"):
        make_trainer(checkpoint, tmp_path, shared_prefix="on").train()


def test_off_touches_nothing(checkpoint, tmp_path) -> None:
    trainer = make_trainer(checkpoint, tmp_path, shared_prefix="off")
    trainer.train()
    assert trainer.model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize(
    "function, names",
    [
        (GRPOTrainer._prepare_inputs, "self generation_batch"),
        (
            GRPOTrainer._generate_single_turn,
            "self prompt_ids images multimodal_fields num_generations has_tool_images",
        ),
        (
            GRPOTrainer._get_per_token_logps_and_entropies,
            "self model input_ids attention_mask logits_to_keep batch_size compute_entropy "
            "compute_aux_loss pixel_values image_grid_thw num_images pixel_attention_mask "
            "spatial_shapes num_tiles image_sizes token_type_ids mm_token_type_ids "
            "image_position_ids",
        ),
        (grpo_trainer.shuffle_sequence_dict, "seq_dict"),
        (disable_gradient_checkpointing, "model gradient_checkpointing_kwargs"),
    ],
)
def test_trl_has_the_signatures_that_are_wrapped(function: Any, names: str) -> None:
    assert " ".join(inspect.signature(function).parameters) == names


def test_trl_shuffles_by_the_name_that_is_replaced() -> None:
    assert "shuffle_sequence_dict(generation_batch)" in inspect.getsource(
        GRPOTrainer._prepare_inputs
    )


@pytest.mark.slow
@pytest.mark.parametrize("attention_dropout", [0.0, 0.1], ids=["shared", "not shared"])
def test_a_resumed_training_with_dropout_ends_at_the_same_weights(
    checkpoint, tmp_path, attention_dropout
) -> None:
    def train(folder: Path, resume: Path | None) -> dict[str, torch.Tensor]:
        trainer = make_trainer(
            checkpoint,
            folder,
            model=AutoModelForCausalLM.from_pretrained(
                checkpoint, attention_dropout=attention_dropout
            ),
            peft_config=LoraConfig(r=4, target_modules="all-linear", lora_dropout=0.2),
            save_strategy="steps",
            save_steps=2,
            max_steps=4,
            learning_rate=1e-2,
        )
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
        assert trainer._shares_passes is (attention_dropout == 0)
        return {name: weight.detach() for name, weight in trainer.model.named_parameters()}

    whole = train(tmp_path / "whole", None)
    resumed = train(tmp_path / "resumed", tmp_path / "whole" / "checkpoint-2")
    assert all(torch.equal(resumed[name], weight) for name, weight in whole.items())
