"""The table of methods, and the plan of cells that follows from it."""

import pytest

from realm.config.root import load_config
from realm.core.errors import ConfigError
from realm.evaluate.cells import MORE_STAGES, list_stages, plan_cells
from realm.evaluate.methods import add_starts, apply_method, choose_methods, list_methods
from realm.method.fade import guidance_share
from realm.run import Run
from realm.stages import STAGES


def choose(folder, config):
    return choose_methods(Run(folder, config))


def plan(folder, config):
    run = Run(folder, config)
    return plan_cells(run, choose_methods(run))


def test_the_settings_of_every_built_in_method_fit(small_config):
    methods = list_methods(small_config)
    for method in methods.values():
        apply_method(method, small_config)
        assert all(stage in STAGES | MORE_STAGES for stage in list_stages(method)), method.name
        assert method.start in (*methods, "data", "unguided_start", "answer_only_start")
    assert {
        "realm",
        "grpo",
        "hard_cut",
        "cot_synthesizer",
        "no_mrpv",
        "fade_gated",
        "k_1",
        "zero",
    } <= set(methods)


def test_a_hard_cut_shows_all_routes_until_they_are_gone(small_config):
    fade = apply_method(list_methods(small_config)["hard_cut"], small_config).train.fade
    end = small_config.train.fade.end
    assert [guidance_share(t, fade) for t in (0.0, end / 2, end - 1e-9, end, 1.0)] == [
        1,
        1,
        1,
        0,
        0,
    ]


def test_a_fade_that_the_config_has_is_no_ablation_of_it(write_config):
    config = load_config(write_config(train={"fade": {"kind": "gated", "routes": 2}}))
    names = set(list_methods(config))
    assert (
        "fade_gated" not in names
        and "fade_linear" in names
        and "k_2" not in names
        and "k_4" in names
    )
    for method in list_methods(config).values():
        apply_method(method, config)


def test_only_realm_transfers_and_its_ablation_does_not(write_config):
    without = list_methods(load_config(write_config()))
    config = load_config(write_config(train={"fade": {"transfer": 1.0}}))
    methods = list_methods(config)
    assert set(methods) - set(without) == {"no_transfer"}
    transfer = {
        name: apply_method(methods[name], config).train.fade.transfer
        for name in ("realm", "no_eaai", "no_transfer", "grpo", "grpo_routes")
    }
    expected = {"realm": 1.0, "no_eaai": 1.0, "no_transfer": 0.0, "grpo": 0.0, "grpo_routes": 0.0}
    assert transfer == expected


def test_further_rounds_of_an_ablation_do_not_bring_back_what_it_leaves_out(write_config):
    config = load_config(write_config(rounds=2, distill={"every_round": True}))
    methods = list_methods(config)
    names = ("realm", "no_eaai", "zero", "no_guidance", "grpo_routes")
    distils = {name: apply_method(methods[name], config).distill.every_round for name in names}
    expected = {"realm": True, "no_eaai": True}
    assert distils == expected | {"zero": False, "no_guidance": False, "grpo_routes": False}


def test_every_cell_stands_behind_its_start_and_starts_are_shared(write_config, tmp_path):
    config = load_config(
        write_config(compare={"seeds": 2, "methods": ["realm", "no_guidance", "unguided", "grpo"]})
    )
    cells = plan(tmp_path, config)
    assert [cell.name for cell in cells if cell.seed == 7] == [
        "data-7",
        "distilled-7",
        "realm-7",
        "unguided_start-7",
        "unguided-7",
        "grpo-7",
        "no_guidance-7",
    ]
    by_name = {cell.name: cell for cell in cells}
    assert (
        by_name["no_guidance-8"].parent
        is by_name["unguided-8"].parent
        is by_name["unguided_start-8"]
    )
    assert (
        by_name["realm-8"].run.config.seed == 8
        and by_name["grpo-7"].run.config.train.fade.kind == "none"
    )
    assert by_name["distilled-7"].stages == ("distill", "pilot") and by_name[
        "distilled-8"
    ].stages == ("distill",)


