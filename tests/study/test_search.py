"""What a search calls better: what beats the config beyond chance, the luck of many counted."""

import pytest

from realm.study.search import Choice, TriedSettings, summarize_search

START = {"train.fade.end": 0.8, "train.grpo.learning_rate": 1e-5}


def tried(num_right, n=200, **more):
    right = tuple(number < num_right for number in range(n))
    settings = {name.replace("__", "."): value for name, value in more.items()}
    return TriedSettings(settings=START | settings, right=right, seconds=60.0)


def test_the_most_accurate_trial_is_the_best_and_of_equal_ones_the_earliest():
    search = summarize_search([tried(100), tried(120, train__fade__end=0.5), tried(120)], seed=7)
    assert search.best is search.trials[1]
    assert search.changed == {"train.fade.end": 0.5}
    assert search.best.describe(search.trials[0]) == "train.fade.end=0.5"
    assert search.trials[0].describe(search.trials[0]) == "the config as it is"
    assert search.seconds == 180


def test_a_lead_beyond_chance_is_better():
    search = summarize_search([tried(100), tried(130)], seed=7)
    assert search.is_better and search.gain.difference == pytest.approx(0.15)
    low, high = search.gain.ci95
    assert 0.08 < low < 0.15 < high < 0.22


def test_a_lead_within_chance_is_no_evidence():
    search = summarize_search([tried(100), tried(103)], seed=7)
    assert not search.is_better and search.gain.finding == "no evidence of a difference"


def test_the_best_of_many_must_lead_by_more():
    # 6 problems that only the best solves: p = 2 / 2^6 = 0.031, enough alone.
    assert summarize_search([tried(100), tried(106)], seed=7).is_better
    many = summarize_search([tried(100), tried(106), *(tried(100) for _ in range(9))], seed=7)
    assert not many.is_better and many.gain.p_holm == pytest.approx(10 * 2 / 2**6)


def test_nothing_is_gained_where_the_config_is_the_best():
    search = summarize_search([tried(100), tried(90)], seed=7)
    assert search.gain is None and not search.is_better and search.changed == {}
    assert summarize_search([tried(100)], seed=7).gain is None
    assert search.to_json()["best"] == 1


def test_a_choice_holds_the_value_of_the_config_in_order():
    choice = Choice.around(0.65, [0.5, 0.65, 0.8, 0.35])
    assert choice.values == (0.35, 0.5, 0.65, 0.8) and choice.start == 0.65
    assert Choice.around(1, [1, 1, 2]).values == (1, 2)
