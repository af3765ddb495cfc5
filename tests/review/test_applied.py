"""Corrections change what distillation teaches and what evaluation scores."""

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from realm.bank.worth import ONE
from realm.cli import app
from realm.config.root import load_config
from realm.core.jsonl import read_jsonl, read_problems, read_routes, write_jsonl
from realm.domains.corrections import Correction, add_correction, label_route
from realm.run import Run
from realm.train.arguments import make_sft_arguments
from realm.train.sft import select_taught_problems, write_rows
from tiny import make_tiny

NAMES = [f"train{place}" for place in range(6)] + [f"test{place}" for place in range(4)]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a run with 10 problems; of `ann` each answer is right, of `bob` those of two."""
    rows, outputs = [], []
    for place, name in enumerate(NAMES):
        row = {"id": name, "question": f"{place} + 1?", "answer": place + 1}
        rows.append(row | {"split": name.rstrip("0123456789")})
        wrong = place + 1 + 10 * (place > 1)
        outputs.append({"id": name, "by": "ann", "outputs": f"It adds one. Answer: {place + 1}"})
        outputs.append({"id": name, "by": "bob", "outputs": f"I guess. Answer: {wrong}"})
    write_jsonl(tmp_path / "rows.jsonl", rows)
    write_jsonl(tmp_path / "outputs.jsonl", outputs)
    settings = {
        "run": "run",
        "domain": {
            "kind": "files",
            "path": "rows.jsonl",
            "answer": "number",
            "columns": {"split": "split"},
        },
        "routes": {
            "kind": "import",
            "files": [{"path": "outputs.jsonl"}],
            "columns": {"source": "by"},
            "strict": True,
        },
        "distill": {"kind": "unguided"},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    return Run(tmp_path / "run", load_config(tmp_path / "config.yaml"))


def do(run: Run) -> None:
    run.data()
    run.routes()


def correct(run: Run, problem_id: str, kind: str, value: object) -> None:
    correction = Correction(problem_id=problem_id, kind=kind, value=value)
    add_correction(run.path("corrections.jsonl"), correction)


def correct_route(run: Run, problem_id: str, source: str, kind: str, value: bool) -> None:
    (route,) = [
        one
        for one in read_routes(run.path("routes.jsonl"))
        if (one.problem_id, one.source) == (problem_id, source)
    ]
    add_correction(run.path("corrections.jsonl"), label_route(route, kind, value))


def teach(run: Run, tmp_path: Path) -> dict[str, set[str]]:
    """Return what distillation would teach: the completions by the id of their problem."""
    model = make_tiny(tmp_path / "model", "qwen2") and str(tmp_path / "model")
    trained = Run(run.folder, load_config(run.config.source, {"model": model}))
    arguments = make_sft_arguments(trained.config, trained.work("distill"))
    write_rows(trained, select_taught_problems(trained), arguments)
    taught: dict[str, set[str]] = {}
    for row in read_jsonl(trained.path("sft.jsonl")):
        taught.setdefault(row["problem_id"], set()).add(row["completion"].rpartition("<answer>")[2])
    return taught


def test_a_corrected_label_changes_what_distillation_teaches(run, tmp_path):
    do(run)
    assert teach(run, tmp_path)["train2"] == {"3</answer>"}
    correct(run, "train2", "gold", 13)  # bob was right
    correct(run, "train3", "excluded", True)
    correct_route(run, "train4", "ann", "correct", False)
    assert run.find_outdated("eval") == ["data", "routes"]
    do(run)
    taught = teach(run, tmp_path)
    assert taught["train2"] == {"13</answer>"} and set(taught) == {
        "train0",
        "train1",
        "train2",
        "train5",
    }
    labels = {
        (one.problem_id, one.source): one.correct for one in read_routes(run.path("routes.jsonl"))
    }
    assert (labels["train2", "ann"], labels["train2", "bob"]) == (False, True)
    assert not any(name == "train3" for name, _ in labels)


def test_a_corrected_label_changes_what_evaluation_scores_and_the_results_say_so(run):
    do(run)

    def score() -> float:
        results = run.evaluate()
        rows = results.list_rows("all")
        return next(row.accuracy for row in rows if (row.method, row.source) == (ONE, "bob"))

    before = score()
    assert run.evaluate().corrections == 0
    correct(run, "test0", "gold", 17)
    assert before == 0.2 and score() == 0.2, "nothing is applied until the problems are written"
    do(run)
    assert not run.is_done("eval") and score() == 0.3
    assert run.evaluate().corrections == 1
    printed = CliRunner().invoke(app, ["run", str(run.folder)])
    assert "Labels that a person corrected (corrections.jsonl): 1." in printed.output
    page = run.path("report.html").read_text(encoding="utf-8")
    assert "Labels that a person corrected (corrections.jsonl): 1." in page


def test_a_route_label_leaves_the_problems_as_they_are_and_undoing_restores_all(run):
    run.run_all()
    before = run.path("problems.jsonl").read_bytes(), run.path("routes.jsonl").read_bytes()
    correct_route(run, "test0", "bob", "correct", True)
    assert run.find_outdated("report") == ["data", "routes"]
    run.run_all()
    assert run.path("problems.jsonl").read_bytes() == before[0]
    assert run.path("routes.jsonl").read_bytes() != before[1]
    row = read_jsonl(run.path("corrections.jsonl"))[0]
    add_correction(run.path("corrections.jsonl"), Correction(**row | {"value": None}))
    run.run_all()
    assert run.path("routes.jsonl").read_bytes() == before[1]


def test_a_corrected_gold_answer_must_be_one(run):
    do(run)
    correct(run, "train0", "gold", "many")
    result = CliRunner().invoke(app, ["data", str(run.folder)])
    assert result.exit_code == 2 and "'train0': its gold answer 'many' cannot earn" in result.output
    assert len(read_problems(run.path("problems.jsonl"))) == 10


def test_the_verb_lists_suspects_and_needs_a_terminal_for_the_rest(run, tmp_path):
    do(run)
    listed = CliRunner().invoke(app, ["review", str(run.folder), "--list", "--only", "wrong"])
    assert listed.exit_code == 0 and listed.stdout.count("\n") == 9
    assert listed.stdout.endswith("0 of 8 problems look mislabelled\n")
    asked = CliRunner().invoke(app, ["review", str(run.folder)])
    assert asked.exit_code == 2 and "standard input is not one. --list prints" in asked.stderr
    write_jsonl(run.path("reviewed.jsonl"), [{"problem_id": name} for name in NAMES])
    seen = CliRunner().invoke(app, ["review", str(run.folder)])
    assert seen.stdout == "All 10 problems were seen before; --again shows them.\n"
    again = CliRunner().invoke(app, ["review", str(run.folder), "--again", "--list"])
    assert again.stdout.endswith("of 10 problems look mislabelled\n")
    nothing = CliRunner().invoke(app, ["review", str(run.folder), "--split", "dev"])
    assert nothing.exit_code == 2 and "no problem is left with --split" in nothing.stderr
    missing = CliRunner().invoke(app, ["review", str(tmp_path / "none"), "--list"])
    assert missing.exit_code == 2 and "Traceback" not in missing.output
