"""The loss at the taught positions is TRL's own, at less cost."""

import copy

import pytest
import torch
from accelerate import Accelerator
from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from realm.train.trl import TaughtLossTrainer
from tiny import make_tiny

ROWS = {
    "input_ids": [[5, 6, 7, 8, 9, 10, 11], [12, 13, 14, 15], [20, 21, 22, 23, 24]],
    "labels": [
        [-100, -100, -100, 8, 9, 10, 11],
        [-100, -100, 14, 15],
        [-100, -100, -100, -100, 24],
    ],
}


@pytest.fixture(params=["qwen2", "gemma3"])
def make_trainer(request, tmp_path):
    checkpoint = str(make_tiny(tmp_path / "model", request.param))

    def make(kind, **settings):
        arguments = SFTConfig(
            output_dir=str(tmp_path / "out"),
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            max_length=None,
            report_to="none",
            per_device_train_batch_size=3,
            **settings,
        )
        return kind(model=checkpoint, args=arguments, train_dataset=Dataset.from_dict(ROWS))

    return make


@pytest.mark.parametrize("num_items", [None, torch.tensor(40)])
@pytest.mark.parametrize("num_processes", [1, 2])
def test_loss_and_gradients_are_those_of_trl(make_trainer, monkeypatch, num_items, num_processes):
    losses, gradients = [], []
    monkeypatch.setattr(Accelerator, "num_processes", num_processes)
    monkeypatch.setattr(Accelerator, "gather_for_metrics", lambda self, value: value)
    for kind in (SFTTrainer, TaughtLossTrainer):
        trainer = make_trainer(kind)
        batch = trainer.data_collator([dict(row) for row in trainer.train_dataset])
        model = trainer.model
        loss = trainer.compute_loss(model, copy.copy(batch), num_items_in_batch=num_items)
        loss.backward()
        losses.append(loss.detach())
        gradients.append([one.grad for one in model.parameters()])
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*gradients)


def test_texts_packed_into_one_row_do_not_see_each_other(make_trainer):
    losses = []
    for settings in ({}, {"padding_free": True}):
        trainer = make_trainer(TaughtLossTrainer, **settings)
        batch = trainer.data_collator([dict(row) for row in trainer.train_dataset])
        losses.append(trainer.compute_loss(trainer.model, batch).detach())
    assert batch["input_ids"].shape[0] == 1
    torch.testing.assert_close(*losses)


def test_only_taught_positions_are_scored(make_trainer, monkeypatch):
    trainer = make_trainer(TaughtLossTrainer)
    widths = []
    head = trainer.model.get_output_embeddings()
    head.register_forward_hook(lambda _, inputs, output: widths.append(output.shape[1]))
    batch = trainer.data_collator([dict(row) for row in trainer.train_dataset])
    trainer.compute_loss(trainer.model, batch)
    assert widths == [5]  # of 7 tokens the first two are taught in no row


@pytest.mark.slow
def test_it_trains_like_trl(make_trainer):
    losses = []
    for kind in (SFTTrainer, TaughtLossTrainer):
        trainer = make_trainer(
            kind, max_steps=3, gradient_accumulation_steps=2, logging_steps=1, learning_rate=1e-2
        )
        trainer.train()
        losses.append([row["loss"] for row in trainer.state.log_history if "loss" in row])
    assert len(losses[0]) == 3 and losses[0][2] < losses[0][0]
    torch.testing.assert_close(*map(torch.tensor, losses), rtol=1e-4, atol=1e-4)
