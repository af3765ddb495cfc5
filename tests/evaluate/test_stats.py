import math
import time

import numpy as np
import pytest
from scipy.stats import t as student
from scipy.stats import ttest_1samp, wilcoxon

from realm.evaluate.stats import (
    bootstrap_interval,
    holm,
    mcnemar_p,
    nested_difference,
    paired_difference,
    smallest_detectable,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("num_right", "n", "expected"),
    [
        pytest.param(5, 10, (0.2366, 0.7634), id="half of ten"),
        pytest.param(81, 263, (0.2553, 0.3662), id="the example of Newcombe 1998, table I"),
        pytest.param(0, 20, (0.0, 0.1611), id="none right"),
        pytest.param(20, 20, (0.8389, 1.0), id="all right"),
    ],
)
def test_the_wilson_interval_has_its_published_values(num_right, n, expected):
    assert wilson_interval(num_right, n) == pytest.approx(expected, abs=1e-4)


def test_exact_mcnemar_is_the_two_sided_binomial_on_the_discordant_pairs():
    a = [True] * 8 + [False] * 2 + [True] * 30 + [False] * 10
    b = [False] * 8 + [True] * 2 + [True] * 30 + [False] * 10
    assert mcnemar_p(a, b) == pytest.approx(2 * sum(math.comb(10, k) for k in range(3)) / 2**10)


def test_mcnemar_of_equal_methods_is_one():
    assert mcnemar_p([True, False], [True, False]) == 1.0


@pytest.mark.parametrize(("n", "difference"), [(1740, 0.026), (665, 0.042)])
def test_the_smallest_detectable_difference_agrees_with_the_evaluation_protocol(n, difference):
    assert smallest_detectable(n, 0.15) == pytest.approx(difference, abs=1e-4)


def test_no_difference_is_detectable_without_discordant_pairs_or_with_very_few_problems():
    assert smallest_detectable(1000, 0.0) is None
    assert smallest_detectable(5, 0.2) is None


def test_the_bootstrap_interval_is_close_to_the_normal_one_and_the_same_for_the_same_seed():
    values = [1.0] * 300 + [0.0] * 700
    low, high = bootstrap_interval(values, seed=1)
    half = 1.96 * math.sqrt(0.3 * 0.7 / 1000)
    assert (low, high) == pytest.approx((0.3 - half, 0.3 + half), abs=0.002)
    assert bootstrap_interval(values, seed=1) == (low, high)


def test_a_paired_difference_of_twenty_wins_and_five_losses():
    a = [True] * 20 + [False] * 5 + [True] * 75
    b = [False] * 20 + [True] * 5 + [True] * 75
    found = paired_difference(a, b, seed=3)
    assert (found.n, found.difference) == (100, pytest.approx(0.15))
    assert found.ci95[0] > 0.04 and found.ci95[1] < 0.26
    assert found.p_mcnemar == pytest.approx(0.004077, abs=1e-5)
    assert found.smallest_detectable == pytest.approx(0.139, abs=0.002)


def test_means_over_samples_get_an_interval_but_no_mcnemar():
    found = paired_difference([0.5, 0.75, 1.0], [0.5, 0.25, 0.5], seed=3)
    assert (
        found.difference == pytest.approx(1 / 3)
        and found.p_mcnemar is None
        and found.smallest_detectable is None
    )


@pytest.mark.parametrize("outcome", [True, False])
def test_nothing_is_nan_when_the_methods_agree_everywhere(outcome):
    found = paired_difference([outcome] * 7, [outcome] * 7, seed=0)
    assert (found.difference, found.ci95, found.p_mcnemar, found.smallest_detectable) == (
        0.0,
        (0.0, 0.0),
        1.0,
        None,
    )


def test_ten_thousand_resamples_of_two_thousand_problems_take_a_moment():
    started = time.perf_counter()
    bootstrap_interval([1.0, 0.0] * 1000, seed=0)
    assert time.perf_counter() - started < 5


def groups_of(values: np.ndarray, *, shared: bool = False) -> list:
    """Return the parts of `nested_difference` for (seeds, problems) outcomes."""
    name = (lambda seed, place: f"{place}") if shared else (lambda seed, place: f"{seed}:{place}")
    return [
        [(1.0, {name(s, p): float(value) for p, value in enumerate(row)})]
        for s, row in enumerate(values)
    ]


def test_holm_gives_the_known_values_of_a_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.2]) == [0.2] and holm([]) == []


def test_one_seed_is_the_plain_bootstrap_over_problems():
    outcomes = np.random.default_rng(1).choice([-1.0, 0.0, 1.0], p=[0.1, 0.7, 0.2], size=(1, 600))
    found = nested_difference(groups_of(outcomes), seed=7)
    assert found.ci95 == pytest.approx(bootstrap_interval(list(outcomes[0]), seed=7), abs=0.004)
    assert found.difference == pytest.approx(outcomes.mean()) and found.p_seeds is None


def test_seeds_that_differ_by_no_more_than_their_problems_add_nothing():
    rng = np.random.default_rng(3)
    one = rng.choice([-1.0, 0.0, 1.0], p=[0.1, 0.7, 0.2], size=400)
    outcomes = np.stack(
        [np.append(rng.permutation(one[1:]), shift) for shift in (-1, 0, 0, 0, 1)]
    )  # they hardly differ
    found, pooled = (
        nested_difference(groups_of(outcomes), seed=7),
        bootstrap_interval(list(outcomes.ravel()), seed=7),
    )
    assert found.ci95[1] - found.ci95[0] == pytest.approx(pooled[1] - pooled[0], rel=0.05)
    assert (
        found.n == 2000
        and len(found.per_seed) == 5
        and list(found.per_seed) == pytest.approx(list(outcomes.mean(axis=1)))
    )


