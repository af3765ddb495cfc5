"""Baselines that ask a real teacher, through the store and the budget of the run."""

import json
import logging
from itertools import count

import pytest

from endpoint import Endpoint, teacher, write_sums
from realm.baselines.cot_synthesizer import ask_for_lessons, make_synthesis_rows
from realm.baselines.instructors import ask_for_exercises, load_instructor, read_exercise
from realm.config.root import load_config
from realm.core.records import Route
from realm.evaluate.methods import has_instructor
from realm.run import Run
from realm.sources.plan import find_expert
from realm.sources.store import open_store
from realm.verify.verifier import Verifier

NUMBER = Verifier("number")
EXERCISE = """Here is one.

**Problem:** Ann has 3 plus 4 pears. How many?
**Solution:** Plus adds.
3 + 4 = 7.
The answer is 7"""


def make_run(folder, **settings):
    config = write_sums(folder, teachers=[teacher(guided=2, routes=0, eval_routes=0)], **settings)
    return Run(folder / "run", load_config(config))


@pytest.mark.parametrize(
    ("text", "exercise"),
    [
        (
            EXERCISE,
            (
                "Ann has 3 plus 4 pears. How many?",
                "Plus adds.\n3 + 4 = 7.\nThe answer is 7",
                "7",
            ),
        ),
        ("## Problem: x?\n## Solution: 1.\nThe answer is 1", ("x?", "1.\nThe answer is 1", "1")),
        ("Problem: x?\nSolution: nobody knows", None),
        ("Problem:\nSolution: The answer is 1", None),
        ("The answer is 1", None),
        ("", None),
    ],
)
def test_an_exercise_is_read_leniently_and_only_with_all_its_parts(text, exercise):
    assert read_exercise(text, NUMBER) == exercise


def test_the_teacher_writes_exercises_from_errors_and_is_paid_once(tmp_path, monkeypatch):
    said, numbers = [], count(10, 10)

    def write(body):  # called from several threads, in any order
        said.append(body["messages"][-1]["content"])
        number = next(numbers)
        return f"Problem: {number} plus 1?\nSolution: Plus adds.\nThe answer is {number + 1}"

    with Endpoint(answer=write) as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        run = make_run(tmp_path)
        assert has_instructor(run) and load_instructor(run, []) is None
        problems = run.domain.problems(7)
        errors = [(problems[0], 5), (problems[1], None)]
        found = list(ask_for_exercises(run, errors, 3, known={"20 plus 1?"}))
        # Three requests: both errors once, the first of them a second time; one question is known.
        assert len(said) == 3 and len(found) == 2
        assert all(question in ("10 plus 1?", "30 plus 1?") for _, (question, _, _) in found)
        assert all("1. Plus adds." in prompt for prompt in said)
        assert any("The right answer is: 1\n" in prompt for prompt in said)
        assert any("A student answered: 5" in prompt for prompt in said)
        assert any("A student answered: nothing" in prompt for prompt in said)
        again = list(ask_for_exercises(run, errors, 3, known={"20 plus 1?"}))
        assert again == found and len(said) == 3


def test_a_budget_holds_for_all_runs_of_a_comparison(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(logging.getLogger("realm"), "propagate", True)
    with Endpoint(answer=lambda body: EXERCISE) as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        run = make_run(tmp_path, budget_tokens=2600, concurrency=1)
        problems = run.domain.problems(7)
        cell = run.derive(tmp_path / "run/cells/instructors-7", run.config, run.stages)
        with open_store(run) as mine, open_store(cell) as theirs:
            assert (mine.path, mine.run) == (theirs.path, theirs.run)
        list(ask_for_exercises(run, [(problems[0], 5)], 1, set()))
        list(ask_for_exercises(cell, [(problems[0], 5)], 1, set()))
        assert len(endpoint.calls) == 1 and not (cell.folder / "teacher.sqlite").exists()
        list(ask_for_exercises(cell, [(one, 5) for one in problems], 8, set()))
    assert 1 < len(endpoint.calls) < 8
    assert "the budget is reached" in caplog.text


def test_a_replayed_teacher_writes_exercises_too(tmp_path):
    rows = [{"problem_id": "p0", "kind": "exercise", "text": EXERCISE}]
    replayed = {"kind": "replay", "name": "big", "path": "replies.jsonl", "guided": 1}
    config = load_config(write_sums(tmp_path, teachers=[replayed]))
    (tmp_path / "replies.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = Run(tmp_path / "run", config)
    problems = run.domain.problems(7)
    ((problem, exercise),) = ask_for_exercises(run, [(problems[0], 5), (problems[1], 5)], 9, set())
    assert problem.id == "p0" and exercise[2] == "7"


def test_the_teacher_writes_syntheses_of_candidates_and_right_ones_are_taught(
    tmp_path, monkeypatch
):
    def synthesize(body):
        prompt = body["messages"][-1]["content"]
        assert "<route 1>" in prompt and "1. Plus adds." in prompt
        # Of the second problem (1 plus 2) it never finds the answer.
        return "Adding.\nThe answer is 1" if "\n0 plus 1\n" in prompt else "The answer is 0"

    with Endpoint(answer=synthesize) as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        run = make_run(tmp_path)
        problems = {one.id: one for one in run.domain.problems(7)[:2]}
        routes = [
            Route(problem_id=name, source="m", text=text, answer=answer, correct=answer == 1)
            for name in problems
            for text, answer in (("Adding.\n1", 1), ("Guessing.\n5", 5))
        ]
        assert len(list(ask_for_lessons(run, find_expert(run), problems, routes, 1))) == 1
        assert len(endpoint.calls) == 1
        lessons = list(ask_for_lessons(run, find_expert(run), problems, routes, 7))
        rows = make_synthesis_rows(lessons, run.config, run.domain.verifier)
    # Two syntheses of each problem: the two right ones come round until there are seven.
    assert len(endpoint.calls) == 4 and len(rows) == 7
    assert {row["problem_id"] for row in rows} == {"p0"} and rows[0] == rows[2] == rows[6]
    assert rows[0]["completion"] == "<reason>\nAdding.\n</reason>\n<answer>1</answer>"
    assert "<route 1>" in rows[0]["prompt"]
