"""`realm compare RUN RUN`: which problems are paired, what differs, and what is refused."""

import json

import pytest
from typer.testing import CliRunner

from realm.cli import app
from realm.config.root import load_config
from realm.core.errors import ConfigError, RunError
from realm.core.jsonl import write_json, write_jsonl
from realm.core.manifest import SCHEMA
from realm.core.records import Problem
from realm.evaluate.compare import require_methods
from realm.evaluate.report.tables import make_table, print_tables
from realm.run import Run
from realm.study.finished import compare_runs

EVAL_INPUTS = {"problems.jsonl": "p", "routes.jsonl": "r", "model/": "m"}


def write_run(
    folder, right, *, model="realm", num_problems=20, first=0, settings=None, inputs=EVAL_INPUTS,
    prompt="{}?", tokens=9, labels=None,
):  # fmt: skip
    """Write an evaluated run: of its test problems those below `right` are answered right."""
    numbers = range(first, first + num_problems)
    labels = labels or {}
    problems = [
        Problem(id=f"p{i}", split="test", question=f"{i} + 1?", answer=labels.get(i, str(i + 1)))
        for i in numbers
    ]
    write_jsonl(folder / "problems.jsonl", problems)
    rows = [
        {
            "method": method, "mode": mode, "split": "test", "problem_id": f"p{i}",
            "prompt": prompt.format(i), "prompt_tokens": 5,
            # The untrained model is right on nothing, and routes help on one problem more.
            "judged": {
                "text": "?",
                "correct": method != "base" and i < right + (mode == "assisted"),
                "num_tokens": tokens,
            },
        }
        for method in ("base", model)
        for mode in ("assisted", "autonomous")
        for i in numbers
    ]  # fmt: skip
    write_jsonl(folder / "answers.jsonl", rows)
    config = {"seed": 7, "model": "some/model", "train": {"fade": {"end": 0.8}}} | (settings or {})
    made = {"settings": "x", "inputs": {}, "seconds": 60.0}
    stages = {
        "train": made | {"outputs": {"model/": "m"}},
        "eval": made | {"inputs": inputs, "outputs": {"results.json": "x"}},
    }
    manifest = {"schema": SCHEMA, "config": config, "source": str(folder.parent / "c.yaml")}
    write_json(folder / "manifest.json", manifest | {"stages": stages, "commit": "abc"})
    return folder


def compare(*arguments):
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


def test_runs_are_paired_on_the_same_problems_and_compared_with_the_first(tmp_path):
    folders = [write_run(tmp_path / name, right) for name, right in (("a", 6), ("b", 16), ("c", 6))]
    found = compare_runs(folders)
    results = found.results
    assert (results.accuracy("a"), results.accuracy("b")) == (0.3, 0.8)
    assert results.accuracy("b", "assisted") == 0.85
    better = results.difference("b", "a")
    assert (better.difference, better.n) == (pytest.approx(0.5), 20)
    # Ten problems that only b solves, and none that only a solves: 2 / 2^10.
    assert better.p_mcnemar == pytest.approx(2 / 2**10)
    assert better.finding == "b is better" and better.ci95[0] > 0.2
    assert results.difference("c", "a").finding == "no evidence of a difference"
    with pytest.raises(RunError, match="was not compared"):
        results.difference("c", "b")
    assert found.notes == [] and found.differing == {}


def test_the_last_model_is_compared_unless_one_is_named(tmp_path):
    a = write_run(tmp_path / "a", 6)
    b = write_run(tmp_path / "b", 6, model="distilled")
    assert [run.model for run in compare_runs([a, b]).runs] == ["realm", "distilled"]
    assert compare_runs([a, b], "base").results.accuracy("a") == 0.0
    with pytest.raises(RunError, match=r"b: no model 'realm' .*Found: base, distilled"):
        compare_runs([a, b], "realm")


def test_problems_that_not_all_runs_share_are_left_out_and_counted(tmp_path):
    a = write_run(tmp_path / "a", 30)
    b = write_run(tmp_path / "b", 0, first=5, labels={7: "another label"})
    found = compare_runs([a, b])
    assert found.results.difference("b", "a").n == 14
    (note,) = found.notes
    assert note.startswith("test: 14 problems") and note.endswith("left out: 6 of a, 6 of b.")


def test_runs_without_a_problem_in_common_are_refused(tmp_path):
    a = write_run(tmp_path / "a", 3)
    b = write_run(tmp_path / "b", 3, first=100, settings={"seed": 8})
    with pytest.raises(RunError, match=r"no test problem .*20 of a and 20 of b.* differ: seed\."):
        compare_runs([a, b])


def test_settings_that_differ_are_listed_and_no_others(tmp_path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "x").mkdir()
    a = write_run(tmp_path / "a", 3, settings={"model": "weights", "run": "a"})
    b = write_run(
        tmp_path / "x/b", 3, settings={"model": "../weights", "train": {"fade": {"end": 0.5}}}
    )
    found = compare_runs([a, b])
    assert found.differing == {"train.fade.end": ["0.8", "0.5"]}, "one folder, two paths"
    shown = compare(a, b).output
    assert "train.fade.end" in shown and "some/model" not in shown


