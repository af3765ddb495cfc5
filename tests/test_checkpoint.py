"""Damaged checkpoints are named and not used; a model without weights tells what it can do."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoConfig
from transformers.integrations import deepspeed

from realm.checkpoint import check_model, find_checkpoint_fault, find_tensor_fault
from realm.config.root import load_config
from realm.core.errors import ConfigError, ModelError
from realm.policy import Policy
from realm.train.arguments import make_grpo_arguments
from realm.train.callbacks import find_last_checkpoint
from tiny import make_tiny, make_tiny_vision, make_tokenizer


@pytest.fixture
def checkpoint(tmp_path):
    """Return a folder with the files that Transformers writes for a step of training."""
    folder = tmp_path / "work/checkpoint-4"
    folder.mkdir(parents=True)
    save_file({"a": torch.ones(100)}, folder / "model.safetensors")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"):
        torch.save({"state": torch.ones(100)}, folder / name)
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": 4}))
    return folder


def test_a_whole_checkpoint_has_no_fault(checkpoint):
    assert find_checkpoint_fault(checkpoint) is None
    assert find_last_checkpoint(checkpoint.parent) == checkpoint


@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"],
)
def test_a_torn_checkpoint_gives_way_to_the_one_before_and_says_so(checkpoint, caplog, name):
    later = checkpoint.with_name("checkpoint-8")
    shutil.copytree(checkpoint, later)
    content = (later / name).read_bytes()
    (later / name).write_bytes(content[: len(content) // 2])
    assert find_last_checkpoint(checkpoint.parent) == checkpoint
    assert "checkpoint-8: damaged" in caplog.text and name in caplog.text
    assert not later.exists()


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", "rng_state.pth"])
def test_a_checkpoint_without_weights_optimizer_or_generators_is_not_used(checkpoint, name):
    (checkpoint / name).unlink()
    assert find_last_checkpoint(checkpoint.parent) is None


def test_a_checkpoint_of_several_processes_needs_the_generators_of_each(checkpoint):
    state = {"stateful_callbacks": {"LaunchNote": {"args": {}, "attributes": {"processes": 2}}}}
    (checkpoint / "trainer_state.json").write_text(json.dumps(state))
    (checkpoint / "rng_state.pth").rename(checkpoint / "rng_state_0.pth")
    shutil.copy(checkpoint / "rng_state_0.pth", checkpoint / "rng_state_1.pth")
    assert find_last_checkpoint(checkpoint.parent) == checkpoint
    (checkpoint / "rng_state_1.pth").unlink()
    assert find_last_checkpoint(checkpoint.parent) is None


def test_a_gathered_checkpoint_of_fsdp_has_its_optimizer_in_a_file_of_another_name(checkpoint):
    (checkpoint / "optimizer.pt").rename(checkpoint / "optimizer.bin")
    assert find_checkpoint_fault(checkpoint) is None
    (checkpoint / "optimizer.bin").unlink()
    assert find_checkpoint_fault(checkpoint) == "optimizer.* is missing"


def test_sharded_checkpoints_keep_their_state_in_folders(checkpoint):
    (checkpoint / "optimizer.pt").unlink()
    (checkpoint / "global_step4").mkdir()
    assert find_checkpoint_fault(checkpoint) is None


@pytest.mark.parametrize(
    "content", [b"", b"x" * 100, (10).to_bytes(8, "little") + b"{}", b"\xff" * 9]
)
def test_what_is_no_safetensors_file_is_told_from_its_header(tmp_path, content):
    (tmp_path / "a.safetensors").write_bytes(content)
    assert find_tensor_fault(tmp_path / "a.safetensors")


def test_a_checked_model_has_its_modules_and_no_weights(tmp_path):
    model = check_model(str(make_tiny(tmp_path / "model")))
    assert all(parameter.is_meta for parameter in model.parameters())
    assert "q_proj" in " ".join(name for name, _ in model.named_modules())


def test_a_launch_with_zero3_shares_out_no_model_outside_a_trainer(tmp_path):
    class Launch:
        def is_zero3(self):
            return True

    make_tiny(tmp_path / "model")
    launch = Launch()  # held here: Transformers keeps a weak reference
    deepspeed.set_hf_deepspeed_config(launch)
    try:
        check_model(str(tmp_path / "model"))
        policy = Policy(tmp_path / "model")
        [answer] = policy.generate(["2 + 2?"], max_new_tokens=2, batch_tokens=100, seed=1)
        assert answer.num_tokens and deepspeed.is_deepspeed_zero3_enabled()
    finally:
        deepspeed.unset_hf_deepspeed_config()


def test_a_synchronized_reference_model_is_in_no_checkpoint_so_training_begins_again(
    write_config, tmp_path
):
    path = write_config()
    synchronized = load_config(path, {"train.grpo.sync_ref_model": True, "train.grpo.beta": 0.1})
    arguments = make_grpo_arguments(synchronized, tmp_path, num_problems=8)
    assert arguments.save_strategy == "no"
    other = {"train.grpo.sync_ref_model": True, "train.grpo.save_strategy": "steps"}
    with pytest.raises(ConfigError, match=r"train.grpo.save_strategy: the method sets it"):
        make_grpo_arguments(load_config(path, other), tmp_path, num_problems=8)


def test_a_model_that_reads_images_answers_text(tmp_path):
    policy = Policy(make_tiny_vision(tmp_path))
    assert type(policy.model).__name__ == "Qwen2VLForConditionalGeneration"
    prompts = [policy.render("1 + 1?"), policy.render("What is 20 + 3?")]
    settings = {"max_new_tokens": 4, "batch_tokens": 999, "seed": 0}
    alone = [policy.generate([prompt], **settings)[0] for prompt in prompts]
    assert policy.generate(prompts, **settings) == alone


@pytest.mark.parametrize("kind", ["pix2struct", "blip-2"])
def test_a_model_that_does_not_continue_a_text_is_refused(tmp_path, kind):
    AutoConfig.for_model(kind).save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=f"{kind} does not continue a text"):
        check_model(str(tmp_path))
