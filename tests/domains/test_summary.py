"""What `realm data` prints about the problems."""

import pytest
from rich.cells import cell_len
from typer.testing import CliRunner

from realm.cli import app
from realm.core.jsonl import write_jsonl
from realm.core.records import Problem
from realm.domains.summary import WIDTH, summarize_problems
from realm.verify.verifier import Verifier


def make(split, answers, question="What is {}?"):
    return [
        Problem(id=f"{split}{place}", split=split, question=question.format(place), answer=answer)
        for place, answer in enumerate(answers)
    ]


def row_of(summary, title):
    """Return the cells of the row that begins with `title`."""
    (line,) = [line for line in summary.splitlines() if line.startswith(title)]
    return line[len(title) :].split()


def test_few_distinct_answers_are_classes_with_their_share_in_each_split():
    problems = [*make("train", ["yes", "yes", "yes", "no"]), *make("test", ["yes", "yes"], "Q {}")]
    summary = summarize_problems(problems, Verifier("label"))
    assert summary.splitlines()[0].split() == ["train", "test"]
    assert row_of(summary, "problems") == ["4", "2"]
    assert row_of(summary, "answer yes") == ["75%", "100%"]
    assert row_of(summary, "answer no") == ["25%", "-"]
    assert row_of(summary, "question characters, max") == ["10", "3"]
    assert "repeated" not in summary and "also in train" not in summary


def test_many_numbers_have_a_range_and_many_texts_a_length():
    numbers = summarize_problems(make("train", [*range(1, 40), 1000]), Verifier("number"))
    assert row_of(numbers, "answer, min") == ["1"]
    assert row_of(numbers, "answer, median") == ["20.5"]
    assert row_of(numbers, "answer, max") == ["1,000"]
    names = [f"name{'x' * place}" for place in range(20)]
    texts = summarize_problems(make("train", [*names, *["often"] * 20]), Verifier("text"))
    assert row_of(texts, "distinct answers") == ["21"]
    assert row_of(texts, "answer often") == ["50%"]
    assert row_of(texts, "answer characters, max") == ["23"]


def test_repeats_in_a_split_and_questions_of_train_in_another_split_are_counted():
    train = make("train", ["1", "1", "2"], "What is it?")
    test = make("test", ["1"], "what is  IT ?")
    summary = summarize_problems([*train, *test], Verifier("text"))
    assert "repeated in train: 2 (1 with another answer), such as train1 and train0" in summary
    assert "repeated in test" not in summary
    assert "also in train: 1 of other splits, such as test0 and train0" in summary
    other = summarize_problems([*train[2:], *test], Verifier("text"))
    assert "also in train" not in other, (
        "one question with two answers: something else tells them apart"
    )


def test_tokens_are_counted_if_there_is_a_tokenizer():
    problems = make("train", ["a", "b"], "one two {}")
    summary = summarize_problems(
        problems, Verifier("text"), lambda texts: [len(text.split()) for text in texts]
    )
    assert row_of(summary, "question tokens, max") == ["3"]


@pytest.mark.parametrize("text", ["x" * 500, "\x1b[2J\r" * 90, "漢字" * 90, "a\n\n\tb " * 90])
def test_no_line_is_wider_than_a_terminal_or_holds_what_it_obeys(text):
    splits = ("train", "validation", "test", "test_rules", "test_larger")
    problems = [one for split in splits for one in make(split, [text] * 3, text + "{}")]
    summary = summarize_problems(problems, Verifier("text"))
    assert max(map(cell_len, summary.splitlines())) <= WIDTH
    assert all(line.isprintable() for line in summary.splitlines())
    assert summary.count("    -> ") == 5


def test_samples_come_from_all_splits():
    problems = [*make("train", ["a"] * 90, "Q {}"), *make("validation", ["b"]), *make("test", "cd")]
    summary = summarize_problems(problems, Verifier("text"))
    lines = summary.splitlines()[-10::2]
    assert [line.split(":")[0] for line in lines] == [
        "train train0",
        "validation validation0",
        "test test0",
        "train train18",
        "test test1",
    ]


def test_the_verb_says_what_it_read_also_when_it_is_up_to_date(write_config, tmp_path):
    rows = [{"id": str(place), "question": f"{place}?", "answer": "x"} for place in range(30)]
    bad = {"id": "bad", "question": "", "answer": "x"}
    write_jsonl(tmp_path / "rows.jsonl", [*rows, rows[0], rows[1], bad])
    config = write_config(
        run=str(tmp_path / "run"),
        domain={"kind": "files", "path": "rows.jsonl", "strict": False},
        routes={"kind": "import", "files": [{"path": "answers.jsonl", "source": "someone"}]},
    )
    first, again = (CliRunner().invoke(app, ["data", str(config)]) for _ in range(2))
    for result in (first, again):
        assert result.exit_code == 0
        assert (
            "data     rows left out: 1\ndata     rows that repeat a problem: 2\n" in result.stdout
        )
        assert sum(map(int, row_of(result.stdout, "problems"))) == 30
    planned = CliRunner().invoke(app, ["data", str(config), "--dry-run"])
    assert "rows left out" not in planned.stdout
