import gzip
import json

import pytest

from realm.core.errors import ConfigError, DataError
from realm.domains.files import FilesDomain, draw_split
from realm.domains.files import FilesSettings as Settings

ROWS = [
    {"id": str(number), "question": f"What is {number} + 1?", "answer": str(number + 1)}
    for number in range(40)
]


def write_rows(path, rows):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def load(path, **settings):
    paths = [str(one) for one in path] if isinstance(path, list) else str(path)
    return FilesDomain(Settings(kind="files", path=paths, **settings)).problems(seed=7)


def test_json_lines_csv_and_their_gz_hold_the_same_problems(tmp_path):
    csv = tmp_path / "a.csv"
    csv.write_text(
        "id,question,answer\n"
        + "".join(f"{row['id']},{row['question']},{row['answer']}\n" for row in ROWS)
    )
    packed = tmp_path / "b.csv.gz"
    packed.write_bytes(gzip.compress(csv.read_bytes()))
    files = [
        write_rows(tmp_path / "c.jsonl", ROWS),
        write_rows(tmp_path / "d.jsonl.gz", ROWS),
        csv,
        packed,
    ]
    loaded = [load(file, answer="number") for file in files]
    assert all(problems == loaded[0] for problems in loaded) and len(loaded[0]) == 40


def test_columns_templates_and_choices_make_the_question(tmp_path):
    row = {
        "key": 3,
        "ask": "Which {one}?",
        "table": "a,b\n1,2",
        "gold": "b",
        "options": "a | b",
        "part": "test",
    }
    [problem] = load(
        write_rows(tmp_path / "a.jsonl", [row]),
        columns={
            "id": "key",
            "question": "ask",
            "answer": "gold",
            "choices": "options",
            "split": "part",
        },
        question_template="{table}\n{ask}",
        answer="label",
    )
    assert (problem.id, problem.split, problem.answer, problem.choices) == (
        "3",
        "test",
        "b",
        ["a", "b"],
    )
    assert problem.question == "a,b\n1,2\nWhich {one}?\nOne of: a, b"
    assert problem.meta == {"question": "Which {one}?"}


def test_splits_are_drawn_by_seed_and_id_alone():
    shares = {"train": 0.6, "validation": 0.1, "test": 0.3}
    drawn = [draw_split(str(number), shares, 7) for number in range(2000)]
    assert drawn[:50] == [draw_split(str(number), shares, 7) for number in range(50)]
    assert drawn != [draw_split(str(number), shares, 8) for number in range(2000)]
    assert (
        0.56 < drawn.count("train") / 2000 < 0.64 and 0.08 < drawn.count("validation") / 2000 < 0.12
    )


def test_a_problem_that_several_files_hold_comes_once(tmp_path):
    files = [write_rows(tmp_path / f"{name}.jsonl", ROWS) for name in "abc"]
    assert load(files) == load(files[0])


def test_without_an_id_the_hash_of_the_question_or_of_a_template_is_the_id(tmp_path):
    rows = [
        {"table": "t1", "question": "Who won?", "answer": "Bo"},
        {"table": "t2", "question": "Who won?", "answer": "Ann"},
    ]
    file = write_rows(tmp_path / "a.jsonl", rows)
    assert len({problem.id for problem in load(file, columns={"id": "{table} {question}"})}) == 2
    with pytest.raises(
        DataError,
        match=r"a\.jsonl:2: the problem '\w{12}' is also at .*a\.jsonl:1, with another answer",
    ):
        load(file, columns={"id": None})


@pytest.mark.parametrize(
    ("rows", "settings", "message"),
    [
        pytest.param(
            [{"id": 1, "question": "q"}],
            {},
            r"jsonl:1: there is no column 'answer', .*Found: id, q",
            id="no column",
        ),
        pytest.param(
            [{"id": 1, "question": " ", "answer": 1}],
            {},
            r"a.jsonl:1: the question is empty",
            id="no question",
        ),
        pytest.param(
            [ROWS[0] | {"answer": "x"}],
            {"answer": "number"},
            r"answer 'x' is no number",
            id="no number",
        ),
        pytest.param([ROWS[0] | {"answer": None}], {}, r"answer None is no text", id="no answer"),
        pytest.param(
            [ROWS[0] | {"id": None}],
            {},
            r"column 'id', which domain.columns.id names, is empty",
            id="no id",
        ),
        pytest.param(
            [ROWS[0] | {"s": "dev"}],
            {"columns": {"split": "s"}},
            r"'dev'. Allowed: train, validation, ",
            id="split",
        ),
        pytest.param(
            ROWS[:1],
            {"question_template": "{tabel}"},
            r"no column 'tabel', which domain.q",
            id="template",
        ),
        pytest.param(
            [ROWS[0] | {"image": "chart.png"}],
            {"question_template": "{question}"},
            r"jsonl:1: column 'image' holds an image\. Models are trained and asked on text alone",
            id="an image",
        ),
        pytest.param(
            [
                ROWS[0]
                | {
                    "question": [
                        {
                            "role": "user",
                            "content": [
                                {"type": "image_url", "image_url": {"url": "chart.png"}},
                                {"type": "text", "text": "How many?"},
                            ],
                        }
                    ]
                }
            ],
            {},
            r"jsonl:1: column 'question' holds a message with an image",
            id="an image in a chat",
        ),
    ],
)
def test_a_row_that_cannot_be_used_is_named_by_file_and_line(tmp_path, rows, settings, message):
    with pytest.raises(DataError, match=message):
        load(write_rows(tmp_path / "a.jsonl", rows), **settings)


