"""`realm import` and `realm init`: what they write, and that other verbs go on from there."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from realm.cli import app
from realm.core.jsonl import read_jsonl
from tiny import make_tiny

EXAMPLE = Path(__file__).parents[2] / "examples/own_domain"
FEW_STEPS = [
    "distill.sft={max_steps: 1, per_device_train_batch_size: 2}",
    "train.grpo={max_steps: 1, per_device_train_batch_size: 4, num_generations: 2, "
    "max_completion_length: 8}",
    "train.headroom={problems: 2, samples: 2}",
    "evaluate={routes: 2, max_new_tokens: 8, limit: {test: 4}}",
]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


def realm(*arguments, fails=False):
    result = CliRunner().invoke(
        app, [str(argument) for argument in arguments], catch_exceptions=False
    )
    assert result.exit_code == (2 if fails else 0), result.output
    return result


def rows_of(source):
    """Return twenty problems with two outputs each: a right one, and a wrong one or (bad) none."""
    return [
        {
            "question": f"{number} + 1?", "answer": number + 1,
            "outputs": [
                f"The answer is {number + 1}.",
                None if source == "bad" else f"The answer is {number}.",
            ],
        }
        for number in range(20)
    ]  # fmt: skip


def write(name, rows, more=""):
    content = ("".join(json.dumps(row) + "\n" for row in rows) + more).encode()
    Path(name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return name


def test_files_are_imported_evaluated_and_reported_without_a_model():
    printed = realm(
        "import",
        write("x_good.jsonl.gz", rows_of("good")),
        write("x_bad.jsonl", rows_of("bad")),
        "--kind",
        "number",
    )
    assert (
        "question 'question', answer 'answer', outputs 'outputs'; answers compared as number"
        in printed.stdout
    )
    assert printed.stdout.endswith("next:  realm eval runs/x/config.yaml\n")
    problems, routes = (
        read_jsonl(Path("runs/x/problems.jsonl")),
        read_jsonl(Path("runs/x/routes.jsonl")),
    )
    assert len(problems) == 20 and len(routes) == 20 * 2 * 2
    ends = (*routes[:2], *routes[40:42])
    assert [(row["source"], row.get("answer"), row["correct"]) for row in ends] == [
        ("good", 1, True), ("good", 0, False), ("bad", 1, True), ("bad", None, False),
    ]  # fmt: skip
    bank = json.loads(Path("runs/x/bank.json").read_text())["sources"]
    assert [(row["source"], row["mixed"], row["no_answer"]) for row in bank] == [
        ("bad", 1.0, 0.5), ("good", 1.0, 0.0), ("all sources", 1.0, 0.25),
    ]  # fmt: skip
    shown = realm("eval", "runs/x/config.yaml").stdout
    assert "one route (good)" in shown and "any of 4 (all)" in shown and "verdicts" not in shown
    results = json.loads(Path("runs/x/results.json").read_text())
    rows = {(row["method"], row["source"]): row for row in results["evaluations"]}
    assert {(row["split"], row["n"]) for row in rows.values()} == {("all", 20)}
    assert (
        rows["one route", "all"]["accuracy"] == 0.5 and rows["majority", "bad"]["accuracy"] == 1.0
    )
    assert rows["any of K", "all"]["ci95"][0] < 1 == rows["any of K", "all"]["accuracy"]
    realm("report", "runs/x/config.yaml")
    page = Path("runs/x/report.html").read_text(encoding="utf-8")
    assert (
        "On 20 problems, one route is right in 50.0% of the cases, "
        "the majority of up to 4 in 100.0%" in page
    )
    assert "Route bank" in page and "Words of a route" in page


def test_worked_solutions_in_nested_columns_are_judged_as_their_file_judges_them():
    # Thirteen problems of GSM8K with the solutions of four models, two of which break off.
    file = Path(__file__).parents[1] / "cases/gsm8k/solutions.jsonl"
    models = ["6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification"]
    outputs = ",".join(f"{model}.solution" for model in models)
    command = ["import", file, "--answer", "ground_truth", "--outputs", outputs]
    realm(*command, "--kind", "number", "--run", "x")
    found = [
        (route["source"], route["text"], route["correct"])
        for route in read_jsonl(Path("x/routes.jsonl"))
    ]
    assert found == [
        (model, row[model]["solution"], row[model]["is_correct"])
        for row in read_jsonl(file)
        for model in models
    ]


def test_the_same_command_does_nothing_again_and_other_settings_need_force():
    command = ["import", write("a.jsonl", rows_of("good")), "--kind", "number"]
    realm(*command)
    assert realm(*command).stdout.count("up to date") == 2
    assert (
        "exists and says something else" in realm(*command, "--id", "{question}", fails=True).stderr
    )
    assert realm(*command, "--id", "{question}", "--force").stdout.count("done in") == 2


def test_a_dry_run_shows_the_config_and_writes_nothing():
    assert "kind: import" in realm("import", write("a.jsonl", rows_of("good")), "--dry-run").stdout
    assert not Path("runs").exists()


def test_bad_rows_are_reported_and_only_under_strict_an_error():
    bad = '{"question": \n' + json.dumps({"question": "?", "answer": 1, "outputs": {}}) + "\n"
    command = ["import", write("a.jsonl", rows_of("good"), bad), "--kind", "number"]
    result = realm(*command, "--strict", fails=True)
    assert "a.jsonl:21: not valid JSON" in result.stderr and not Path("runs/a/config.yaml").exists()
    printed = realm(*command).output
    assert "1 row left out:" in printed and "2 rows left out:" in printed
    assert (
        "a.jsonl:21: not valid JSON" in printed
        and "a.jsonl:22: column 'outputs' holds dict" in printed
    )
    figures = json.loads(Path("runs/a/manifest.json").read_text())["stages"]["routes"]["figures"]
    assert figures == {"rows_left_out": 2, "rows_of_no_problem": 0}


def test_rows_that_contradict_each_other_are_left_out_and_the_cure_is_named():
    rows = [*rows_of("good"), rows_of("good")[3] | {"answer": 99}]
    printed = realm("import", write("a.jsonl", rows), "--kind", "number").output
    assert (
        "a.jsonl:21: the problem" in printed
        and "a.jsonl:4, with another answer" in printed
        and "or --id of" in printed
    )
    assert (
        len(read_jsonl(Path("runs/a/problems.jsonl"))) == 19
        and len(read_jsonl(Path("runs/a/routes.jsonl"))) == 38
    )
    assert "2 rows are of no problem in the set" in printed


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a.csv: holds no rows"),
        ("question,answer,output\nWo?,Köln,Köln\n".encode("latin1"), "a.csv:2: not UTF-8 text"),
        (
            b"question,answer,output\n,,\n",
            "no row could be used as a problem: .*a.csv:2: the question is empty",
        ),
        (b"q,answer,output\nx,y,z\n", "a.csv: no column has a usual name for the question"),
    ],
    ids=["empty", "latin1", "no question", "column"],
)
def test_a_file_with_nothing_to_use_is_one_message_and_leaves_no_config(content, message):
    import re

    Path("a.csv").write_bytes(content)
    result = realm("import", "a.csv", fails=True)
    assert re.search(message, result.stderr) and not Path("runs/a/config.yaml").exists()


def test_a_wrong_kind_of_answer_says_what_is_allowed():
    result = realm("import", write("a.jsonl", rows_of("good")), "--kind", "nubmer", fails=True)
    assert "'nubmer' is not one of" in result.stderr and "'number'" in result.stderr
    assert not Path("runs").exists()


SLOW_IMPORT = """
import signal, time
import realm.cli, realm.sources.importing

