"""What is said of the figures: families, corrections, and sentences that claim no more than was seen."""

import pytest

from realm.config.compare import Family
from realm.config.root import load_config
from realm.core.errors import ConfigError
from realm.evaluate.findings import _compare, _evaluations, families, finding, headline
from realm.evaluate.methods import chosen_methods
from realm.evaluate.pilot import disagreement, sentences


def outcomes(right: int, n: int = 200, *, seed: int) -> dict:
    return {
        "outcomes": {f"{seed}:{place}": float(place < right) for place in range(n)},
        "tokens_per_problem": 10.0,
    }


def measured(**rights: list[int]) -> dict:
    """Return (method, mode, split) -> seed -> outcomes; a name reads method__mode__split."""
    return {
        tuple(name.split("__")): {
            7 + place: outcomes(right, seed=7 + place) for place, right in enumerate(numbers)
        }
        for name, numbers in rights.items()
    }


FAMILY = Family(
    name="f",
    claim="realm assisted",
    against=["a assisted", "b assisted", "majority routes"],
    margin=0.05,
)


def test_a_family_is_corrected_as_a_whole_and_names_its_best_other():
    found = measured(
        realm__assisted__test=[160, 162, 164],
        a__assisted__test=[120, 121, 122],
        b__assisted__test=[159, 163, 164],
        majority__routes__test=[140, 140, 141],
    )
    rows = _compare(FAMILY, found, seed=7)
    assert [row["b"] for row in rows] == ["a", "b", "majority"] and rows[0]["seeds"] == [7, 8, 9]
    assert [finding(row) for row in rows] == [
        "realm is better",
        "no evidence of a difference",
        "realm is better",
    ]
    assert all(row["p_holm"] >= row["p"] for row in rows) and rows[0]["p_holm"] == pytest.approx(
        3 * rows[0]["p"]
    )
    text = headline("f", rows)
    assert text.startswith("f: realm assisted against the best other, b assisted: +0.0 [")
    assert "no evidence of a difference; the claimed lead of 5.0 is not reached." in text
    assert "claimed lead of 5.0 is reached" in headline(
        "f", [row for row in rows if row["b"] != "b"]
    )


def test_only_seeds_that_both_have_count_and_what_nobody_measured_is_left_out():
    found = measured(realm__assisted__test=[160, 150], a__assisted__test=[120])
    rows = _compare(FAMILY, found, seed=7)
    assert [(row["b"], row["seeds"]) for row in rows] == [("a", [7])]
    assert rows[0]["p_seeds"] is None


def test_the_drop_to_other_rules_is_compared_and_less_is_better():
    found = measured(
        realm__autonomous__test=[180, 180],
        realm__autonomous__test_rules=[150, 152],
        a__autonomous__test=[180, 180],
        a__autonomous__test_rules=[60, 61],
    )
    rows = _compare(
        Family(name="drop", claim="realm autonomous", against=["a autonomous"], split="drop"),
        found,
        seed=7,
    )
    assert rows[0]["difference"] == pytest.approx((30 + 28) / 400 - (120 + 119) / 400)
    assert finding(
        rows[0]
    ) == "realm drops less" and "more lost from test to test_rules" in headline("drop", rows)


def test_a_clear_interval_without_a_corrected_p_is_no_evidence():
    row = {
        "a": "realm",
        "b": "a",
        "mode": "assisted",
        "split": "test",
        "ci95": (0.001, 0.05),
        "p_holm": 0.06,
    }
    assert finding(row) == "no evidence of a difference"
    assert finding(row | {"p_holm": 0.04}) == "realm is better"
    assert finding(row | {"p_holm": 0.04, "ci95": (-0.05, -0.001)}) == "a is better"
    same = row | {"b": "realm", "mode": "self_routes vs autonomous", "p_holm": 0.01}
    assert finding(same) == "realm self_routes is better"


def test_rows_of_seeds_come_before_one_over_all_and_nothing_right_has_an_interval():
    rows = _evaluations(
        ("m", "autonomous", "test"), {8: outcomes(0, seed=8), 7: outcomes(0, seed=7)}, seed=7
    )
    assert (
        [row["seed"] for row in rows] == [7, 8, None]
        and rows[2]["seeds"] == [7, 8]
        and rows[2]["n"] == 400
    )
    assert rows[2]["accuracy"] == 0 and rows[2]["ci95"][1] == pytest.approx(0.0095, abs=0.0005)
    assert rows[2]["tokens_per_problem"] == 10 and rows[2]["per_seed"] == [0, 0]


def test_the_interval_of_an_accuracy_ends_at_all_and_at_nothing():
    rows = _evaluations(
        ("m", "autonomous", "test"), {7: outcomes(200, seed=7), 8: outcomes(150, seed=8)}, seed=7
    )
    assert 0 <= rows[2]["ci95"][0] < rows[2]["accuracy"] < rows[2]["ci95"][1] == 1


def test_built_in_families_follow_the_methods(write_config):
    config = load_config(
        write_config(
            compare={"methods": ["realm", "distilled", "rft", "cot_synthesizer", "no_eaai", "base"]}
        )
    )
    found = {family.name: family for family in families(config, chosen_methods(config))}
    assert found["with routes"].against == [
        "majority routes",
        "distilled assisted",
        "distilled best_of_routes",
        "distilled universal_routes",
        "cot_synthesizer assisted",
    ]
    assert found["without routes"].against == [
        "distilled autonomous",
        "base rules",
        "rft autonomous",
    ]
    assert found["drop to test_rules"].split == "drop" and found["ablations, assisted"].against == [
        "no_eaai assisted"
    ]
    assert found["with routes"].margin == 0.042 and found["without routes"].margin == 0.026
    alone = load_config(write_config(compare={"methods": ["rft"]}))
    assert families(alone, chosen_methods(alone)) == []


def test_a_claim_about_what_is_not_measured_is_an_error(write_config):
    family = {"name": "f", "claim": "realm autonomous", "against": ["rft assisted"]}
    config = load_config(write_config(compare={"methods": ["realm", "rft"], "families": [family]}))
    with pytest.raises(
        ConfigError, match=r"'rft assisted' is not measured.*allowed here: .*rft autonomous"
    ):
        families(config, chosen_methods(config))


def test_the_pilot_says_what_will_show():
    assert disagreement([[True] * 4, [False] * 4, [True, True, False, False]]) == pytest.approx(
        2 / 9
    )
    found = {"autonomous": {"problems": 100, "accuracy": 0.8, "discordant": 0.15}}
    (line,) = sentences(found, n=348, seeds=5, claims=1)
    assert "one of 2.6 points; as the first of 1 claims: one of 2.6 points" in line
    (line,) = sentences(
        {"autonomous": {"problems": 4, "accuracy": 0.0, "discordant": 0.0}}, n=10, seeds=2, claims=9
    )
    assert "80% power: none" in line
