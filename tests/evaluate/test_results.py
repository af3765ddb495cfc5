"""What is said of the figures: families, corrections, and sentences that claim no more."""

import json
from dataclasses import replace

import pytest

from realm.config.compare import Family
from realm.config.root import load_config
from realm.core.errors import ConfigError
from realm.core.jsonl import write_json
from realm.evaluate.claims import describe_pilot, list_families, measure_disagreement
from realm.evaluate.methods import choose_methods
from realm.evaluate.records import Comparison, Measurement
from realm.evaluate.report.words import describe_family
from realm.evaluate.results import Results, build_results
from realm.run import Run


def measured(**rights: list[int]) -> list[Measurement]:
    """Return measurements of 200 problems a seed; a name reads method__mode__split."""
    found = []
    for name, numbers in rights.items():
        method, mode, split = name.split("__")
        for seed, right in enumerate(numbers, 7):
            outcomes = {f"{seed}:{place}": float(place < right) for place in range(200)}
            figures = {"method": method, "mode": mode, "split": split, "seed": seed}
            found.append(Measurement(**figures, outcomes=outcomes, tokens_per_problem=10.0))
    return found


def compare(family: Family, measurements: list[Measurement]) -> list[Comparison]:
    results = build_results(measurements, [family], seed=7, is_nested=True)
    return list(results.comparisons)


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
    rows = compare(FAMILY, found)
    assert [row.b for row in rows] == ["a", "b", "majority"] and rows[0].seeds == (7, 8, 9)
    assert [row.finding for row in rows] == [
        "realm is better",
        "no evidence of a difference",
        "realm is better",
    ]
    assert all(row.p_holm >= row.p for row in rows) and rows[0].p_holm == pytest.approx(
        3 * rows[0].p
    )
    text = describe_family(rows)
    assert text.startswith("f: realm assisted against the best other, b assisted: +0.0 [")
    assert "no evidence of a difference; the claimed lead of 5.0 is not reached." in text
    assert "claimed lead of 5.0 is reached" in describe_family(
        [row for row in rows if row.b != "b"]
    )


def test_only_seeds_that_both_have_count_and_what_nobody_measured_is_left_out():
    found = measured(realm__assisted__test=[160, 150], a__assisted__test=[120])
    rows = compare(FAMILY, found)
    assert [(row.b, row.seeds) for row in rows] == [("a", (7,))]
    assert rows[0].p_seeds is None


def test_the_drop_to_other_rules_is_compared_and_less_is_better():
    found = measured(
        realm__autonomous__test=[180, 180],
        realm__autonomous__test_rules=[150, 152],
        a__autonomous__test=[180, 180],
        a__autonomous__test_rules=[60, 61],
    )
    family = Family(name="drop", claim="realm autonomous", against=["a autonomous"], split="drop")
    rows = compare(family, found)
    assert rows[0].difference == pytest.approx((30 + 28) / 400 - (120 + 119) / 400)
    assert rows[0].finding == "realm drops less"
    assert "more lost from test to test_rules" in describe_family(rows)


def test_a_clear_interval_without_a_corrected_p_is_no_evidence():
    row = Comparison(
        family="f",
        a="realm",
        a_mode="assisted",
        b="a",
        b_mode="assisted",
        split="test",
        n=100,
        difference=0.02,
        ci95=(0.001, 0.05),
        smallest_detectable=None,
        p_holm=0.06,
    )
    assert row.finding == "no evidence of a difference"
    assert replace(row, p_holm=0.04).finding == "realm is better"
    assert replace(row, p_holm=0.04, ci95=(-0.05, -0.001)).finding == "a is better"
    few = replace(row, p_holm=None, p_mcnemar=0.25)
    assert few.finding == "no evidence of a difference"
    assert replace(few, p_mcnemar=0.01).finding == "realm is better"
    same = replace(row, b="realm", a_mode="self_routes", b_mode="autonomous", p_holm=0.01)
    assert same.finding == "realm self_routes is better"


def test_rows_of_seeds_come_before_one_over_all_and_nothing_right_has_an_interval():
    found = measured(m__autonomous__test=[0, 0])
    rows = build_results(found[::-1], [], seed=7, is_nested=True).evaluations
    assert [row.seed for row in rows] == [7, 8, None] and rows[2].seeds == (7, 8)
    assert rows[2].n == 400
    assert rows[2].accuracy == 0 and rows[2].ci95[1] == pytest.approx(0.0095, abs=0.0005)
    assert rows[2].tokens_per_problem == 10 and rows[2].per_seed == (0, 0)


def test_the_interval_of_an_accuracy_ends_at_all_and_at_nothing():
    found = measured(m__autonomous__test=[200, 150])
    rows = build_results(found, [], seed=7, is_nested=True).evaluations
    assert 0 <= rows[2].ci95[0] < rows[2].accuracy < rows[2].ci95[1] == 1


