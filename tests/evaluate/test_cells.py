"""Every kind of cell, once, on a tiny random model."""

import json
from types import SimpleNamespace

import pytest

from realm.config.root import load_config
from realm.core.jsonl import read_jsonl
from realm.evaluate.cells import plan_cells
from realm.evaluate.methods import choose_methods
from realm.run import Run
from realm.train.arguments import count_rollouts
from tiny_compare import write_config

METHODS = [
    "base",
    "distilled",
    "further",
    "answer_only",
    "rft",
    "rft_routes",
    "instructors",
    "zero",
    "no_negatives",
]


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """The finished cells of one seed, by method."""
    folder = tmp_path_factory.mktemp("cells")
    overrides = [
        f"compare.methods=[{', '.join(METHODS)}]",
        "compare.modes=[autonomous, rules, universal_routes]",
        "compare.seeds=1",
    ]
    overrides.append("compare.prompts.rules='{rules} {question}'")
    run = Run(folder, load_config(write_config(folder), overrides))
    made = plan_cells(run, choose_methods(run))
    for cell in made:
        cell.run_missing_stages()
    return {cell.method.name: cell for cell in made}


@pytest.mark.slow
def test_every_method_answers_every_problem(cells):
    for name in METHODS:
        asked = {"base": "rules", "distilled": "universal_routes"}.get(name, "autonomous")
        entries = json.loads(cells[name].run.path(f"outcomes/{asked}.json").read_text())
        assert [(entry["split"], len(entry["outcomes"])) for entry in entries] == [
            ("test", 6),
            ("test_rules", 2),
        ]
    assert not cells["answer_only_start"].run.path("outcomes").exists()


@pytest.mark.slow
def test_the_rules_stand_in_the_prompt_and_cost_prompt_tokens(cells):
    plain, rules = (
        json.loads(cells["base"].run.path(f"outcomes/{mode}.json").read_text())[0]
        for mode in ("autonomous", "rules")
    )
    book = cells["base"].run.path("rules.md").read_text().strip() + " "
    added = rules["prompt_tokens_per_problem"] - plain["prompt_tokens_per_problem"]
    assert added == pytest.approx(len(book.encode()))  # a byte is a token here


@pytest.mark.slow
def test_supervised_baselines_train_on_as_many_completions_as_there_are_rollouts(cells):
    for name in ("further", "answer_only", "instructors"):
        mine, start = cells[name].count_budget(), cells[name].parent.count_budget()
        assert (
            mine["trained_completions"] - start["trained_completions"] == 8
            and mine["trained_tokens"] > start["trained_tokens"]
        )
    taught = {
        name: read_jsonl(cells[name].run.path("taught.jsonl"))
        for name in ("further", "answer_only", "instructors", "rft")
    }
    assert taught["further"] == read_jsonl(cells["distilled"].run.path("sft.jsonl"))
    assert all(row["completion"].startswith("<answer>") for row in taught["answer_only"])
    problems = {row["question"] for row in read_jsonl(cells["data"].run.path("problems.jsonl"))}
    assert len(taught["instructors"]) == 8 and not problems & {
        row["prompt"] for row in taught["instructors"]
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rft", "rft_routes"])
def test_a_student_that_is_never_right_leaves_rft_with_its_start(cells, name):
    run = cells[name].run
    assert (
        read_jsonl(run.path("taught.jsonl")) == [] and cells[name].count_budget()["rollouts"] == 8
    )
    same = (run.path(folder) / "model.safetensors" for folder in ("model", "distilled"))
    assert len({path.read_bytes() for path in same}) == 1


@pytest.mark.slow
def test_without_negatives_no_wrong_route_is_shown_and_zero_starts_from_the_model(cells):
    shown = read_jsonl(cells["no_negatives"].run.path("rollouts/samples.jsonl"))
    assert all(all(row["labels"]) for row in shown)
    assert (
        not cells["zero"].run.path("distilled").exists()
        and cells["zero"].count_budget()["trained_completions"] == 8
    )


def test_rollouts_count_generations_that_last_several_steps():
    arguments = SimpleNamespace(
        max_steps=6,
        steps_per_generation=2,
        num_iterations=1,
        gradient_accumulation_steps=1,
        generation_batch_size=16,
        num_generations=4,
    )
    assert count_rollouts(arguments) == 48
