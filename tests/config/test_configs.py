"""The shipped configs work on their data, and real routes are worth what was measured."""

from collections import Counter
from pathlib import Path

import pytest

from realm.bank.worth import ALL_SOURCES, summarize_bank
from realm.config.root import load_config
from realm.core.jsonl import read_problems, read_routes
from realm.domains import data, load_domain
from realm.run import Run
from realm.sources import routes
from realm.sources.importing import import_outputs

CONFIGS = Path(__file__).parents[2] / "configs"
MEAN_ACCURACY = {
    "gpt-4o": 90.0,
    "llama3.1-8b": 71.2,
    "llama3-8b": 68.0,
    "qwen2-7b": 59.1,
    "qwen2.5-14b": 78.0,
}


@pytest.mark.parametrize("name", ["qwen2.5-1.5b", "deepseek-r1-distill-qwen-7b"])
def test_the_example_data_goes_through_the_first_two_stages(tmp_path, name):
    config = load_config(CONFIGS / f"{name}.yaml", [])
    run = Run(tmp_path, config)
    data.run_data(run)
    routes.run_routes(run)
    problems = read_problems(run.path("problems.jsonl"))
    assert len(problems) == 24 and {problem.answer for problem in problems} == {
        "refund",
        "credit",
        "repair",
        "refuse",
    }
    assert len(read_routes(run.path("routes.jsonl"))) == 24 * 2 * 4
    assert run.path("rules.md").read_text().startswith("# Rules of the return desk")


@pytest.mark.parametrize("name", ["config", "teacher"])
def test_the_example_of_an_own_domain_loads_and_trains_nothing_before_a_model_is_named(name):
    config = load_config(CONFIGS.parent / f"examples/own_domain/{name}.yaml", [])
    assert config.model is None and config.domain.answer.kind == "label"
    assert (
        config.routes.kind == {"config": "import", "teacher": "collect"}[name]
        and config.routes.held_out
    )


def test_the_deepseek_config_hides_thinking_and_trains_an_adapter():
    config = load_config(CONFIGS / "deepseek-r1-distill-qwen-7b.yaml", [])
    assert (
        config.prompt.think_end == "</think>"
        and config.train.lora["r"] == 32
        and config.recipe == "zero"
    )


def test_the_general_reasoning_config_gives_three_tasks_their_problems_and_routes(tmp_path):
    config = load_config(
        CONFIGS / "gym.yaml", ["domain.settings.sizes.train=30", "routes.guided_problems=20"]
    )
    run = Run(tmp_path, config)
    data.run_data(run)
    routes.run_routes(run)
    problems = {problem.id: problem for problem in read_problems(run.path("problems.jsonl"))}
    assert {problem.meta["task"] for problem in problems.values()} == {
        "chain_sum",
        "leg_counting",
        "number_filtering",
    }
    assert {problem.split for problem in problems.values()} == {
        "train",
        "validation",
        "test",
        "test_rules",
    }
    domain, bank = load_domain(config), read_routes(run.path("routes.jsonl"))
    assert all(
        domain.verifier.same(route.answer, problems[route.problem_id].answer) == route.correct
        for route in bank
    )


def import_real_answers(name):
    """Return the problems, the import and the bank of a config; skip where its files are missing"""
    config = load_config(CONFIGS / f"{name}.yaml", [])
    missing = [path for path in config.domain.paths if not config.resolve(path).exists()]
    if missing:
        pytest.skip(
            f"no answers of real models at {config.resolve(missing[0])}; configs/{name}.yaml says "
            "where they come from"
        )
    domain = load_domain(config)
    problems = domain.problems(config.seed)
    imported = import_outputs(problems, domain, config.routes, resolve=config.resolve)
    return problems, imported, summarize_bank(problems, imported.routes, domain.verifier.same_all)


@pytest.fixture(scope="module")
def wikitq():
    return import_real_answers("wikitq")


@pytest.mark.slow
def test_four_models_on_gsm8k_are_as_good_as_the_file_says():
    problems, imported, summaries = import_real_answers("gsm8k_routes")
    assert len(problems) == 1319 and not imported.bad and not imported.unmatched
    assert Counter(route.source for route in imported.routes if route.correct) == {
        "6b_finetuning": 286,
        "6b_verification": 515,
        "175b_finetuning": 458,
        "175b_verification": 742,
    }
    pooled = {row.source: row for row in summaries}[ALL_SOURCES]
    shares = [round(100 * share, 1) for share in (pooled.one, pooled.majority, pooled.any)]
    assert shares == [37.9, 44.3, 67.2]


@pytest.mark.slow
def test_five_files_of_the_same_questions_are_one_problem_set_with_five_sources(wikitq):
    problems, imported, _ = wikitq
    assert len(problems) == 633
    assert len(imported.routes) == 5 * 633 * 5 and not imported.bad and not imported.unmatched


@pytest.mark.slow
def test_the_routes_of_real_models_are_as_good_as_measured(wikitq):
    _, _, summaries = wikitq
    rows = {row.source: row for row in summaries}
    for source, expected in MEAN_ACCURACY.items():
        assert 100 * rows[source].one == pytest.approx(expected, abs=1.0), source
        assert rows[source].one <= rows[source].majority <= rows[source].any, source
    assert rows[ALL_SOURCES].any > 0.95


def test_the_comparison_trains_every_method_on_as_many_completions_and_sees_small_differences(
    tmp_path,
):
    from realm.evaluate.cells import plan_cells
    from realm.evaluate.claims import list_families
    from realm.evaluate.methods import choose_methods
    from realm.evaluate.stats import smallest_detectable
    from realm.train.arguments import count_rollouts, make_grpo_arguments

    config = load_config(CONFIGS / "claims-services.yaml", [])
    run = Run(tmp_path, config)
    methods = choose_methods(run)
    cells = plan_cells(run, methods)
    assert config.compare.seeds >= 5 and {
        "realm",
        "cot_synthesizer",
        "rft",
        "grpo",
        "no_mrpv",
        "no_eaai",
    } <= set(methods)
    assert {family.name for family in list_families(config, methods)} >= {
        "with routes",
        "without routes",
        "drop to test_rules",
    }
    trained = [
        cell.run.config for cell in cells if cell.seed == config.seed and "train" in cell.stages
    ]
    rollouts = set()
    for settings in trained:
        one_round = count_rollouts(make_grpo_arguments(settings, tmp_path, num_problems=1))
        # Between rounds it samples each problem 2K times.
        between = (settings.train.problems or 0) * 2 * settings.train.fade.routes
        rollouts.add(settings.rounds * one_round + (settings.rounds - 1) * between)
    assert rollouts == {25_600}
    assert (
        smallest_detectable(config.compare.seeds * config.domain.settings["sizes"]["test"], 0.203)
        < 0.026
    )  # the last pilot: 0.088
