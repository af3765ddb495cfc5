"""Replies from a file: by problem and kind, in the file's order."""

import asyncio
import json

import pytest

from realm.config.teachers import ReplayTeacher as Settings
from realm.core.errors import DataError
from realm.core.records import Problem
from realm.sources import Request
from realm.sources.teachers.replay import ReplayTeacher
from teachers import no_attempts

ROWS = [
    {"problem_id": "a", "text": "one", "source": "big"},
    {"problem_id": "a", "text": "guided", "source": "big", "guided": True},
    {"problem_id": "a", "text": "two", "source": "big"},
    {"problem_id": "a", "text": "of another", "source": "small"},
    {"problem_id": "a", "text": "told", "source": "big", "guided": True, "rationalized": True},
    {"problem_id": "b", "text": "unnamed"},
]


def load(tmp_path, rows, name="big"):
    (tmp_path / "old.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = Settings(kind="replay", name=name, path="old.jsonl", routes=1)
    teacher = ReplayTeacher(settings, tmp_path / "old.jsonl")
    teacher.open()
    return teacher


def replies(teacher, *places):
    requests = [
        Request(
            problem=Problem(id=identity, split="train", question="?", answer=1),
            kind=kind,
            sample=sample,
            messages=(),
        )
        for identity, kind, sample in places
    ]
    return [reply and reply.text for reply in asyncio.run(teacher.ask(requests, no_attempts))]


def test_rows_are_given_by_problem_kind_and_sample(tmp_path):
    teacher = load(tmp_path, ROWS)
    places = [
        ("a", "unguided", 1),
        ("a", "unguided", 0),
        ("a", "guided", 0),
        ("a", "rationalized", 0),
        ("b", "unguided", 0),
    ]
    assert replies(teacher, *places) == ["two", "one", "guided", "told", "unnamed"]


def test_what_the_file_does_not_hold_is_no_reply(tmp_path):
    assert replies(load(tmp_path, ROWS), ("a", "unguided", 2), ("c", "unguided", 0)) == [None, None]


def test_a_file_without_a_row_of_the_teacher_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no row is of the teacher 'huge'"):
        load(tmp_path, ROWS[:5], "huge")


def test_a_row_without_a_text_is_named_by_its_line(tmp_path):
    with pytest.raises(DataError, match=r"old.jsonl:2: a row to replay needs"):
        load(tmp_path, [ROWS[0], {"problem_id": "a", "output": "x"}])
