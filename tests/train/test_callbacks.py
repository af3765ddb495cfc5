import json
from types import SimpleNamespace

import pytest
import torch

from realm.core.errors import ConfigError
from realm.core.jsonl import append_jsonl, read_jsonl
from realm.method.fade import Fade
from realm.method.gate import GuidanceGate, Outcome
from realm.train import rl
from realm.train.arguments import make_grpo_arguments
from realm.train.callbacks import PATIENCE, AlarmMonitor, FadeLogger, TrainingState
from tiny import make_tiny
from tiny_rl import GRPO, TRAIN, make_config, make_run

torch.set_num_threads(1)

GATED = {
    "kind": "gated", "routes": 2, "dropout": 0.5, "start": 0.0, "end": 0.9, "transfer": 0.1,
    "gate": {"buckets": 2, "half_life": 32},
}  # fmt: skip
LONG = GRPO | {"max_steps": 10, "per_device_train_batch_size": 16, "save_total_limit": 10}


@pytest.fixture
def prompts_seen(monkeypatch):
    """Give the prompts of every generation, by step."""
    seen, inside = {}, rl.ReaLMTrainer._write_rows

    def spy(self, inputs):
        rows = inside(self, inputs)
        seen.setdefault(self.state.global_step, []).append(
            [json.dumps(row["prompt"]) for row in rows]
        )
        return rows

    monkeypatch.setattr(rl.ReaLMTrainer, "_write_rows", spy)
    return seen


def state_of(run, step):
    path = run.work("train") / f"checkpoint-{step}" / "trainer_state.json"
    return json.loads(path.read_text())["stateful_callbacks"]["TrainingState"]["attributes"]


@pytest.mark.slow
def test_a_resumed_gated_run_has_the_prompts_and_the_state_of_an_uninterrupted_one(
    tmp_path, prompts_seen
):
    make_tiny(tmp_path / "model", "qwen2")
    config = make_config(tmp_path, train=TRAIN | {"fade": GATED, "grpo": LONG})
    run = make_run(tmp_path, config)
    rl.run_train(run)
    whole, states = dict(prompts_seen), [state_of(run, step) for step in range(1, 11)]
    rows = read_jsonl(run.path("fade.jsonl"))
    for step in range(7, 11):
        (run.work("train") / f"checkpoint-{step}" / "trainer_state.json").unlink()
    prompts_seen.clear()
    rl.run_train(run)
    assert prompts_seen == {step: whole[step] for step in range(6, 10)}
    assert [state_of(run, step) for step in range(1, 11)] == states
    again = read_jsonl(run.path("fade.jsonl"))
    assert [row["bucket_share"] for row in again] == [row["bucket_share"] for row in rows]
    assert states[5]["gate"] != states[9]["gate"]


def test_a_step_moves_the_gate_by_what_it_observed_and_a_checkpoint_restores_it(tmp_path):
    def make_state():
        return TrainingState(GuidanceGate(Fade(kind="gated", start=0.0), {"p": 0}))

    state, other = make_state(), make_state()
    state.observe(
        [Outcome(problem_id="p", guided=guided, correct=True) for guided in (True, False) * 20]
    )
    state.on_step_end(None, SimpleNamespace(global_step=1, max_steps=10), None)
    assert state.bucket_figures["bucket_share"][0] == pytest.approx(0.8), "what this step showed"
    assert state.gate.find_share("p") < 1.0
    kept = {"stateful_callbacks": {"TrainingState": state.state()}}
    (tmp_path / "trainer_state.json").write_text(json.dumps(kept))
    other.load(tmp_path)
    assert other.gate.buckets == state.gate.buckets


def test_the_gate_observes_every_completion_of_training(tmp_path, monkeypatch, prompts_seen):
    make_tiny(tmp_path / "model", "qwen2")
    observed = []
    monkeypatch.setattr(GuidanceGate, "observe", lambda self, outcomes: observed.extend(outcomes))
    config = make_config(
        tmp_path, train=TRAIN | {"fade": GATED | {"transfer": 0.0}, "grpo": GRPO | {"max_steps": 1}}
    )
    rl.run_train(make_run(tmp_path, config))
    [prompts] = prompts_seen[0]
    assert [one.guided for one in observed] == ["<route" in prompt for prompt in prompts]
    assert len(observed) == 4 and not any(one.correct for one in observed)


@pytest.mark.slow
@pytest.mark.parametrize("floor", [0.0, 0.2])
def test_the_gate_moves_a_competent_policy_and_leaves_nothing_to_any_in_the_last_phase(
    tmp_path, prompts_seen, floor
):
    make_tiny(tmp_path / "model", "qwen2")
    gate = {"buckets": 1, "half_life": 32, "min_autonomous": floor}
    config = make_config(tmp_path, train=TRAIN | {"fade": GATED | {"gate": gate}, "grpo": LONG})
    run = make_run(tmp_path, config)
    rl.run_train(run)
    rows = read_jsonl(run.path("fade.jsonl"))
    shares = [row["bucket_share"][0] for row in rows]
    # A random model solves nothing: without the floor, no gap would mean no need of routes.
    assert shares[0] == 0.5 and (shares[4] < 0.5) is (floor == 0.0)
    assert shares[9] == 0.0 and rows[9]["share"] == 0.0 and rows[9]["routes_shown"] == 0.0
    assert rows[9]["bucket_autonomous"][0] < 0.1 and rows[0]["share"] == pytest.approx(0.5)
    assert not any("<route" in prompt for prompt in prompts_seen[9][0])


