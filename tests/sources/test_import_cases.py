"""Files met in practice: what `realm import` makes of each, or which row it names."""

import json
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from realm.cli import app
from realm.core.jsonl import read_jsonl

CASES = read_jsonl(Path(__file__).parents[1] / "cases/imports.jsonl")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def bring_in(*arguments):
    """Return the exit code, (question, answer) of problems, (text, correct) of routes, output."""
    command = ["import", *arguments, "--run", "run"]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    if result.exit_code:
        return result.exit_code, None, None, result.output
    problems = [[row["question"], row["answer"]] for row in read_jsonl(Path("run/problems.jsonl"))]
    routes = [[row["text"], row["correct"]] for row in read_jsonl(Path("run/routes.jsonl"))]
    return 0, problems, routes, result.output


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_a_file_met_in_practice_is_read_or_its_fault_is_named(case):
    for name, text in case.get("files", {}).items():
        Path(name).write_bytes(text.encode())
    for name, text in case.get("bytes", {}).items():
        Path(name).write_bytes(text.encode("latin-1"))
    code, problems, routes, said = bring_in(*case["args"])
    assert code == (0 if "problems" in case else 2), said
    assert (problems, routes) == (case.get("problems"), case.get("routes"))
    assert case.get("says", "") in said
    if "ids" in case:
        assert [row["id"] for row in read_jsonl(Path("run/problems.jsonl"))] == case["ids"]


def test_a_line_of_six_million_characters_is_read():
    output = "x " * 3_000_000 + "The answer is 42."
    Path("a.jsonl").write_text(json.dumps({"question": "?", "answer": 42, "output": output}))
    assert bring_in("a.jsonl", "--kind", "number")[2] == [[output, True]]


CHAT = [{"role": "user", "content": "What is 6*7?"}]
VERL = {"prompt": CHAT, "reward_model": {"style": "rule", "ground_truth": "42"}, "output": "42"}


@pytest.mark.parametrize(
    ("row", "arguments", "expected"),
    [
        (VERL, ["--answer", "reward_model"], "holds an object with style, ground_truth. Name a"),
        (VERL, ["--answer", "reward_model.ground_truth", "--kind", "number"], "42"),
        (VERL, ["--kind", "label"], "42"),
        ({"answer": Decimal("12.50"), "output": "12.5"}, ["--kind", "number"], "12.50"),
        (
            {"answer": date(2021, 3, 5), "output": "March 5, 2021"},
            ["--kind", "set"],
            ["2021-03-05"],
        ),
        (
            {"answer": datetime(2021, 3, 5), "output": "March 5, 2021"},
            ["--kind", "set"],
            ["2021-03-05"],
        ),
        ({"answer": b"42", "output": "The answer is 42."}, ["--kind", "number"], "42"),
    ],
    ids=["object", "path", "verl", "decimal", "date", "timestamp", "bytes"],
)
def test_values_of_a_parquet_file(row, arguments, expected):
    from pyarrow import Table, parquet

    row = row if row is VERL else {"question": "?"} | row
    parquet.write_table(Table.from_pylist([row]), "a.parquet")
    code, problems, routes, said = bring_in("a.parquet", *arguments)
    if code:
        assert str(expected) in said
        return
    assert [correct for _, correct in routes] == [True]
    assert problems == [["What is 6*7?" if row is VERL else "?", expected]]


def test_a_dictionary_column_of_a_parquet_file_holds_its_words():
    from pyarrow import Table, array, parquet

    columns = {"question": ["a?", "b?"], "answer": array(["yes", "no"]).dictionary_encode()}
    parquet.write_table(Table.from_pydict(columns | {"output": ["Yes.", "No."]}), "a.parquet")
    code, problems, routes, _ = bring_in("a.parquet", "--kind", "label")
    assert code == 0 and problems == [["a?", "yes"], ["b?", "no"]]
    assert routes == [["Yes.", True], ["No.", True]]
