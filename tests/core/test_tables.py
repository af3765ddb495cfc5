import datetime
import gzip
import json
from decimal import Decimal

import pyarrow
import pyarrow.parquet
import pytest

from realm.core.errors import DataError
from realm.core.tables import describe_bad_rows, local_path, make_absolute, read_rows

ROWS = [{"id": "a", "text": "Was ist 1 + 1? ✓"}, {"id": "b", "text": "2 + 2"}]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "hub" / "datasets"))
    return tmp_path


def write(name, content):
    with open(name, "wb") as file:
        file.write(content)
    return name


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def read(name, on_error=None):
    if on_error is None:
        found = list(read_rows(name))
    else:
        found = list(read_rows(name, on_error=on_error.append))
    return [place for place, _ in found], [row for _, row in found]


def test_all_kinds_of_file_hold_the_same_rows_with_their_places(tmp_path):
    csv = "id,text\r\n" + "".join(f"{row['id']},{row['text']}\r\n" for row in ROWS)
    write("rows.jsonl", lines(ROWS))
    write("rows.jsonl.gz", gzip.compress(lines(ROWS)))
    write("rows.csv", csv.encode("utf-8-sig"))  # as spreadsheets write it, with a BOM
    write("rows.csv.gz", gzip.compress(csv.encode()))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), "rows.parquet")
    assert read("rows.jsonl") == (["rows.jsonl:1", "rows.jsonl:2"], ROWS)
    assert read("rows.jsonl.gz") == (["rows.jsonl.gz:1", "rows.jsonl.gz:2"], ROWS)
    assert read("rows.csv") == (["rows.csv:2", "rows.csv:3"], ROWS)
    assert read("rows.csv.gz") == (["rows.csv.gz:2", "rows.csv.gz:3"], ROWS)
    assert read("rows.parquet") == (["rows.parquet: row 1", "rows.parquet: row 2"], ROWS)


def test_csv_rows_may_hold_line_ends_and_long_cells():
    write("rows.csv", b'id,table\n1,"a\nb"\n2,"' + b"x" * 200_000 + b'"\n')
    assert [row["table"][:3] for row in read("rows.csv")[1]] == ["a\nb", "xxx"]


def test_a_value_that_json_does_not_know_becomes_a_text_or_nothing():
    row = {
        "when": datetime.date(2026, 8, 1),
        "cost": Decimal("1.50"),
        "share": float("nan"),
        "outputs": ["x", None],
    }
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), "rows.parquet")
    assert read("rows.parquet")[1] == [
        {"when": "2026-08-01", "cost": "1.50", "share": None, "outputs": ["x", None]}
    ]


def test_half_of_a_surrogate_pair_in_a_models_text_can_be_written_again():
    write("rows.jsonl", b'{"text": "\\ud83d then \\ud83d\\ude00"}\n')
    assert read("rows.jsonl")[1] == [{"text": "? then 😀"}]


def test_bad_rows_are_named_by_line_and_the_others_are_read():
    bad = []
    write("rows.jsonl", lines(ROWS[:1]) + b'{"id": \n\n[1]\n{"id": "\xff"}\n' + lines(ROWS[1:]))
    assert read("rows.jsonl", bad) == (["rows.jsonl:1", "rows.jsonl:6"], ROWS)
    assert [str(error)[:28] for error in bad] == [
        "rows.jsonl:2: not valid JSON",
        "rows.jsonl:4: not a JSON obj",
        "rows.jsonl:5: not UTF-8 text",
    ]  # fmt: skip
    bad = []
    write("rows.csv", "id,text\na,b\nx\nü,v\n1,2,3\nc,d\n".encode("latin1"))
    assert [row["id"] for row in read("rows.csv", bad)[1]] == ["a", "c"]
    assert [str(error)[:14] for error in bad] == [
        "rows.csv:3: mo",
        "rows.csv:4: no",
        "rows.csv:5: mo",
    ]
    with pytest.raises(DataError, match=r"rows\.csv:3: more or fewer cells than the 2 columns"):
        read("rows.csv")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param(
            "rows.jsonl.gz",
            gzip.compress(lines(ROWS) * 99)[:-20],
            "is torn: .* Fetch it again",
            id="torn gzip",
        ),
        pytest.param(
            "rows.jsonl.gz", lines(ROWS), "is no gzip file. Take .gz off its name", id="no gzip"
        ),
        pytest.param("rows.parquet", b"PAR1 torn", "is no whole Parquet file", id="torn parquet"),
        pytest.param(
            "rows.csv",
            b'a,b\n"1,2\n3,4\n',
            ": not valid CSV: .* close the quotes",
            id="open quotes",
        ),
        pytest.param(
            "rows.csv",
            b"a,b,a\n1,2,3\n",
            ":1: the column 'a' comes twice",
            id="two columns of one name",
        ),
        pytest.param("rows.json", b'{"a": 1}', "holds no list of objects", id="no list"),
        pytest.param("rows.json", b"[{]", "not valid JSON", id="torn list"),
        pytest.param("rows.xlsx", b"PK", "is no whole .xlsx file", id="torn sheet"),
        pytest.param(
            "rows.csv", "a,b\n1,2\n".encode("utf-16-le"), "looks like UTF-16", id="UTF-16 unmarked"
        ),
        pytest.param(
            "rows.csv",
            "fräge\nx\n".encode("latin1"),
            ":1: not UTF-8 text.*CSV UTF-8",
            id="heads not UTF-8",
        ),
        pytest.param(
            "rows.docx",
            b"",
            r"an unknown kind of file. Allowed: \.jsonl .* \.csv, .*\.parquet",
            id="kind",
        ),
        pytest.param("rows.parquet.gz", b"", "an unknown kind of file", id="packed parquet"),
    ],
)
def test_a_bad_file_is_named_with_a_cure_and_never_passed_over(name, content, message):
    write(name, content)
    with pytest.raises(DataError, match=rf"^{name.replace('.', '[.]')}.*{message}"):
        read(name, on_error=[])