signal.signal(signal.SIGINT, signal.default_int_handler)

def slow(*arguments, **more):
    print("labelling", flush=True)
    time.sleep(60)

realm.sources.importing._label_outputs = slow
realm.cli.main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill"])
def test_an_interrupted_import_is_finished_by_the_same_command(number):
    command = ["import", write("a.jsonl", rows_of("good")), "--kind", "number"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_IMPORT, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    while process.stdout.readline() != "labelling\n":
        assert process.poll() is None, process.stderr.read()
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    if number == signal.SIGINT:
        assert (process.returncode, errors.strip()) == (
            130,
            "realm: interrupted; the same command continues.",
        )
    printed = realm(*command).stdout
    assert "data     up to date" in printed and "routes   done in" in printed
    assert len(read_jsonl(Path("runs/a/routes.jsonl"))) == 40


@pytest.mark.slow
def test_an_imported_bank_goes_on_to_a_model(tmp_path):
    rows = [
        row | {"question": f"{number}: {row['question']}"}
        for number in range(2)
        for row in rows_of("good")
    ]
    realm("import", write("a.jsonl", rows), "--kind", "number")
    few = [word for setting in FEW_STEPS for word in ("--set", setting)]
    printed = realm(
        "run", "runs/a/config.yaml", "--set", f"model={make_tiny(tmp_path / 'tiny')}", *few
    ).stdout
    assert "routes   up to date" in printed and "realm, assisted" in printed
    assert {
        row["split"] for row in json.loads(Path("runs/a/results.json").read_text())["evaluations"]
    } <= {"test", "hard", "own_hard"}


def test_init_writes_the_example_and_overwrites_nothing():
    printed = realm("init", "mine").stdout
    assert "realm run mine " in printed and "--set model=base-1m" in printed
    written = {path.name: path.read_bytes() for path in Path("mine").iterdir()}
    assert written == {path.name: path.read_bytes() for path in EXAMPLE.iterdir() if path.is_file()}
    assert {"README.md", "config.yaml", "problems.csv"} <= set(written)
    Path("mine/rules.md").write_text("my rules")
    assert (
        "mine/README.md: exists, and is not overwritten" in realm("init", "mine", fails=True).stderr
    )
    assert Path("mine/rules.md").read_text() == "my rules"


def test_an_imported_file_is_never_written_over():
    folder = Path("imp")
    folder.mkdir()
    write("imp/routes.jsonl", rows_of("good"))
    before = Path("imp/routes.jsonl").read_bytes()
    refused = realm("import", "imp/routes.jsonl", "--run", "imp", "--kind", "number", fails=True)
    assert "routes.jsonl: the config names this file as an input" in refused.stderr
    found = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert found == {"routes.jsonl": before}


@pytest.mark.slow
@pytest.mark.parametrize("where", ["scaffold", "example"])
def test_the_scaffold_and_the_example_run_from_start_to_end(where, tmp_path):
    folder = Path("mine")
    if where == "scaffold":
        realm("init", "mine")
    else:
        shutil.copytree(EXAMPLE, folder)
    assert "any of 8 (all)" in realm("run", folder / "config.yaml").stdout, (
        "without a model the bank is evaluated"
    )
    few = [word for setting in FEW_STEPS for word in ("--set", setting)]
    printed = realm(
        "run", folder / "config.yaml", "--set", f"model={make_tiny(tmp_path / 'tiny')}", *few
    ).stdout
    assert "realm, assisted" in printed and "distilled, autonomous" in printed
    assert (folder / "runs/return-desk/report.html").exists()