def test_the_interval_of_a_difference_ends_at_all_and_at_nothing():
    measurements = measured(realm__assisted__test=[200, 150], a__assisted__test=[0, 0])
    [row] = compare(FAMILY, measurements)
    # Two seeds of 1 and 0.75: the t interval alone would reach to 2.5.
    assert row.ci95[1] == 1 and -1 <= row.ci95[0] < row.difference == pytest.approx(0.875)


def test_figures_over_seeds_are_means_place_by_place():
    found = measured(m__sampled__test=[0, 0])
    figures = [
        {"samples": 2, "curve": [0.5, 1.0], "undecided": 1},
        {"samples": 2, "curve": [0.0, 0.5], "undecided": 0},
    ]
    found = [replace(one, figures=more) for one, more in zip(found, figures, strict=True)]
    over = build_results(found, [], seed=7, is_nested=True).evaluations[2]
    assert over.figures == {"samples": 2, "curve": [0.25, 0.75], "undecided": 0.5}


def test_figures_that_some_seeds_lack_are_left_out_and_longer_lists_are_cut():
    found = measured(m__assisted__test=[0, 0])
    figures = [
        {"k": 2, "first_flaw_named": 0.5, "sound_rate_by_position": [0.5, 1.0, 1.0]},
        {"k": 2, "sound_rate_by_position": [0.0, 0.5]},
    ]
    for order in (figures, figures[::-1]):
        rows = [replace(one, figures=more) for one, more in zip(found, order, strict=True)]
        over = build_results(rows, [], seed=7, is_nested=True).evaluations[2]
        assert over.figures == {"k": 2, "sound_rate_by_position": [0.25, 0.75]}


def test_the_interval_of_a_share_over_seeds_holds_their_spread():
    shares = [0.69, 0.29, 0.30, 0.21, 0.56]
    rows = [
        replace(one, figures={"named": share, "named_ci95": [share - 0.09, share + 0.09]})
        for one, share in zip(measured(m__probe__test=[0] * 5), shares, strict=True)
    ]
    over = build_results(rows, [], seed=7, is_nested=True).evaluations[5].figures
    # Their mean is 0.41, their standard error 0.09149, Student's quantile 2.7764.
    assert over["named_ci95"] == pytest.approx([0.41 - 0.2540, 0.41 + 0.2540], abs=1e-4)


def test_one_problem_is_no_finding_also_where_outcomes_are_shares():
    """Of one problem the bootstrap has no width, so that the interval alone would be a finding."""
    one = {"seed": 7, "split": "test", "mode": "sampled", "tokens_per_problem": 1.0}
    rows = [
        Measurement(method=name, outcomes={"p": share}, **one)
        for name, share in (("realm", 0.75), ("distilled", 0.5))
    ]
    family = Family(name="f", claim="realm sampled", against=["distilled sampled"])
    [row] = build_results(rows, [family], seed=7, is_nested=False).comparisons
    assert row.ci95[0] > 0 and row.p == 1 and row.finding == "no evidence of a difference"


def test_results_are_read_as_they_were_written():
    found = measured(realm__assisted__test=[160, 150], a__assisted__test=[120, 125])
    results = build_results(found, [FAMILY], seed=7, is_nested=True, left_out={"test": 1})
    again = Results.from_json(json.loads(json.dumps(results.to_json())))
    assert again.to_json() == results.to_json() and again.comparisons == results.comparisons


def test_built_in_families_follow_the_methods(write_config, tmp_path):
    config = load_config(
        write_config(
            compare={"methods": ["realm", "distilled", "rft", "cot_synthesizer", "no_eaai", "base"]}
        )
    )
    found = {
        family.name: family
        for family in list_families(config, choose_methods(Run(tmp_path, config)))
    }
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
    assert list_families(alone, choose_methods(Run(tmp_path, alone))) == []


def test_a_claim_about_what_is_not_measured_is_an_error(write_config, tmp_path):
    family = {"name": "f", "claim": "realm autonomous", "against": ["rft assisted"]}
    config = load_config(write_config(compare={"methods": ["realm", "rft"], "families": [family]}))
    with pytest.raises(
        ConfigError, match=r"'rft assisted' is not measured.*allowed here: .*rft autonomous"
    ):
        list_families(config, choose_methods(Run(tmp_path, config)))


def test_the_pilot_says_what_will_show(small_config, tmp_path):
    groups = [[True] * 4, [False] * 4, [True, True, False, False]]
    assert measure_disagreement(groups) == pytest.approx(2 / 9)
    run = Run(tmp_path, small_config)
    pilot = {"problems": 100, "accuracy": 0.8, "discordant": 0.15}
    write_json(run.path("outcomes/pilot.json"), {"autonomous": pilot})
    [line] = describe_pilot(run, n=348, seeds=5, num_claims=1)
    assert "80% power: 2.6 points; as the first of 1 claims: 2.6 points" in line
    write_json(run.path("outcomes/pilot.json"), {"autonomous": pilot | {"discordant": 0.0}})
    [line] = describe_pilot(run, n=10, seeds=2, num_claims=9)
    assert "80% power: none" in line