def test_prompts_that_differ_are_said_since_they_explain_differences_too(tmp_path):
    a = write_run(tmp_path / "a", 3)
    b = write_run(tmp_path / "b", 3, prompt="Think. {}?")
    notes = compare_runs([a, b]).notes
    assert [note.partition(":")[0] for note in notes] == ["test, autonomous", "test, assisted"]
    assert "20 of 20 prompts differ" in notes[0] and "the routes shown" in notes[1]


def test_the_terminal_shows_accuracy_interval_p_tokens_and_settings(tmp_path):
    a = write_run(tmp_path / "a", 6, tokens=12)
    b = write_run(tmp_path / "b", 16, tokens=30, settings={"seed": 8})
    shown = compare(a, b)
    assert shown.exit_code == 0, shown.output
    lines = shown.output.splitlines()
    assert lines[0].split(maxsplit=1) == ["a", f"realm of {a}, trained in 1.0 min"]
    (pair,) = [line for line in lines if line.startswith(" b - a, autonomous")]
    assert "+50.0 [" in pair and "0.002" in pair and "b is better" in pair
    (row,) = [line for line in lines if line.startswith(" b, autonomous")]
    assert "80.0 [58.4, 91.9]" in row and row.split()[-1] == "30"
    (setting,) = [line for line in lines if line.startswith(" seed")]
    assert setting.split() == ["seed", "7", "8"]


def test_a_narrow_terminal_cuts_no_setting(capsys, monkeypatch):
    monkeypatch.setattr("realm.evaluate.report.tables.WIDE", 24)
    rows = [{"trial": "1", "settings": "distill.sft.learning_rate=4e-05"}]
    print_tables([make_table("", rows, is_text=True)])
    shown = capsys.readouterr().out
    assert "".join(shown.split()).endswith("learning_rate=4e-05")


def test_runs_of_one_name_are_told_apart_and_one_run_is_given_once(tmp_path):
    a, b = (write_run(tmp_path / name / "run", 3) for name in ("a", "b"))
    assert [run.name for run in compare_runs([a, b]).runs] == ["a/run", "b/run"]
    with pytest.raises(RunError, match="given twice"):
        compare_runs([a, b, tmp_path / "b/../a/run"])


def break_evaluation(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["stages"]["eval"]
    write_json(folder / "manifest.json", manifest)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (break_evaluation, "is not evaluated yet. Run `realm eval "),
        (lambda folder: (folder / "manifest.json").unlink(), "is no run folder"),
        (lambda folder: (folder / "cells").mkdir(), "holds a comparison of methods"),
        (lambda folder: write_jsonl(folder / "answers.jsonl", []), "asked no model"),
        (lambda folder: write_run(folder, 3, inputs=EVAL_INPUTS | {"model/": "old"}), "have chang"),
        (lambda folder: write_run(folder, 3, inputs={}), "have changed since the evaluation"),
    ],
)
def test_a_folder_that_cannot_be_compared_is_refused_with_what_to_do(tmp_path, spoil, words):
    a, b = write_run(tmp_path / "a", 3), write_run(tmp_path / "b", 3)
    spoil(b)
    result = compare(a, b)
    assert result.exit_code == 2
    assert result.output.startswith(f"realm: {b}: ") and words in result.output


def test_options_of_the_other_way_to_compare_are_refused(tmp_path):
    assert compare(tmp_path / "a", tmp_path / "b", "--set", "seed=8").exit_code == 2
    assert compare(tmp_path / "a", "--model", "realm").exit_code == 2
    config = tmp_path / "c.yaml"
    config.write_text("seed: 7\n")
    result = compare(config, config)
    assert result.exit_code == 2 and "given twice" in result.output
    result = compare(config, write_run(tmp_path / "a", 3))
    assert result.exit_code == 2 and "c.yaml: is a file" in result.output


def test_one_run_folder_or_a_config_without_the_section_is_not_a_plan_to_train(
    small_config, tmp_path
):
    result = compare(small_config.source, "--dry-run")
    assert result.exit_code == 2 and "has no section `compare`" in result.output
    assert "`realm compare RUN RUN`" in result.output and "data-7" not in result.output
    config = small_config.with_settings({"compare.methods": ["realm"]})
    require_methods(Run(tmp_path / "new", config), config.source)
    (tmp_path / "begun/cells").mkdir(parents=True)
    require_methods(Run(tmp_path / "begun", small_config), small_config.source)
    begun = Run(tmp_path / "begun", config)
    begun.write_manifest({})
    assert load_config(begun.folder).compare.methods == ["realm"], "its folder continues it"
    finished = write_run(tmp_path / "a", 3)
    with pytest.raises(ConfigError, match="is the folder of one run"):
        require_methods(Run(finished, config), finished)
