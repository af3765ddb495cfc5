import math
import time

import pytest

from realm.stats import bootstrap_interval, mcnemar_p, paired_difference, smallest_detectable, wilson_interval


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
    assert found.difference == pytest.approx(1 / 3) and found.p_mcnemar is None and found.smallest_detectable is None


@pytest.mark.parametrize("outcome", [True, False])
def test_nothing_is_nan_when_the_methods_agree_everywhere(outcome):
    found = paired_difference([outcome] * 7, [outcome] * 7, seed=0)
    assert (found.difference, found.ci95, found.p_mcnemar, found.smallest_detectable) == (0.0, (0.0, 0.0), 1.0, None)


def test_ten_thousand_resamples_of_two_thousand_problems_take_a_moment():
    started = time.perf_counter()
    bootstrap_interval([1.0, 0.0] * 1000, seed=0)
    assert time.perf_counter() - started < 5
