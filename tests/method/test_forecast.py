"""The forecast: what speaks against reinforcement learning, and what is cheaper."""

import pytest

from realm.method.forecast import Forecast, Headroom, Pilot, measure_pilot

GOOD = {
    "problems": 128,
    "samples": 8,
    "mean_at_1": 0.3,
    "majority_at_n": 0.35,
    "pass_at_n": 0.7,
    "mixed_share": 0.6,
    "advantage_variance": 0.1,
}


def make_forecast(headroom=None, **changes):
    return Forecast(
        headroom=Headroom(**GOOD | (headroom or {})),
        **{"measured_on": "validation", "rollouts": 25_600, "no_chain_share": 0.7} | changes,
    )


@pytest.mark.parametrize(
    ("headroom", "changes", "part"),
    [
        ({"mean_at_1": 0.0, "pass_at_n": 0.0, "mixed_share": 0.0}, {}, "never answers right"),
        ({"mean_at_1": 0.95}, {}, "95.0% of the samples are right already"),
        ({"mean_at_1": 0.9}, {}, "right already"),
        ({"mixed_share": 0.09}, {}, "only 9% of the problems"),
        ({"mixed_share": 0.09}, {"with_routes": 0.4}, "only 9% of the problems"),
        ({}, {"rollouts": 2_560}, "2,560 rollouts are few"),
        (
            {},
            {"pilot": Pilot(rollouts=500, gain=-0.05, ci95=(-0.08, -0.02))},
            "a pilot of 500 rollouts moved mean@1 by -5.0 [-8.0, -2.0] points",
        ),
    ],
)
def test_one_obstacle_is_enough_to_be_unlikely(headroom, changes, part):
    forecast = make_forecast(headroom, **changes)
    assert forecast.outlook == "unlikely to pay" and len(forecast.obstacles) == 1
    assert part in forecast.obstacles[0] and part in forecast.describe()
    assert forecast.describe().startswith("Forecast: reinforcement learning is unlikely to pay.")


@pytest.mark.parametrize(
    ("headroom", "changes"),
    [
        ({}, {}),
        ({"mean_at_1": 0.89}, {}),
        ({"mixed_share": 0.1}, {}),
        ({}, {"rollouts": 5_000}),
        ({}, {"no_chain_share": 0.5}),
        ({}, {"pilot": Pilot(rollouts=500, gain=-0.01, ci95=(-0.03, 0.01))}),
        # Routes hold what the samples alone do not.
        ({"mean_at_1": 0.0, "pass_at_n": 0.0, "mixed_share": 0.0}, {"with_routes": 0.2}),
        ({"mixed_share": 0.01}, {"with_routes": 0.5}),
    ],
)
def test_without_an_obstacle_it_is_likely(headroom, changes):
    forecast = make_forecast(headroom, **changes)
    assert forecast.describe().startswith("Forecast: reinforcement learning is likely to pay.")
    assert "Against it" not in forecast.describe() and "imitating" not in forecast.describe()


def test_where_right_chains_exist_imitation_is_likely_to_gain_more():
    text = make_forecast(no_chain_share=0.49).describe()
    assert text.startswith("Forecast: reinforcement learning is likely to gain.")
    assert "51% of the problems have a right chain, and imitating them gained more" in text
    # What speaks against any gain comes first.
    text = make_forecast(no_chain_share=0.49, rollouts=2_560).describe()
    assert text.startswith("Forecast: reinforcement learning is unlikely to pay.")
    assert "imitating" not in text


@pytest.mark.parametrize(
    ("headroom", "changes", "part"),
    [
        ({"mean_at_1": 0.97}, {}, "harder problems"),
        ({}, {"no_chain_share": 0.2, "untaught": 4000}, "right chains of 4,000 more problems"),
        ({}, {"untaught": 4000}, "longer distillation"),  # most problems have none
        ({}, {"taught_loss": 0.01, "held_out_loss": 0.34}, "guided chains for more problems"),
        ({}, {"taught_loss": 0.2, "held_out_loss": 0.34}, "longer distillation"),
        ({}, {"taught_loss": 0.2}, "longer distillation"),
        ({}, {"with_routes": 0.5}, "its own right samples with routes, taught without them"),
        ({}, {"with_routes": 0.49}, "longer distillation"),
        (
            {},
            {"with_routes": 0.5, "taught_loss": 0.01, "held_out_loss": 1.0},
            "with routes, taught",
        ),
    ],
)
def test_the_cheaper_alternative_fits_what_is_missing(headroom, changes, part):
    forecast = make_forecast(headroom, **changes)
    assert part in forecast.alternative and part in forecast.describe()


def test_transfer_is_advised_only_where_training_has_none():
    assert "train.fade.transfer" in make_forecast(with_routes=0.5).alternative
    alternative = make_forecast(with_routes=0.5, has_transfer=True).alternative
    assert "rounds: 2" in alternative and "train.fade.transfer" not in alternative


def test_further_rounds_are_not_advised_to_those_who_have_them():
    alternative = make_forecast(with_routes=0.5, has_harvest=True).alternative
    assert "rounds: 2" not in alternative and "longer distillation" in alternative


def test_the_forecast_is_one_paragraph_and_its_row_holds_every_figure():
    pilot = Pilot(rollouts=500, gain=0.02, ci95=(0.01, 0.03))
    forecast = make_forecast(taught_loss=0.1, held_out_loss=0.2, pilot=pilot)
    text = forecast.describe()
    assert "\n" not in text and "70% of the problems have no right chain" in text
    assert "With routes" not in text
    assert "With routes mean@1 is 45.0%." in make_forecast(with_routes=0.45).describe()
    assert "+4.0 per 1,000 rollouts" in text
    row = forecast.to_json()
    expected = GOOD | {"rollouts": 25_600, "outlook": "likely to pay", "forecast": text}
    assert expected.items() <= row.items()


def test_training_problems_are_called_by_that_name():
    assert "On 128 training problems" in make_forecast(measured_on="train").describe()


def test_a_pilot_is_paired_by_problem():
    found = measure_pilot(256, [0.0, 0.5, 1.0, 0.5], [0.25, 0.75, 1.0, 0.5])
    assert found.gain == pytest.approx(0.125)
    # The differences are 0.25, 0.25, 0 and 0: standard deviation 0.144, of the mean 0.072.
    assert found.ci95 == pytest.approx((0.125 - 1.96 * 0.0722, 0.125 + 1.96 * 0.0722), abs=1e-3)
