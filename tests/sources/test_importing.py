import gzip
import json

import pytest

from realm.config.root import ImportedRoutes
from realm.core.errors import DataError
from realm.domains.files import FilesDomain
from realm.domains.files import FilesSettings as Settings
from realm.sources.importing import import_outputs
from realm.verify.verifier import Verifier

ROWS = [
    {
        "id": "a",
        "question": "What is 1 + 1?",
        "answer": "2",
        "outputs": ["The answer is 2.", "The answer is 3.", None, ""],
    },
    {
        "id": "b",
        "question": "What is 2 + 2?",
        "answer": "4",
        "outputs": ["I do not know what to say, or how."],
    },
]


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def bring_in(problem_file, route_files, **settings):
    domain = FilesDomain(Settings(kind="files", path=str(problem_file), answer="number"))
    files = {
        "files": [{"path": str(path), "source": source} for source, path in route_files.items()]
    }
    return import_outputs(
        domain.problems(7), domain, ImportedRoutes(kind="import", **files | settings)
    )


def test_every_output_becomes_a_labelled_route_and_one_that_says_nothing_has_no_answer(tmp_path):
    file = write_rows(tmp_path / "a.jsonl", ROWS)
    found = bring_in(file, {"m": file})
    assert [(r.problem_id, r.source, r.answer, r.correct, r.guided) for r in found.routes] == [
        ("a", "m", 2, True, False),
        ("a", "m", 3, False, False),
        ("a", "m", None, False, False),
        ("a", "m", None, False, False),
        ("b", "m", None, False, False),
    ]
    assert found.bad == found.unmatched == []
    assert found.describe_result() == "5 routes of 1 source"


def test_files_of_several_sources_meet_in_one_problem_set(tmp_path):
    first, second = write_rows(tmp_path / "a.jsonl", ROWS), tmp_path / "b.jsonl.gz"
    second.write_bytes(gzip.compress(first.read_bytes()))
    found = bring_in(first, {"m": first, "n": second}, held_out=["n"])
    assert [sum(route.source == source for route in found.routes) for source in "mn"] == [5, 5]


def test_bad_rows_are_reported_by_file_and_line_and_the_good_ones_are_kept(tmp_path):
    problems = write_rows(tmp_path / "p.jsonl", ROWS)
    rows = [
        ROWS[0],
        {"id": "b"},
        {"id": "b", "outputs": [{}]},
        {"id": "z", "outputs": "The answer is 4."},
    ]
    routes = write_rows(tmp_path / "r.jsonl", rows)
    routes.write_text(routes.read_text() + "[]\n{torn\n")
    found = bring_in(problems, {"m": routes})
    assert len(found.routes) == 4
    assert [str(error).partition("r.jsonl:")[2][:1] for error in found.bad] == ["2", "3", "5", "6"]
    assert found.unmatched == [f"{routes}:4"]
    assert (
        "4 rows left out" in found.describe_result()
        and "1 row is of no problem in the set" in found.describe_result()
    )
    with pytest.raises(DataError, match=r"r\.jsonl:2: there is no column 'outputs'"):
        bring_in(problems, {"m": routes}, strict=True)


def test_routes_find_their_problem_by_the_text_of_the_question(tmp_path):
    problems = write_rows(tmp_path / "p.jsonl", ROWS)
    rows = [
        {"prompt": row["question"].replace(" ", "  "), "outputs": "The answer is 4."}
        for row in ROWS
    ]
    found = bring_in(
        problems,
        {"m": write_rows(tmp_path / "r.jsonl", rows)},
        columns={"id": None, "question": "prompt"},
    )
    assert [(route.problem_id, route.correct) for route in found.routes] == [
        ("a", False),
        ("b", True),
    ]


def test_a_csv_cell_may_hold_a_json_list(tmp_path):
    problems, routes = write_rows(tmp_path / "p.jsonl", ROWS), tmp_path / "r.csv"
    routes.write_text('id,outputs\na,"[""The answer is 2."", null, 3]"\nb,[the answer is 4]\n')
    found = bring_in(problems, {"m": routes})
    assert [(route.text, route.correct) for route in found.routes] == [
        ("The answer is 2.", True), ("", False), ("3", False), ("[the answer is 4]", True),
    ]  # fmt: skip


def test_a_text_that_looks_like_a_list_stays_a_text_where_lists_are_written_as_lists(tmp_path):
    problems = write_rows(tmp_path / "p.jsonl", ROWS)
    found = bring_in(
        problems, {"m": write_rows(tmp_path / "r.jsonl", [{"id": "a", "outputs": '["1", "2"]'}])}
    )
    assert [route.text for route in found.routes] == ['["1", "2"]']


def test_a_table_with_one_output_a_row_names_the_sources_in_a_column(tmp_path):
    problems, routes = write_rows(tmp_path / "p.jsonl", ROWS), tmp_path / "r.csv"
    routes.write_text(
        "id,who,text\na,m,The answer is 2.\na,n,The answer is 3.\n"
        "a,m,So the answer is 2.\nb,m,\nb, ,4\n"
    )
    settings = {"files": [{"path": str(routes)}], "columns": {"outputs": "text", "source": "who"}}
    found = bring_in(problems, {}, **settings)
    assert [(route.problem_id, route.source, route.correct) for route in found.routes] == [
        ("a", "m", True), ("a", "n", False), ("a", "m", True), ("b", "m", False),
    ]  # fmt: skip
    assert [str(error).partition("r.csv:")[2][:18] for error in found.bad] == ["6: column 'who', w"]
    with pytest.raises(
        DataError, match=r"routes.held_out names 'o', who wrote none of the outputs. Found: m, n"
    ):
        bring_in(problems, {}, **settings, held_out=["o"])