@pytest.mark.parametrize("name", ["outptus.jsonl", "outptus.parquet"])
def test_a_missing_file_is_named_with_the_nearest_one(name):
    write(name.replace("outptus", "outputs"), b"")
    with pytest.raises(DataError, match=r"there is no such file\. Did you mean outputs"):
        read(name)


def test_an_empty_file_has_no_rows():
    assert read(write("rows.jsonl", b""))[1] == read(write("rows.csv", b""))[1] == []


def write_data_set():
    """Write a dataset with two subsets, one with two splits, as the hub could hold it."""
    configs = (
        "- config_name: main\n  data_files:\n"
        "  - {split: train, path: a.jsonl}\n  - {split: test, path: b.jsonl}\n"
    )
    configs += "- config_name: small\n  data_files: b.jsonl\n"
    local_path("data").mkdir()
    write("data/README.md", f"---\nconfigs:\n{configs}---\n".encode())
    write("data/a.jsonl", lines(ROWS))
    write("data/b.jsonl", lines(ROWS[1:]))


def test_a_data_set_is_read_by_subset_and_split():
    write_data_set()
    assert read("hub:data:main/train") == (
        ["hub:data:main/train: row 1", "hub:data:main/train: row 2"],
        ROWS,
    )
    assert read("hub:data:small/train")[1] == ROWS[1:]
    assert read("hub:data:small/")[1] == ROWS[1:], "there is one split only"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hub:data:main/", "has the splits train, test. Say which one: hub:data:main/train"),
        ("hub:data:main/dev", "cannot be loaded: .*dev.* Allowed: hub:owner/name, "),
        ("hub:data", "cannot be loaded: .* Allowed: hub:owner/name, "),
    ],
)
def test_a_wrong_name_of_a_data_set_says_what_is_allowed(name, message):
    write_data_set()
    with pytest.raises(DataError, match=message):
        read(name)


def test_a_name_means_the_same_from_any_folder(tmp_path):
    write_data_set()
    assert make_absolute("rows.csv") == (tmp_path / "rows.csv").as_posix()
    assert make_absolute("hub:data:main/test") == f"hub:{(tmp_path / 'data').as_posix()}:main/test"
    assert make_absolute("hub:owner/name:test") == "hub:owner/name:test"
    assert local_path("hub:owner/name") is None


def test_a_few_bad_rows_are_told_in_full():
    errors = [DataError(f"a.csv:{number}: bad") for number in range(7)]
    assert describe_bad_rows(errors[:1]) == "1 row left out:\n  a.csv:0: bad"
    assert describe_bad_rows(errors).startswith(
        "7 rows left out:\n  a.csv:0: bad\n"
    ) and describe_bad_rows(errors).endswith("and 2 more")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.csv", b"id;text\na;x, y\nb;z\n"),
        ("rows.csv", b"id\ttext\na\tx, y\nb\tz\n"),
        ("rows.tsv", b"id\ttext\na\tx, y\nb\tz\n"),
        ("rows.csv", 'id,text\na,"x, y"\nb,z\n'.encode("utf-16")),
        ("rows.json", b'[{"id": "a", "text": "x, y"},\n {"id": "b", "text": "z"}]'),
        ("rows.ndjson", b'{"id": "a", "text": "x, y"}\n{"id": "b", "text": "z"}\n'),
        (
            "rows.json",
            b'{"version": 1, "samples": [{"id": "a", "text": "x, y"}, {"id": "b", "text": "z"}]}',
        ),
    ],
)
def test_other_forms_of_a_table_are_read(name, content):
    write(name, content)
    assert read(name)[1] == [{"id": "a", "text": "x, y"}, {"id": "b", "text": "z"}]


def test_the_first_sheet_of_a_workbook_is_read():
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["id", "gold", "when"], [1, 42, datetime.date(2026, 8, 1)], [], [2, None, None]):
        book.active.append(row)
    book.save("rows.xlsx")
    places, rows = read("rows.xlsx")
    assert places == ["rows.xlsx:2", "rows.xlsx:4"]
    assert rows[0]["gold"] == 42 and rows[0]["when"].startswith("2026-08-01")
    assert rows[1] == {"id": 2, "gold": None, "when": None}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (rb'{"answer": "\frac{1}{2}"}', "must be doubled"),
        (rb'{"output": ["So \boxed{2}"]}', "must be doubled"),
        (b'{"answer": 41, "answer": 42}', "the key 'answer' comes twice"),
    ],
)
def test_a_json_row_that_is_unclear_is_a_bad_row(line, message):
    bad = []
    write("rows.jsonl", line + b"\n" + lines(ROWS))
    assert read("rows.jsonl", bad)[1] == ROWS
    assert len(bad) == 1 and message in str(bad[0])


def test_latex_that_is_written_well_and_a_page_break_are_fine():
    rows = [{"answer": r"\frac{1}{2}"}, {"answer": "one\fand two"}]
    write("rows.jsonl", lines(rows))
    assert read("rows.jsonl")[1] == rows


def test_bytes_of_a_parquet_file_are_text():
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{"a": b"42"}]), "rows.parquet")
    assert read("rows.parquet")[1] == [{"a": "42"}]
