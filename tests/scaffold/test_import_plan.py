import json
from pathlib import Path

import pytest
import yaml

from realm.config.root import load_config
from realm.core.errors import ConfigError, DataError
from realm.scaffold.columns import ImportOptions
from realm.scaffold.import_plan import default_folder, plan_import, write_config

ROW = {"question": "1 + 1?", "answer": "2", "outputs": ["2"]}


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(name, row=ROW):
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text(json.dumps(row) + "\n")
    return name


def plan(*files, **options):
    return plan_import(files, ImportOptions(**options), Path("runs/x"))


def sources(plan):
    return [file.get("source") for file in plan.settings["routes"]["files"]]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (ROW, ("question", "answer", "outputs")),
        (
            {"Problem": "?", "prompt": "...", "gold": "", "completion": ""},
            ("Problem", "gold", "completion"),
        ),
        (
            {"prompt": "?", "solution": "", "assistant_answer": ""},
            ("prompt", "solution", "assistant_answer"),
        ),
        (
            {"problem": "?", "solution": "", "answer": "", "response": ""},
            ("problem", "answer", "response"),
        ),
        ({"messages": [], "gold": ""}, ("messages", "gold", "messages")),
        ({"prompt": [], "messages": [], "gold": ""}, ("prompt", "gold", "messages")),
    ],
)
def test_columns_are_taken_by_their_usual_names(row, expected):
    made = plan(write("a.jsonl", row))
    columns = made.settings["domain"]["columns"] | made.settings["routes"]["columns"]
    assert (columns["question"], columns["answer"], columns["outputs"]) == expected
    assert made.summary.startswith(
        f"question {expected[0]!r}, answer {expected[1]!r}, outputs {expected[2]!r}; "
    )


@pytest.mark.parametrize(
    ("row", "options", "message"),
    [
        (
            {"q": "", "answer": "", "output": ""},
            {},
            r"a.jsonl: no column has a usual name for the question.*Found: q, answer, output",
        ),
        (
            ROW | {"problem": ""},
            {},
            r"a.jsonl: question and problem may both be the question. Name one: --question q",
        ),
        (
            ROW,
            {"outputs": "texts"},
            r"a.jsonl: there is no column 'texts', which --outputs names. "
            r"Found: question, answer, outputs",
        ),
        (ROW, {"source": "model"}, r"a.jsonl: there is no column 'model', which --source names"),
    ],
)
def test_a_column_that_cannot_be_told_lists_those_there_are(row, options, message):
    with pytest.raises(DataError, match=message):
        plan(write("a.jsonl", row), **options)


def test_files_with_columns_of_other_names_each_keep_their_own():
    other = {"problem": "?", "gold": "2", "completion": "2"}
    made = plan(write("a.jsonl"), write("b.jsonl", other), kind="number")
    path, files = made.settings["domain"]["path"], made.settings["routes"]["files"]
    assert [one["columns"]["answer"] for one in path] == ["answer", "gold"]
    assert [one["columns"]["outputs"] for one in files] == ["outputs", "completion"]
    assert "columns" not in made.settings["domain"] | made.settings["routes"]
    assert made.summary.startswith("a.jsonl: question 'question', answer 'answer', outputs")
    # A name that is asked for holds where the file has it.
    made = plan("a.jsonl", "b.jsonl", question="problem")
    columns = [one["columns"]["question"] for one in made.settings["domain"]["path"]]
    assert columns == ["question", "problem"]


def test_every_file_needs_a_column_for_the_outputs():
    with pytest.raises(DataError, match=r"b.jsonl: no column has a usual name for the outputs"):
        plan(write("a.jsonl"), write("b.jsonl", {"question": "", "answer": "", "text": ""}))


def test_sources_are_named_by_hand_by_a_column_or_by_what_tells_the_files_names_apart():
    names = [write("wtq_gpt4o_5ans.jsonl"), write("wtq_llama3-8b_5ans.jsonl")]
    assert sources(plan(*names)) == ["gpt4o", "llama3-8b"]
    assert sources(plan(f"GPT={names[0]}", names[1])) == ["GPT", "llama3-8b"]
    assert sources(plan(names[0])) == ["wtq_gpt4o_5ans"]
    made = plan(write("m.jsonl", ROW | {"model": "x"}), source="model")
    assert sources(made) == [None] and made.settings["routes"]["columns"]["source"] == "model"