def test_a_comparison_that_cannot_be_told_leaves_a_route_without_a_label(tmp_path, monkeypatch):
    monkeypatch.setattr(
        Verifier,
        "same_all",
        lambda _, pairs: [None if answer == 3 else True for answer, _ in pairs],
    )
    file = write_rows(tmp_path / "a.jsonl", ROWS)
    labels = [(route.answer, route.correct) for route in bring_in(file, {"m": file}).routes]
    assert labels == [(2, True), (3, None), (None, False), (None, False), (None, False)]


def test_a_long_output_is_labelled_by_the_whole_and_kept_by_its_end(tmp_path):
    text = "<answer>2</answer>" + " and so on" * 50
    problems = write_rows(tmp_path / "p.jsonl", ROWS)
    routes = write_rows(tmp_path / "r.jsonl", [{"id": "a", "outputs": text}])
    [route] = bring_in(problems, {"m": routes}, max_chars=40).routes
    assert (
        route.correct
        and route.text.startswith("... ")
        and text.endswith(route.text[4:])
        and len(route.text) <= 44
    )


def test_files_without_a_single_route_are_an_error_that_says_why(tmp_path):
    problems = write_rows(tmp_path / "p.jsonl", ROWS)
    other = write_rows(tmp_path / "r.jsonl", [{"id": "zz", "outputs": ["x"]}])
    with pytest.raises(
        DataError,
        match=r"r\.jsonl: no output could be used: the row at .*r\.jsonl:1 is of no problem",
    ):
        bring_in(problems, {"m": other})
    with pytest.raises(DataError, match=r"r\.jsonl:1: its problem is not in the problem set"):
        bring_in(problems, {"m": other}, strict=True)
    with pytest.raises(DataError, match=r"missing\.jsonl: there is no such file"):
        bring_in(problems, {"m": tmp_path / "missing.jsonl"})


def test_several_columns_are_several_sources(tmp_path):
    problems, routes = write_rows(tmp_path / "p.jsonl", ROWS), tmp_path / "r.tsv"
    routes.write_text("id\tgpt\tllama\na\tThe answer is 2.\tThe answer is 3.\n")
    settings = {"files": [{"path": str(routes)}], "columns": {"outputs": ["gpt", "llama"]}}
    found = bring_in(problems, {}, **settings)
    assert [(route.source, route.correct) for route in found.routes] == [
        ("gpt", True),
        ("llama", False),
    ]


def test_nested_outputs_and_chats_are_read(tmp_path):
    problems = write_rows(tmp_path / "p.jsonl", ROWS)
    chat = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "The answer is 2."}]
    rows = [{"id": "a", "choices": [{"message": {"content": "The answer is 2."}}], "chat": chat}]
    file = write_rows(tmp_path / "r.jsonl", rows)
    for column in ("choices[].message.content", "chat"):
        (route,) = bring_in(problems, {"m": file}, columns={"outputs": column}).routes
        assert route.correct and route.text == "The answer is 2."


def test_thoughts_in_parts_of_their_own_are_the_beginning_of_the_chain(tmp_path):
    problems = write_rows(tmp_path / "p.jsonl", ROWS)
    parts = [
        {"type": "thinking", "thinking": "Is it 3?"},
        {"type": "text", "text": "The answer is 2."},
    ]
    rows = [{"id": "a", "outputs": [{"role": "assistant", "content": parts}]}]
    (route,) = bring_in(problems, {"m": write_rows(tmp_path / "r.jsonl", rows)}).routes
    assert route.correct and route.text == "Is it 3?\n\nThe answer is 2."


def test_thoughts_state_no_answer(tmp_path):
    problems = write_rows(tmp_path / "p.jsonl", ROWS)
    outputs = ["<think>Is it 3?</think>The answer is 2.", "<think>The answer is 2.", "3?</think>2"]
    file = write_rows(tmp_path / "r.jsonl", [{"id": "a", "outputs": outputs}])
    routes = bring_in(problems, {"m": file}).routes
    assert [route.correct for route in routes] == [True, False, True]
    assert routes[0].text == "Is it 3?\n\nThe answer is 2."


def test_a_question_in_parts_and_a_chat_find_their_own_problem(tmp_path):
    questions = (["Ann has 2.", "How many?"], [{"role": "user", "content": "How many?"}])
    for question in questions:
        row = {"question": question, "answer": 2.0, "outputs": "The answer is 2."}
        file = write_rows(tmp_path / "r.jsonl", [row])
        columns = {"columns": {"id": None}}
        settings = Settings(kind="files", path=str(file), answer="text", **columns)
        domain = FilesDomain(settings)
        files = [{"path": str(file), "source": "m"}]
        imported = ImportedRoutes(kind="import", files=files, **columns)
        found = import_outputs(domain.problems(7), domain, imported)
        assert [route.correct for route in found.routes] == [True] and not found.unmatched


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"question": {"text": "?"}, "answer": "2"},
            "column 'question': holds an object with text",
        ),
        ({"question": "?", "answer": {"value": 2}}, r"Name a part of it, such as answer\.value"),
        ({"question": "?", "answer": ["Paris", "Lyon"]}, "holds a list of 2 answers"),
    ],
)
def test_a_cell_that_no_text_can_equal_is_named(tmp_path, row, message):
    file = write_rows(tmp_path / "p.jsonl", [row])
    settings = Settings(kind="files", path=str(file), answer="text", columns={"id": None})
    with pytest.raises(DataError, match=message):
        FilesDomain(settings).problems(7)
