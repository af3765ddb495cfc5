"""Problems from files: JSON Lines or CSV, either with .gz, one file or several, with the columns that the config names."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from realm import config
from realm.answers import get_answers
from realm.errors import ConfigError, DataError
from realm.jsonl import numbered_rows
from realm.records import Problem

SPLITS = ("train", "validation", "test", "test_rules")
_FIELD = re.compile(r"\{(\w+)\}")


class FilesDomain:
    """The domain that a user's own files make."""

    name = "files"

    def __init__(self, settings: config.FilesDomain, resolve: Callable[[str], Path] = Path) -> None:
        """Keep `settings`, whose paths `resolve` makes absolute; the files are read by `problems`."""
        self.settings, self.resolve = settings, resolve
        answers = get_answers(settings.answer.kind)
        self.extract, self.same, self.show = answers.extract, answers.same, answers.show
        self.rules = _read_rules(resolve(settings.rules)) if settings.rules else None

    def problems(self, seed: int) -> list[Problem]:
        """Return the problems in the order of the files; one that several files hold comes once."""
        found: dict[str, Problem] = {}
        places: dict[str, str] = {}
        for name in self.settings.paths:
            path = self.resolve(name)
            for number, row in numbered_rows(path):
                place = f"{path}:{number}"
                problem = self._problem(row, seed, place)
                _refuse_contradiction(problem, found.get(problem.id), place, places, self.same)
                found.setdefault(problem.id, problem)
                places.setdefault(problem.id, place)
        return list(found.values())

    def _problem(self, row: Mapping[str, Any], seed: int, place: str) -> Problem:
        columns = self.settings.columns
        asked = _text(cell(row, columns.question, place, "domain.columns.question"))
        answer = cell(row, columns.answer, place, "domain.columns.answer")
        if self.settings.answer.kind != "set" and isinstance(answer, list) and len(answer) == 1:
            answer = answer[0]
        if not asked or not self.same(answer, answer):
            what = "question is empty" if not asked else f"answer {answer!r} is no {self.settings.answer.kind}"
            raise DataError(f"{place}: the {what}. Correct or remove the row.")
        choices = _list(cell(row, columns.choices, place, "domain.columns.choices")) if columns.choices else None
        template = self.settings.question_template
        question = fill(template, row, place, "domain.question_template") if template else asked
        if choices and not (template and "{" + str(columns.choices) + "}" in template):
            question += "\nOne of: " + ", ".join(choices)
        identity = identify(row, columns.id, asked, place, "domain.columns.id")
        return Problem(
            id=identity,
            split=self._split(row, identity, seed, place),
            question=question,
            answer=answer,
            choices=choices,
            meta={} if question == asked else {"question": asked},
        )

    def _split(self, row: Mapping[str, Any], identity: str, seed: int, place: str) -> str:
        column = self.settings.columns.split
        if column:
            split = _text(cell(row, column, place, "domain.columns.split"))
            if split not in SPLITS:
                raise DataError(f"{place}: column {column!r} holds {split!r}. Allowed: {', '.join(SPLITS)}.")
            return split
        return draw_split(identity, self.settings.splits, seed)


def cell(row: Mapping[str, Any], column: str, place: str, setting: str) -> Any:
    """Return what `row` holds in `column`; `DataError` names the columns there are."""
    if column not in row:
        raise DataError(f"{place}: there is no column {column!r}, which {setting} names. Found: {', '.join(map(str, row))}.")
    return row[column]


def fill(template: str, row: Mapping[str, Any], place: str, setting: str) -> str:
    """Return `template` with each {column} replaced by the row's text, all at once: braces inside a cell stay text."""
    return _FIELD.sub(lambda field: _text(cell(row, field[1], place, setting)), template)


def identify(row: Mapping[str, Any], column: str | None, question: str, place: str, setting: str) -> str:
    """Return a problem's id: a column, the hash of a template such as "{table} {question}", or the hash of the question."""
    if column is None:
        return hash_text(question)
    if "{" in column:
        return hash_text(fill(column, row, place, setting))
    identity = _text(cell(row, column, place, setting))
    if not identity:
        raise DataError(
            f"{place}: column {column!r}, which {setting} names, is empty. Each problem needs an id. "
            "Where there is none, null takes the hash of the question."
        )
    return identity


def hash_text(text: str) -> str:
    """Return a short id for `text` that does not depend on its white space."""
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()[:12]


def draw_split(identity: str, shares: Mapping[str, float], seed: int) -> str:
    """Return the split that a problem falls into: always the same one for the same seed, whatever else the file holds."""
    point = int.from_bytes(hashlib.sha256(f"{seed}:{identity}".encode()).digest()[:8]) / 2**64
    for split, share in shares.items():
        point -= share
        if point < 0:
            return split
    return next(split for split, share in reversed(shares.items()) if share > 0)


def _refuse_contradiction(
    problem: Problem, known: Problem | None, place: str, places: Mapping[str, str], same: Callable[[Any, Any], bool]
) -> None:
    if known is None:
        return
    if problem.question != known.question or problem.split != known.split:
        differing = "question" if problem.question != known.question else "split"
    elif same(problem.answer, known.answer):
        return
    else:
        differing = "answer"
    raise DataError(
        f"{place}: the problem {problem.id!r} is also at {places[problem.id]}, with another {differing}. One id is one problem: "
        'correct a row, or build the id from more columns, as domain.columns.id: "{table} {question}".'
    )


def _read_rules(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: the rule book (domain.rules) cannot be read: {error}. It is a Markdown file; null means none."
        ) from None


def _text(value: Any) -> str:
    if value is None:
        return ""
    return ", ".join(map(_text, value)) if isinstance(value, list) else str(value).strip()


def _list(value: Any) -> list[str] | None:
    """Return a list as JSON or as a cell writes it: `["a", "b"]`, `a | b`."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        with suppress(ValueError):
            value = json.loads(value)
    items = value if isinstance(value, list) else str(value or "").split("|")
    return [text for item in items if (text := _text(item))] or None
