"""The terminal of `realm review`: what each key does."""

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from realm.core.jsonl import read_jsonl
from realm.core.records import Judged, Problem, Route
from realm.domains.corrections import read_corrections
from realm.review.suspects import list_cases
from realm.review.terminal import Reviewer, read_gold, read_seen
from realm.sampling import Answer
from realm.verify.verifier import Verifier

PROBLEMS = [
    Problem(id=name, split="train", question=f"{name}?", answer=7) for name in ("a", "b", "c")
]
ROUTES = [
    Route(
        problem_id="a", source=f"s{place}", text=f"3 + {place}.\nSo it is.", answer=7, correct=True
    )
    for place in range(2)
]


def review(folder, keys, lines=(), problems=PROBLEMS, routes=ROUTES, answers=(), width=80):
    """Press keys, enter lines, and return what was printed; `keys` ends with Ctrl-D."""
    verifier, keys, lines = Verifier("number"), iter(keys), iter(lines)

    def read_key():
        key = next(keys, None)
        if key is None:
            raise EOFError
        return key

    console = Console(file=io.StringIO(), width=width)
    cases = list_cases(problems, routes, answers, verifier.render)
    Reviewer(folder, verifier, console, read_key, lambda prompt, text: next(lines)).review(cases)
    assert next(lines, None) is None
    return console.file.getvalue()


def kept(folder):
    found = read_corrections(folder / "corrections.jsonl")
    return [(one.problem_id, one.kind, one.value, one.flaw) for one in found]


def test_each_key_writes_the_correction_that_it_names(tmp_path):
    printed = review(tmp_path, "g1w2f\rx\rq", ["9", "by rule 4", "2"])
    assert kept(tmp_path) == [
        ("a", "gold", 9, None),
        ("a", "correct", False, None),
        ("a", "process", False, 2),
        ("b", "excluded", True, None),
    ]
    sources = [one.source for one in read_corrections(tmp_path / "corrections.jsonl")]
    assert sources == ["", "s0", "s1", ""]
    assert "kept: gold answer 9 (by rule 4)" in printed and "2 So it is." in printed
    assert read_seen(tmp_path) == {"a", "b"}, "the third one was left with q"


def test_right_and_sound_are_labels_and_any_other_key_only_goes_back(tmp_path):
    review(tmp_path, "1r2s1\r")
    assert kept(tmp_path) == [("a", "correct", True, None), ("a", "process", True, None)]


def test_what_was_corrected_can_be_undone_also_later(tmp_path):
    review(tmp_path, "1wx\r")
    assert len(kept(tmp_path)) == 2
    assert "corrected: left out" in review(tmp_path, "u")
    assert kept(tmp_path) == []


def test_a_gold_answer_that_no_completion_could_reach_is_not_kept(tmp_path):
    assert "'many' is no answer of kind number: not kept" in review(tmp_path, "g", ["many"])
    review(tmp_path, "gg", ["", "7"])
    assert not (tmp_path / "corrections.jsonl").exists()


def test_going_back_shows_the_problem_before_and_the_end_is_the_end(tmp_path):
    printed = review(tmp_path, "\rb\r\r\r")
    places = [line.split(" of")[0] for line in printed.splitlines() if " of 3  train" in line]
    assert places == ["1", "2", "1", "2", "3"]


def test_a_note_and_that_a_problem_was_seen_are_no_corrections(tmp_path):
    review(tmp_path, "n\r", ["odd"])
    assert read_jsonl(tmp_path / "reviewed.jsonl") == [
        {"problem_id": "a", "note": "odd"},
        {"problem_id": "a"},
    ]
    assert not (tmp_path / "corrections.jsonl").exists()


def test_of_more_than_nine_routes_the_number_is_a_line(tmp_path):
    routes = [
        Route(problem_id="a", source=f"s{place}", text="x", answer=7, correct=True)
        for place in range(1, 13)
    ]
    review(tmp_path, "1w1", ["12", "99"], routes=routes)
    assert [one.source for one in read_corrections(tmp_path / "corrections.jsonl")] == ["s12"]


def test_the_text_of_a_model_can_be_read_and_has_no_label_of_its_own(tmp_path):
    judged = Judged(text="<reason>\nadd\n</reason>\n[7]", answer=7, correct=True)
    row = {"split": "test", "problem_id": "a", "prompt": "", "prompt_tokens": 0, "judged": judged}
    answer = Answer(method="realm", mode="autonomous", **row)
    printed = review(tmp_path, "3w9", answers=[answer])
    assert "3 realm autonomous" in printed and "\nadd\n</reason>\n[7]\n" in printed
    assert not (tmp_path / "corrections.jsonl").exists()


@pytest.mark.parametrize("text", ["\x1b[2J\x1b]0;x\x07", "[red]x[/red]", "漢字" * 60, "w " * 200])
def test_hostile_and_long_texts_stay_texts_on_80_columns(tmp_path, text):
    one = Problem(id=f"a{text}", split="train", question=text, answer=7)
    routes = [Route(problem_id=one.id, source=text, text=text, answer=8, correct=False)]
    printed = review(tmp_path, "1w", problems=[one], routes=routes)
    assert "\x1b" not in printed and "\x07" not in printed
    assert max(map(cell_len, printed.splitlines())) <= 80
    if text.startswith("["):
        assert "[red]x[/red]" in printed


@pytest.mark.parametrize(
    ("kind", "old", "text", "expected"),
    [
        ("number", 7, "8", 8),
        ("number", "7", "8", "8"),
        ("number", 7, "1,250", "1,250"),
        ("set", ["a"], "b | c", ["b", "c"]),
        ("set", ["a"], '["b", "c"]', ["b", "c"]),
        ("label", ["A", "red"], "b", ["B", "blue"]),
        ("label", "red", "blue", "blue"),
        ("json", {"a": 1}, '{"a": 2}', {"a": 2}),
        ("json", {"a": 1}, "[2]", None),
        ("json", {"a": 1}, "no", None),
    ],
)
def test_an_entered_answer_is_read_as_its_kind_holds_it(kind, old, text, expected):
    one = Problem(id="p", split="train", question="?", answer=old, choices=["red", "blue"])
    assert read_gold(text, one, kind) == expected


def test_answers_that_a_domain_makes_itself_are_not_edited(tmp_path):
    made = Problem(id="a", split="train", question="?", answer={"task": "sum", "answer": "7"})
    assert "leave the problem out (x)" in review(tmp_path, "g", problems=[made], routes=[])
