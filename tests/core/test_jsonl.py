import gzip
import json

import pytest

from realm.core.errors import DataError, RunError
from realm.core.jsonl import (
    append_jsonl,
    read_jsonl,
    read_numbered_rows,
    read_problems,
    read_routes,
    write_json,
    write_jsonl,
)
from realm.core.records import Problem, Route, to_row

PROBLEM = Problem(id="a", split="test", question="Was ist 1 + 1? ✓", answer="2")
ROUTE = Route(problem_id="a", source="hasty", text="so 3", answer=None, correct=None)


def test_records_survive_a_round_trip(tmp_path):
    write_jsonl(tmp_path / "problems.jsonl", [PROBLEM])
    write_jsonl(tmp_path / "routes.jsonl", [ROUTE])
    assert read_problems(tmp_path / "problems.jsonl") == [PROBLEM]
    assert read_routes(tmp_path / "routes.jsonl") == [ROUTE]
    row = {
        "problem_id": "a",
        "source": "hasty",
        "text": "so 3",
        "answer": None,
        "correct": None,
        "guided": False,
    }
    assert read_jsonl(tmp_path / "routes.jsonl") == [row | {"rationalized": False}], (
        "what is not said is written as null"
    )


def test_a_compressed_file_reads_the_same(tmp_path):
    with gzip.open(tmp_path / "rows.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write('{"a": 1}\n\n{"a": 2}\n')
    assert read_jsonl(tmp_path / "rows.jsonl.gz") == [{"a": 1}, {"a": 2}]


def test_nan_in_a_file_is_no_value(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"a": NaN, "b": -Infinity}\n')
    assert read_jsonl(tmp_path / "rows.jsonl") == [{"a": None, "b": None}]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        pytest.param(
            "rows.jsonl",
            b'{"a": 1}\n{"a": \n',
            ":2: not valid JSON: Expecting value at column",
            id="malformed",
        ),
        pytest.param(
            "rows.jsonl", b'{"a": 1}\n[1]\n', ":2: not a JSON object. Found: [1].", id="no object"
        ),
        pytest.param("rows.jsonl", b'{"a": "\xff"}\n', ": cannot be read:", id="no UTF-8"),
        pytest.param(
            "rows.jsonl.gz", b"no gzip", ": cannot be read: Not a gzipped file", id="no gzip"
        ),
        pytest.param(
            "rows.jsonl.gz",
            gzip.compress(b'{"a": 1}\n' * 9)[:-9],
            ": cannot be read:",
            id="torn gzip",
        ),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        list(read_numbered_rows(tmp_path / name))
    assert str(caught.value).startswith(f"{tmp_path / name}{expected}")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"rows\.jsonl: there is no such file"):
        read_jsonl(tmp_path / "rows.jsonl")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        pytest.param(
            {"id": "a", "split": "test"},
            ":1: the row lacks question, answer.",
            id="missing",
        ),
        pytest.param(
            {"id": "a", "split": "test", "question": "q", "answer": 1, "gold": 2},
            "unknown fields: gold",
            id="unknown",
        ),
        pytest.param(
            {"id": 5, "split": "test", "question": None, "answer": 1},
            "holds a value of the wrong type in id, question",
            id="type",
        ),
    ],
)
def test_a_row_that_is_no_problem_is_named(tmp_path, row, expected):
    write_jsonl(tmp_path / "problems.jsonl", [row])
    with pytest.raises(DataError) as caught:
        read_problems(tmp_path / "problems.jsonl")
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [("correct", "no"), ("guided", 1), ("text", None), ("guide", "rule"), ("cost_usd", "0.1")],
)
def test_a_field_of_another_type_is_named(tmp_path, field, value):
    write_jsonl(tmp_path / "routes.jsonl", [ROUTE, to_row(ROUTE) | {field: value}])
    with pytest.raises(
        DataError, match=rf"routes\.jsonl:2: the row holds a value of the wrong type in {field}"
    ):
        read_routes(tmp_path / "routes.jsonl")


def test_a_problem_that_occurs_twice_is_named(tmp_path):
    write_jsonl(tmp_path / "problems.jsonl", [PROBLEM, PROBLEM])
    with pytest.raises(DataError, match="1 ids occur more than once, the first is 'a'"):
        read_problems(tmp_path / "problems.jsonl")


def test_appending_removes_the_line_that_a_kill_tore(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": 2}\n{"a": "\xc3')
    with append_jsonl(path) as append:
        append({"a": 3})
    assert read_jsonl(path) == [{"a": 1}, {"a": 2}, {"a": 3}]


def test_a_torn_first_line_leaves_an_empty_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a"')
    with append_jsonl(path):
        pass
    assert path.read_bytes() == b""


def test_each_appended_line_is_on_disk_at_once(tmp_path):
    with append_jsonl(tmp_path / "rows.jsonl") as append:
        append({"a": 1})
        assert read_jsonl(tmp_path / "rows.jsonl") == [{"a": 1}]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, [{"a": 1}])

    def rows():
        yield {"a": 2}
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        write_jsonl(path, rows())
    assert read_jsonl(path) == [{"a": 1}]
    assert [file.name for file in tmp_path.iterdir()] == ["rows.jsonl"]


def test_nan_never_reaches_a_file(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "results.json", {"accuracy": float("nan")})
    assert not (tmp_path / "results.json").exists()


def test_json_is_readable_by_a_person(tmp_path):
    write_json(tmp_path / "x.json", {"a": "✓"})
    assert "✓" in (tmp_path / "x.json").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8")) == {"a": "✓"}


def test_a_folder_that_cannot_be_made_is_one_message(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(RunError, match=r"file/run: the folder cannot be made: Not a directory\."):
        write_json(tmp_path / "file/run/results.json", {})
