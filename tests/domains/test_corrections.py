"""Corrections of a person: how the file is read, and what they change."""

import json
from dataclasses import replace

import pytest

from realm.core.errors import DataError
from realm.core.jsonl import read_jsonl
from realm.core.records import Problem, Route
from realm.domains.corrections import (
    Correction,
    add_correction,
    correct_problems,
    correct_routes,
    label_problem,
    label_route,
    read_corrections,
)
from realm.verify.verifier import Verifier

VERIFIER = Verifier("number")
PROBLEMS = [
    Problem(id=name, split="train", question=f"{name}?", answer=7) for name in ("a", "b", "c")
]

OF_ROUTE = {"problem_id": "a", "kind": "process", "source": "s", "text_hash": "x"}


def route(name, answer, correct, source="someone", text="3 + 4", **more):
    return Route(problem_id=name, source=source, text=text, answer=answer, correct=correct, **more)


def test_of_several_corrections_of_one_thing_the_last_counts_and_null_withdraws(tmp_path):
    path = tmp_path / "corrections.jsonl"
    assert read_corrections(path) == []
    for value in (8, 9):
        add_correction(path, Correction(problem_id="a", kind="gold", value=value))
    add_correction(path, Correction(problem_id="b", kind="excluded", value=True))
    assert [one.value for one in read_corrections(path)] == [9, True]
    add_correction(path, Correction(problem_id="a", kind="gold", value=None))
    assert [one.problem_id for one in read_corrections(path)] == ["b"]
    assert len(read_jsonl(path)) == 4 and all(row["time"] for row in read_jsonl(path))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"problem_id": "a", "kind": "golden", "value": 1}, "corrections.jsonl:1: is no correct"),
        ({"problem_id": "a", "kind": "gold"}, "is no correction. A row has problem_id, value and"),
        ({"problem_id": "a", "kind": "gold", "value": 1, "values": 2}, "is no correction"),
        ({"problem_id": "a", "kind": "excluded", "value": "no"}, "excluded is true, false or null"),
        ({"problem_id": "a", "kind": "correct", "value": True}, "need both"),
        (
            {"problem_id": "a", "kind": "gold", "value": 1, "source": "s", "text_hash": "x"},
            "no source",
        ),
        (OF_ROUTE | {"value": False, "flaw": "2"}, "its flaw is '2'; it is the number of a step"),
        (OF_ROUTE | {"value": True, "flaw": 2}, "goes with kind process and value false"),
    ],
)
def test_a_row_that_is_no_correction_is_named(tmp_path, row, message):
    path = tmp_path / "corrections.jsonl"
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError, match=message):
        read_corrections(path)


def test_gold_answers_are_replaced_and_excluded_problems_are_gone():
    corrections = [
        Correction(problem_id="a", kind="gold", value=9),
        Correction(problem_id="b", kind="excluded", value=True),
        Correction(problem_id="gone", kind="gold", value=1),
    ]
    problems, count = correct_problems(PROBLEMS, corrections)
    assert [(one.id, one.answer) for one in problems] == [("a", 9), ("c", 7)] and count == 2
    assert correct_problems(PROBLEMS, []) == (PROBLEMS, 0)
    same = [Correction(problem_id="a", kind="gold", value=7)]
    assert correct_problems(PROBLEMS, same) == (PROBLEMS, 0), "what changes nothing is not counted"


def test_a_correction_is_of_the_problem_with_its_question_not_of_another_with_its_id():
    corrections = [
        label_problem(PROBLEMS[0], "gold", 9),
        label_problem(PROBLEMS[1], "excluded", True),
    ]
    problems, count = correct_problems(PROBLEMS, corrections)
    assert [(one.id, one.answer) for one in problems] == [("a", 9), ("c", 7)] and count == 2
    others = [replace(one, question="another?") for one in PROBLEMS]
    assert correct_problems(others, corrections) == (others, 0)
    kept = [route("a", 7, True)]
    assert correct_routes(kept, corrections, others, VERIFIER) == (kept, 0)


def test_the_routes_of_a_corrected_gold_answer_are_judged_again():
    problems, _ = correct_problems(
        PROBLEMS, [gold := Correction(problem_id="a", kind="gold", value=9)]
    )
    routes = [
        route("a", 7, True),
        route("a", 9, False),
        route("a", None, False),
        route("b", 7, True),
    ]
    corrected, count = correct_routes(routes, [gold], problems, VERIFIER)
    assert [one.correct for one in corrected] == [False, True, False, True] and count == 0


def test_a_label_of_a_route_is_found_by_its_author_and_text_wherever_it_stands():
    first, second = (
        route("a", 7, True, text="x  y"),
        route("a", 8, False, text="z", flaw=2, fix="f"),
    )
    corrections = [
        label_route(first, "correct", False),
        label_route(first, "process", False, 3),
        label_route(second, "process", True),
    ]
    theirs = route("a", 7, True, source="other", text="x y")
    moved = [theirs, second, route("a", 7, True, text="x y")]
    corrected, count = correct_routes(moved, corrections, PROBLEMS, VERIFIER)
    assert count == 3 and corrected[0] == theirs
    assert (corrected[1].correct, corrected[1].process, corrected[1].flaw) == (False, True, None)
    assert corrected[1].fix is None
    assert (corrected[2].correct, corrected[2].process, corrected[2].flaw) == (False, False, 3)
    again, count = correct_routes(corrected, corrections, PROBLEMS, VERIFIER)
    assert again == corrected and count == 0