def test_two_files_of_one_name_are_no_one_source():
    with pytest.raises(
        ConfigError, match=r"two files are called 'outputs'.*gpt-4o=a/outputs.jsonl"
    ):
        plan(write("a/outputs.jsonl"), write("b/outputs.jsonl"))
    assert sources(plan("m=a/outputs.jsonl", "m=b/outputs.jsonl")) == ["m", "m"], (
        "two parts of one source"
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", None, "a.jsonl: there is no such file"),
        ("a.jsonl", "", "a.jsonl: holds no rows"),
        ("a.jsonl", "{torn", "a.jsonl:1: not valid JSON"),
        (
            "a.yaml",
            "model: null",
            r"a.yaml: is a config. `realm routes a.yaml` imports its routes",
        ),
    ],
)
def test_a_file_that_holds_nothing_to_import_is_named(name, content, message):
    if content is not None:
        Path(name).write_text(content)
    with pytest.raises((DataError, ConfigError), match=message):
        plan(name)


def test_the_config_loads_and_means_the_same_from_any_folder(tmp_path, monkeypatch):
    made = plan(write("a.jsonl"), id="{question}", kind="number", strict=True)
    assert write_config(made, Path("runs/x/config.yaml"), force=False) is True
    monkeypatch.chdir("/")
    config = load_config(tmp_path / "runs/x/config.yaml")
    assert (
        config.resolve(config.domain.paths[0])
        == config.resolve(config.routes.files[0].path)
        == tmp_path / "a.jsonl"
    )
    assert config.run_folder() == tmp_path / "runs/x"
    assert (
        config.model is None
        and config.domain.answer.kind == "number"
        and config.domain.strict
        and config.routes.strict
    )
    assert config.domain.columns.id == config.routes.columns.id == "{question}"


def test_a_config_that_says_something_else_is_kept_unless_forced():
    path, made = Path("runs/x/config.yaml"), plan(write("a.jsonl"))
    write_config(made, path, force=False)
    assert write_config(made, path, force=False) is False
    path.write_text(path.read_text().replace("model: null", "model: mine"))
    with pytest.raises(
        ConfigError,
        match=r"config.yaml: exists and says something else.*--force overwrites it",
    ):
        write_config(made, path, force=False)
    write_config(made, path, force=True)
    assert yaml.safe_load(path.read_text())["model"] is None


@pytest.mark.parametrize(
    ("files", "folder"),
    [
        (["a/outputs.jsonl.gz"], "runs/outputs"),
        (["x=a/wtq_one.csv", "wtq_two.csv"], "runs/wtq"),
        (["one.csv", "two.csv"], "runs/one"),
        (["hub:owner/name:test"], "runs/name"),
        (["./...jsonl"], "runs/import"),
    ],
)
def test_the_run_folder_is_called_like_the_files(files, folder):
    assert default_folder(files) == Path(folder)


def test_a_column_may_be_a_path_or_several():
    row = {"input": {"question": "?"}, "gold": "2", "a": "x", "b": "y"}
    made = plan(write("a.jsonl", row), question="input.question", outputs="a, b")
    assert made.settings["routes"]["columns"]["outputs"] == ["a", "b"]
    assert sources(made) == [None]
    with pytest.raises(
        DataError, match=r"there is no column 'input\.text', which --question names"
    ):
        plan("a.jsonl", question="input.text", outputs="a")
    with pytest.raises(DataError, match="there is no column 'c', which --outputs names"):
        plan("a.jsonl", question="input.question", outputs="a,c")


def test_a_column_whose_name_has_a_comma_is_one_column():
    made = plan(write("a.jsonl", {"question": "?", "answer": "2", "a,b": "x"}), outputs="a,b")
    assert made.settings["routes"]["columns"]["outputs"] == "a,b"


def test_a_column_whose_header_begins_or_ends_with_a_space_is_named_as_it_is():
    Path("a.csv").write_text("question , gold, first, second\n1 + 1?,2,2,3\n")
    named = {"question": "question ", "answer": " gold", "outputs": " first, second"}
    made = plan("a.csv", **named)
    columns = made.settings["domain"]["columns"] | made.settings["routes"]["columns"]
    found = [columns[role] for role in ("question", "answer", "outputs")]
    assert found == ["question ", " gold", [" first", " second"]]
