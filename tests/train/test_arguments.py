"""A training that goes on in another number of processes keeps the rows of a step."""

import json

import pytest

from realm.core.errors import ConfigError
from realm.train.arguments import make_grpo_arguments, split_batch
from tiny_rl import GRPO, TRAIN, make_config

GIVEN = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}


@pytest.mark.parametrize(
    ("processes", "rows", "expected"),
    [
        pytest.param(2, 16, {}, id="as before"),
        pytest.param(1, 16, {"gradient_accumulation_steps": 4}, id="half as many"),
        pytest.param(4, 16, {"gradient_accumulation_steps": 1}, id="twice as many"),
        pytest.param(
            8,
            16,
            {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 1},
            id="more than a step has micro-batches",
        ),
        pytest.param(
            1,
            6,
            {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 2},
            id="micro-batches that the config's size does not fill",
        ),
    ],
)
def test_the_rows_of_a_step_stay_and_micro_batches_do_not_grow(
    monkeypatch, processes, rows, expected
):
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    changed = split_batch(GIVEN, rows, "train.grpo")
    assert changed == ({**GIVEN, **expected} if expected else {})
    size = GIVEN | changed
    assert (
        processes * size["per_device_train_batch_size"] * size["gradient_accumulation_steps"]
        == rows
    )


def test_a_generation_stays_as_large(monkeypatch):
    changed = split_batch(GIVEN | {"steps_per_generation": 4}, 16, "train.grpo")
    assert changed["steps_per_generation"] == 8, "of 4 rows in one process, as 4 in two"


def test_rows_that_the_processes_cannot_share_are_the_users_mistake(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ConfigError, match=r"steps of 16 rows, which 3 processes cannot share"):
        split_batch(GIVEN, 16, "train.grpo")


def test_arguments_follow_the_checkpoint(tmp_path):
    checkpoint = tmp_path / "work/checkpoint-2"
    checkpoint.mkdir(parents=True)
    (checkpoint / "sharded").mkdir()  # its files have names of their own
    for name in ("rng_state_0.pth", "rng_state_1.pth"):
        (checkpoint / name).write_bytes(EMPTY_ZIP)
    note = {"LaunchNote": {"args": {}, "attributes": {"processes": 2, "rows": 8}}}
    (checkpoint / "trainer_state.json").write_text(json.dumps({"stateful_callbacks": note}))
    config = make_config(tmp_path, train=TRAIN | {"grpo": GRPO})
    new, continued = (
        make_grpo_arguments(config, tmp_path / folder, num_problems=6) for folder in ("new", "work")
    )
    assert (new.gradient_accumulation_steps, new.generation_batch_size) == (1, 4)
    assert (continued.gradient_accumulation_steps, continued.generation_batch_size) == (2, 8)


EMPTY_ZIP = b"PK\x05\x06" + bytes(18)