def test_own_methods_are_realm_with_other_settings(write_config, tmp_path):
    rounds = {"rounds": 2, "distill.every_round": True, "train.grpo.max_steps": 3}
    own = {"gone-0.3": {"train.fade.end": 0.3}, "two_rounds": rounds}
    config = load_config(
        write_config(
            compare={
                "extra_methods": own,
                "methods": ["realm", *own],
                "modes": ["autonomous"],
            }
        )
    )
    methods = choose(tmp_path, config)
    assert methods["gone-0.3"].role == "ablation" and methods["gone-0.3"].modes == ("autonomous",)
    assert apply_method(methods["gone-0.3"], config).train.fade.end == 0.3
    assert list(add_starts(methods)) == ["distilled", "realm", "gone-0.3", "two_rounds"]
    twice = apply_method(methods["two_rounds"], config)
    assert (twice.rounds, twice.distill.every_round, twice.train.grpo["max_steps"]) == (2, True, 3)
    assert config.rounds == 1


def test_own_methods_are_asked_as_realm(write_config, tmp_path):
    own = {"slow": {"train.fade.end": 0.9}}
    config = load_config(write_config(compare={"extra_methods": own, "methods": ["realm", "slow"]}))
    methods = choose(tmp_path, config)
    assert methods["slow"].modes == methods["realm"].modes
    assert {"probe", "self_routes", "votes_at_assisted"} <= set(methods["slow"].modes)


def test_a_method_that_would_be_asked_nothing_is_left_out_but_a_start_is_still_made(
    write_config, tmp_path
):
    config = load_config(
        write_config(
            compare={"methods": ["realm", "cot_synthesizer"], "modes": ["autonomous"], "seeds": 1}
        )
    )
    assert list(choose(tmp_path, config)) == ["realm"]
    assert [cell.name for cell in plan(tmp_path, config)] == [
        "data-7",
        "distilled-7",
        "realm-7",
    ]


@pytest.mark.parametrize(
    ("compare", "message"),
    [
        (
            {"methods": ["relm"]},
            r"no method 'relm'\. Did you mean 'realm'\? Allowed: base, distilled, realm",
        ),
        ({"extra_methods": {"realm": {}}}, r"compare\.extra_methods: 'realm' is built in"),
        ({"extra_methods": {"data": {}}}, r"compare\.extra_methods: 'data' is built in"),
        ({"extra_methods": {"majority": {}}}, r"compare\.extra_methods: 'majority' is built in"),
        (
            {"extra_methods": {"a/b": {}}},
            r"compare\.extra_methods: 'a/b' is built in, or not of letters",
        ),
        (
            {"extra_methods": {"x": {"distill.kind": "unguided"}}},
            r"compare\.extra_methods\.x: distill\.kind belongs to what all methods share",
        ),
        (
            {"extra_methods": {"x": {"train.fade.knid": 1}}},
            r"method 'x': .*unknown key\. Allowed here: kind.*Did you mean 'kind'",
        ),
        (
            {"extra_methods": {"x": {"train.fade.routes": 0}}},
            r"method 'x': .*train\.fade\.routes=0.*greater than 0",
        ),
    ],
)
def test_a_wrong_method_is_an_error_that_says_what_is_allowed(
    write_config, compare, message, tmp_path
):
    config = load_config(write_config(compare=compare))
    with pytest.raises(ConfigError, match=message):
        choose(tmp_path, config)


def test_a_domain_without_rules_or_instructor_leaves_out_what_needs_them(write_config, tmp_path):
    (tmp_path / "x.csv").write_text("id,question,answer\n1,a,b\n")
    files = {"kind": "import", "files": [{"path": "x.csv", "source": "y"}]}
    config = load_config(write_config(domain={"kind": "files", "path": "x.csv"}, routes=files))
    methods = choose(tmp_path, config)
    assert "instructors" not in methods and "rules" not in methods["base"].modes
    assert "rules" in choose(tmp_path, load_config(write_config()))["base"].modes
