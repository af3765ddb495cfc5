import pytest

from realm.train.alarms import PATIENCE, Watch

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
    "always_sound": 0.9, "verdict_accuracy_flawed": 0.7, "always_flawed": 0.1, "verdict_accuracy_sound": 0.9,
    "position_bias": 0.1, "copy_wrong_rate": 0.3, "rewards/answer/mean": 0.6, "rewards/format/mean": 0.99,
    "frac_reward_zero_std": 0.4,
}  # fmt: skip


@pytest.mark.parametrize(("row", "name"), CASES)
def test_an_alarm_is_one_sentence_once_a_figure_has_stayed_beyond_its_bound(row, name):
    watch = Watch()
    said = [watch.look(row) for _ in range(3 * PATIENCE)]
    assert [bool(alarms) for alarms in said] == [False] * (PATIENCE - 1) + [True] + [False] * (
        2 * PATIENCE
    )
    [sentence] = said[PATIENCE - 1]
    assert sentence.startswith(f"{name}: for {PATIENCE} logged steps ")


def test_a_healthy_run_sets_off_none():
    watch = Watch()
    assert [watch.look(HEALTHY) for _ in range(20)] == [[]] * 20


def test_one_good_step_begins_the_count_anew():
    watch, bad = Watch(), {"position_bias": 0.6}
    rows = ([bad] * (PATIENCE - 1) + [{"position_bias": 0.0}]) * 3
    assert not any(watch.look(row) for row in rows)


def test_a_step_without_the_figure_neither_counts_nor_resets():
    watch, bad = Watch(), {"copy_wrong_rate": 1.0}
    said = [watch.look(row) for row in [bad, {}, {"copy_wrong_rate": None}] * PATIENCE]
    assert [bool(alarms) for alarms in said].index(True) == 3 * (PATIENCE - 1)