def test_in_group_shows_routes_to_some_copies_of_a_prompt_only(tmp_path, prompts_seen):
    make_tiny(tmp_path / "model", "qwen2")
    fade = {"kind": "constant", "routes": 2, "dropout": 0.0, "mode": "in_group"}
    fading = fade | {"kind": "linear", "start": 0.0, "end": 1.0}
    config = make_config(
        tmp_path,
        train=TRAIN | {"fade": fading, "grpo": GRPO | {"num_generations": 4, "max_steps": 2}},
    )
    rl.run_train(make_run(tmp_path, config))
    [first], [second] = (
        [["<route" in prompt for prompt in batch] for batch in prompts_seen[step]]
        for step in (0, 1)
    )
    assert first == [True] * 4 and second == [True, True, False, False]


def test_in_group_with_a_vllm_server_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("realm.core.errors.find_spec", lambda name: name)  # as if installed
    train = TRAIN | {
        "fade": {"mode": "in_group"},
        "grpo": GRPO | {"use_vllm": True, "vllm_mode": "server"},
    }
    with pytest.raises(
        ConfigError, match=r"train\.fade\.mode: found in_group with train\.grpo\.vllm_mode: server"
    ):
        make_grpo_arguments(make_config(tmp_path, train=train), tmp_path, num_problems=6)


def test_naming_the_first_flaw_is_a_reward_of_its_own(tmp_path):
    make_tiny(tmp_path / "model", "qwen2")
    fade = {"kind": "constant", "routes": 2, "dropout": 0.0}
    config = make_config(tmp_path, train=TRAIN | {"fade": fade, "reward": {"first_flaw": 0.3}})
    arguments = make_grpo_arguments(config, tmp_path, num_problems=6)
    assert arguments.reward_weights == [1.0, 0.5, 0.1, 0.3]
    run = make_run(tmp_path, config)
    rl.run_train(run)
    rows = read_jsonl(run.path("fade.jsonl"))
    assert all("rewards/first_flaw/mean" in row for row in rows)


def log(journal, step):
    state = SimpleNamespace(is_world_process_zero=True, global_step=step)
    journal.on_log(
        None, state, None, {"share": 0.5, "progress": 0.1, "position_bias": 0.9, "loss": 1.0}
    )


def test_an_alarm_is_printed_once_and_stands_in_its_row_after_a_resume_as_well(tmp_path, caplog):
    path = tmp_path / "fade.jsonl"
    with append_jsonl(path):
        pass
    journal = FadeLogger(path, TrainingState(None))
    for step in range(1, PATIENCE):
        log(journal, step)
    resumed = FadeLogger(path, TrainingState(None))
    resumed.on_train_begin(None, SimpleNamespace(is_world_process_zero=True), None)
    for step in range(PATIENCE, PATIENCE + 6):
        log(resumed, step)
    assert caplog.text.count(f"Alarm at step {PATIENCE}: position bias: ") == 1
    alarms = [(row["step"], row["alarms"]) for row in read_jsonl(path) if "alarms" in row]
    assert (
        len(alarms) == 1
        and alarms[0][0] == PATIENCE
        and alarms[0][1][0].startswith("position bias")
    )


CASES = [
    pytest.param(
        {"always_sound": 0.9, "verdict_accuracy_flawed": 0.05}, "always sound", id="always sound"
    ),
    pytest.param(
        {"always_flawed": 0.9, "verdict_accuracy_sound": 0.05}, "always flawed", id="always flawed"
    ),
    pytest.param({"position_bias": -0.6}, "position bias", id="position bias, either way"),
    pytest.param({"copy_wrong_rate": 0.95}, "copying the majority", id="copying a wrong majority"),
    pytest.param(
        {"rewards/answer/mean": 0.01, "rewards/format/mean": 0.97}, "format only", id="format only"
    ),
    pytest.param({"frac_reward_zero_std": 0.9}, "groups without signal", id="zero variance"),
]
HEALTHY = {
    "always_sound": 0.9,
    "verdict_accuracy_flawed": 0.7,
    "always_flawed": 0.1,
    "verdict_accuracy_sound": 0.9,
    "position_bias": 0.1,
    "copy_wrong_rate": 0.3,
    "rewards/answer/mean": 0.6,
    "rewards/format/mean": 0.99,
    "frac_reward_zero_std": 0.4,
}


@pytest.mark.parametrize(("row", "name"), CASES)
def test_an_alarm_is_one_sentence_once_a_figure_has_stayed_beyond_its_bound(row, name):
    monitor = AlarmMonitor()
    said = [monitor.check_row(row) for _ in range(3 * PATIENCE)]
    assert [bool(alarms) for alarms in said] == [False] * (PATIENCE - 1) + [True] + [False] * (
        2 * PATIENCE
    )
    [sentence] = said[PATIENCE - 1]
    assert sentence.startswith(f"{name}: for {PATIENCE} logged steps ")


def test_a_healthy_run_sets_off_none():
    monitor = AlarmMonitor()
    assert [monitor.check_row(HEALTHY) for _ in range(20)] == [[]] * 20


def test_one_good_step_begins_the_count_anew():
    monitor, bad = AlarmMonitor(), {"position_bias": 0.6}
    rows = ([bad] * (PATIENCE - 1) + [{"position_bias": 0.0}]) * 3
    assert not any(monitor.check_row(row) for row in rows)


def test_a_step_without_the_figure_neither_counts_nor_resets():
    monitor, bad = AlarmMonitor(), {"copy_wrong_rate": 1.0}
    said = [monitor.check_row(row) for row in [bad, {}, {"copy_wrong_rate": None}] * PATIENCE]
    assert [bool(alarms) for alarms in said].index(True) == 3 * (PATIENCE - 1)
