"""`realm import` of what other tools write: each log here has the fields of the real one."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from realm.cli import app
from realm.core.jsonl import read_jsonl

QUESTION = "What is 6*7?"
RIGHT, WRONG = "6 rows of 7 are 42. The answer is 42.", "The answer is 13."
FOUND = [(RIGHT, True), (WRONG, False)]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def bring_in(*arguments, fails=False):
    """Return (source, question, text, correct) of each route and what the command said."""
    command = ["import", *map(str, arguments), "--kind", "number", "--run", "run"]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == (2 if fails else 0), result.output
    if fails:
        return [], result.output
    problems = {one["id"]: one["question"] for one in read_jsonl(Path("run/problems.jsonl"))}
    routes = [
        (one["source"], problems[one["problem_id"]], one["text"], one["correct"])
        for one in read_jsonl(Path("run/routes.jsonl"))
    ]
    return routes, result.output


def write(name, rows):
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return name


def harness_row(**fields):
    return {
        "doc_id": 0, "doc": {"question": QUESTION, "answer": "6*7=<<6*7=42>>42\n#### 42"},
        "target": "6*7=<<6*7=42>>42\n#### 42",
        "arguments": {"gen_args_0": {"arg_0": f"Question: {QUESTION}\nAnswer:", "arg_1": {}}},
        "resps": [[RIGHT, WRONG]], "filtered_resps": ["42"], "doc_hash": "d", "exact_match": 1.0,
        **fields,
    }  # fmt: skip


def test_samples_of_lm_evaluation_harness():
    # Each way to filter the outputs repeats the row.
    rows = [harness_row(filter="strict-match"), harness_row(filter="flexible-extract")]
    routes, _ = bring_in(f"llama={write('samples_gsm8k_2026-11-01.jsonl', rows)}")
    assert routes == [("llama", QUESTION, *found) for found in FOUND]


def test_samples_of_lm_evaluation_harness_without_texts_are_refused():
    rows = [harness_row(resps=[[["-1.5", "False"]], [["-0.5", "True"]]])]
    _, said = bring_in(write("samples_arc.jsonl", rows), fails=True)
    assert "column 'resps' holds list" in said and "Allowed: a text, null, or a list" in said


def inspect_sample(number, text, **choice):
    content = [{"type": "reasoning", "reasoning": "Six sevens."}, {"type": "text", "text": text}]
    message = {"role": "assistant", "content": content, "source": "generate"}
    return {
        "id": 1, "epoch": number, "input": [{"role": "user", "content": QUESTION}],
        "target": "42", "messages": [], "scores": {"match": {"value": "C"}},
        "output": {
            "model": "openai/gpt-4o", "completion": text,
            "choices": [{"message": message, "stop_reason": "stop", **choice}],
        },
    }  # fmt: skip


def test_a_log_of_inspect_ai():
    samples = [
        inspect_sample(1, RIGHT),
        inspect_sample(2, WRONG),
        inspect_sample(3, "The answer is 42", stop_reason="max_tokens"),
    ]
    log = {"version": 2, "status": "success", "eval": {"model": "openai/gpt-4o"}}
    log |= {"samples": samples, "reductions": [{"scorer": "match", "samples": []}]}
    Path("log.json").write_text(json.dumps(log))
    routes, _ = bring_in("log.json")
    assert routes == [
        ("openai/gpt-4o", QUESTION, f"Six sevens.\n\n{text}", right)
        for text, right in [*FOUND, ("The answer is 42", False)]  # it was cut: it may go on
    ]


def test_a_packed_log_of_inspect_ai_names_the_command_that_converts_it():
    Path("log.eval").write_bytes(b"PK")
    _, said = bring_in("log.eval", fails=True)
    assert "log.eval: is a packed log of inspect_ai. Convert it" in said
    assert "inspect log convert log.eval --to json" in said


def batch_row(number, text, **fields):
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = {"model": "gpt-4o-2024-08-06", "choices": [choice], "usage": {}}
    response = {"status_code": 200, "request_id": "r", "body": body}
    row = {"id": f"batch_{number}", "custom_id": f"p{number}", "response": response, "error": None}
    return row | fields


def test_outputs_of_a_batch_find_their_problems_in_a_file_of_their_own():
    problems = write("p.jsonl", [{"id": "p1", "question": QUESTION, "answer": 42}])
    failed = {"response": None, "error": {"code": "batch_expired", "message": "too late"}}
    rows = [batch_row(1, RIGHT, **failed), batch_row(1, RIGHT), batch_row(1, WRONG)]
    command = [write("out.jsonl", rows), "--problems", problems, "--id", "id"]
    routes, said = bring_in(*command)
    assert routes == [("gpt-4o-2024-08-06", QUESTION, *found) for found in FOUND]
    assert "1 row left out" in said and "out.jsonl:1" in said
    assert "question" in bring_in(*command[:3], "--force", fails=True)[1]


def test_problems_of_verl_and_the_outputs_to_them():
    from pyarrow import Table, parquet

    row = {
        "data_source": "sums", "ability": "math", "extra_info": {"index": 0},
        "prompt": [{"role": "user", "content": QUESTION}],
        "reward_model": {"style": "rule", "ground_truth": "42"},
    }  # fmt: skip
    parquet.write_table(Table.from_pylist([row]), "train.parquet")
    parquet.write_table(Table.from_pylist([row | {"responses": [RIGHT, WRONG]}]), "gen.parquet")
    routes, _ = bring_in("qwen=gen.parquet")
    assert routes == [("qwen", QUESTION, *found) for found in FOUND]
    rows = [{"question": QUESTION, "output": text} for text in (RIGHT, WRONG)]
    command = [f"qwen={write('o.jsonl', rows)}", "--problems", "train.parquet", "--force"]
    assert bring_in(*command)[0] == routes


def test_a_row_with_the_id_of_a_problem_and_another_question_is_reported():
    problems = write("p.jsonl", [{"id": "p1", "question": QUESTION, "answer": 42}])
    rows = [{"id": "p1", "question": text, "output": RIGHT} for text in (QUESTION, "What is 5*5?")]
    routes, said = bring_in(write("o.jsonl", rows), "--problems", problems, "--id", "id")
    assert routes == [("o", QUESTION, RIGHT, True)]
    assert "o.jsonl:2: the problem 'p1' has another question here: 'What is 5*5?'" in said