def test_seeds_that_differ_much_widen_the_interval_to_their_own_standard_error():
    effects = np.array([0.20, -0.05, 0.10, 0.0, 0.25])
    outcomes = np.repeat(
        effects[:, None], 500, axis=1
    )  # no problem differs, so the seeds are all that varies
    found = nested_difference(groups_of(outcomes), seed=7)
    standard_error = effects.std(ddof=1) / np.sqrt(5)
    caution = 2.7764 / 1.96  # Student's quantile for five seeds over the normal one
    assert found.smallest_detectable == pytest.approx(2.8016 * standard_error * caution, rel=0.03)
    cosine2 = 4 / (
        4 + (0.1 / standard_error) ** 2
    )  # Student's distribution of 4 degrees of freedom in closed form
    assert found.p_seeds == pytest.approx(1 - math.sqrt(1 - cosine2) * (1 + cosine2 / 2))


def test_problems_that_all_seeds_share_are_resampled_together():
    once = np.random.default_rng(5).choice([-1.0, 0.0, 1.0], p=[0.1, 0.7, 0.2], size=(1, 400))
    same = np.repeat(once, 5, axis=0)
    shared = nested_difference(groups_of(same, shared=True), seed=7)
    alone = nested_difference(groups_of(once), seed=7)
    width = [found.ci95[1] - found.ci95[0] for found in (shared, alone)]
    assert width[0] == pytest.approx(
        width[1], rel=0.1
    )  # the same 400 problems five times tell no more than once


@pytest.mark.parametrize(("num_problems", "p"), [(7, 2 / 2**7), (8, 2 / 2**8), (12, 2 / 2**12)])
@pytest.mark.parametrize("num_seeds", [1, 3])
def test_few_problems_give_no_smaller_p_than_the_exact_test(num_problems, p, num_seeds):
    won = np.ones((num_seeds, num_problems))
    found = nested_difference(groups_of(won, shared=True), seed=7)
    assert found.p == pytest.approx(p)
    tied = np.hstack([won, np.zeros((num_seeds, 30))])
    assert nested_difference(groups_of(tied, shared=True), seed=7).p == pytest.approx(p)


def test_the_exact_test_weighs_problems_by_their_differences():
    found = nested_difference(groups_of(np.array([[1.0, 1.0, 1.0, 1.0, -1.0]])), seed=7)
    assert found.p == pytest.approx(12 / 32), "6 of 32 flips reach a sum of 3, on both sides"


@pytest.mark.parametrize("num_seeds", [2, 3, 5])
def test_the_interval_holds_the_t_interval_over_the_seeds(num_seeds):
    rng = np.random.default_rng(num_seeds)
    outcomes = rng.choice([-1.0, 0.0, 1.0], p=[0.1, 0.7, 0.2], size=(num_seeds, 100))
    low, high = nested_difference(groups_of(outcomes), seed=7).ci95
    over_seeds = student.interval(
        0.95,
        num_seeds - 1,
        loc=outcomes.mean(),
        scale=outcomes.mean(axis=1).std(ddof=1) / math.sqrt(num_seeds),
    )
    assert low <= over_seeds[0] + 1e-12 and high >= over_seeds[1] - 1e-12


@pytest.mark.parametrize("num_seeds", [2, 3, 5])
def test_p_is_at_least_that_of_the_t_test_over_the_seeds(num_seeds):
    """Resamples of a few seeds have no tails: here none of five seeds is below 0."""
    effects = np.array([0.05, 0.30, 0.12, 0.20, 0.08])[:num_seeds]
    found = nested_difference(groups_of(np.repeat(effects[:, None], 200, axis=1)), seed=7)
    assert found.p >= found.p_seeds == pytest.approx(ttest_1samp(effects, 0).pvalue)
    assert num_seeds < 5 or found.p == found.p_seeds


def test_shares_have_the_p_of_their_resamples():
    a, b = np.random.default_rng(4).choice(5, size=(2, 300)) / 4
    found = paired_difference(a, b, seed=7)
    assert found.p_mcnemar is None and found.p == pytest.approx(wilcoxon(a, b).pvalue, abs=0.05)
    assert paired_difference(a, np.minimum(1, a + 0.25), seed=7).p < 0.001


@pytest.mark.slow
def test_the_interval_of_nested_seeds_covers_the_truth_about_as_often_as_it_says():
    rng, hits = np.random.default_rng(11), 0
    for trial in range(60):
        truth = 0.05 + rng.normal(0, 0.03, size=8)
        outcomes = rng.random((8, 100)) < (0.3 + truth)[:, None]
        found = nested_difference(groups_of(outcomes.astype(float) - 0.3), seed=trial)
        hits += found.ci95[0] <= 0.05 <= found.ci95[1]
    assert hits >= 52


def test_a_drop_is_the_difference_of_two_splits_and_each_seed_counts_once():
    parts = [
        [(1.0, {"a": 1.0, "b": 0.0}), (-1.0, {"c": 1.0, "d": 1.0})],
        [(1.0, {"e": 1.0}), (-1.0, {"f": 0.0})],
    ]
    found = nested_difference(parts, seed=7)
    assert found.per_seed == (-0.5, 1.0) and found.difference == 0.25 and found.n == 6


def test_no_difference_at_all_is_told_as_such():
    found = nested_difference(groups_of(np.zeros((3, 10))), seed=7)
    assert (
        found.difference == 0
        and found.ci95 == (0, 0)
        and found.p == 1
        and found.smallest_detectable is None
    )