def test_a_column_of_images_may_be_empty_or_a_text_that_the_question_shows(tmp_path):
    [empty] = load(write_rows(tmp_path / "a.jsonl", [ROWS[0] | {"image": None}]))
    shown = write_rows(tmp_path / "b.jsonl", [ROWS[0] | {"image": "a red square"}])
    [told] = load(shown, question_template="{image}: {question}")
    assert empty.question == "What is 0 + 1?" and told.question == "a red square: What is 0 + 1?"


def test_a_problem_that_two_rows_tell_differently_is_left_out_where_bad_rows_are(tmp_path):
    rows = [
        *ROWS[:3],
        ROWS[1] | {"answer": "9"},
        ROWS[2] | {"question": "And 2?"},
        {"id": "x"},
        ROWS[0] | {"answer": "1.0"},
    ]
    path = str(write_rows(tmp_path / "a.jsonl", rows))
    domain = FilesDomain(Settings(kind="files", path=path, answer="number", strict=False))
    assert [problem.id for problem in domain.problems(7)] == ["0"]
    reasons = [str(error).partition("a.jsonl:")[2].partition(". ")[0] for error in domain.bad_rows]
    assert reasons == [
        f"4: the problem '1' is also at {tmp_path / 'a.jsonl'}:2, with another answer",
        f"5: the problem '2' is also at {tmp_path / 'a.jsonl'}:3, with another question",
        "6: there is no column 'question', which domain.columns.question names",
    ]


def test_a_column_that_is_not_there_brings_the_nearest_name(tmp_path):
    path = write_rows(tmp_path / "a.jsonl", [{"id": "0", "Question ": "1 + 1?", "answer": "2"}])
    with pytest.raises(DataError, match=r"Found: id, Question , answer\. Did you mean 'Question '"):
        load(path)


def test_a_cell_may_hold_a_set_as_json_or_between_bars(tmp_path):
    (tmp_path / "a.csv").write_text(
        'id,question,answer\n1,q 1,"[""Ann"", ""Bo""]"\n2,q 2,Ann | Bo\n3,q 3,Ann\n'
    )
    assert [problem.answer for problem in load(tmp_path / "a.csv", answer="set")] == [
        ["Ann", "Bo"],
        ["Ann", "Bo"],
        ["Ann"],
    ]


def test_a_column_with_a_space_may_stand_in_a_template(tmp_path):
    rows = [{"table name": name, "question": "Who won?", "answer": "Bo"} for name in ("t1", "t2")]
    file = write_rows(tmp_path / "a.jsonl", rows)
    assert len(load(file, columns={"id": "{table name} {question}"})) == 2


def test_a_malformed_line_is_named_by_file_and_line(tmp_path):
    file = write_rows(tmp_path / "a.jsonl", ROWS[:2])
    file.write_text(file.read_text() + '{"id": "3", \n')
    with pytest.raises(DataError, match=r"a\.jsonl:3: not valid JSON"):
        load(file)


def test_the_rule_book_is_optional_but_must_be_there_when_named(tmp_path):
    (tmp_path / "rules.md").write_text("1. No refunds.\n")
    settings = {"kind": "files", "path": "a.jsonl"}
    assert FilesDomain(Settings(**settings)).rules is None
    assert (
        FilesDomain(Settings(**settings, rules="rules.md"), lambda path: tmp_path / path).rules
        == "1. No refunds.\n"
    )
    with pytest.raises(
        ConfigError, match=r"other\.md: the rule book \(domain\.rules\) cannot be read"
    ):
        FilesDomain(Settings(**settings, rules="other.md"), lambda path: tmp_path / path)


def test_a_gold_letter_of_a_choice_shows_the_letters_and_may_be_answered_by_the_text(tmp_path):
    row = {"id": 1, "question": "Which?", "answer": "B", "options": ["red", "blue"]}
    path = write_rows(tmp_path / "a.jsonl", [row])
    domain = FilesDomain(
        Settings(kind="files", path=str(path), columns={"choices": "options"}, answer="label")
    )
    [problem] = domain.problems(seed=7)
    assert problem.question == "Which?\nOne of: (A) red, (B) blue" and problem.answer == [
        "B",
        "blue",
    ]
    assert domain.verifier.same_all(
        [("(b)", problem.answer), ("blue", problem.answer), ("red", problem.answer)]
    ) == [True, True, False]
    assert domain.verifier.render(problem.answer) == "B"


def test_a_file_that_is_named_twice_is_refused():
    with pytest.raises(ValueError, match=r"path names 'a\.csv' more than once"):
        Settings(kind="files", path=["a.csv", "b.csv", "a.csv"])


@pytest.mark.parametrize(
    ("kind", "gold", "answer"),
    [
        ("number", "16 - 7 = <<16-7=9>>9 eggs.\n9 * 2 = 18 dollars.\n#### 18", "18"),
        ("number", "9 * 2 = $<<9*2=18>>18 every day.\nA: 18", "18"),
        ("math", r"Therefore the point is $\boxed{\left( 3, \frac{\pi}{2} \right)}.$", None),
        ("text", r"So it is \boxed{Bo}", "Bo"),
        ("label", "A: cheap", "A: cheap"),
        ("number", 42.0, 42),
    ],
)
def test_a_worked_solution_is_reduced_to_its_answer(tmp_path, kind, gold, answer):
    path = write_rows(tmp_path / "a.jsonl", [{"id": 1, "question": "?", "answer": gold}])
    [problem] = load(path, answer=kind)
    assert problem.answer == (answer or r"\left( 3, \frac{\pi}{2} \right)")
