"""Problems from a user's own files or data sets, one or several, with the columns that the config names."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from realm import config
from realm.core.errors import ConfigError, DataError
from realm.core.records import Problem
from realm.core.tables import OnBad, read_rows, refuse
from realm.domains.domain import Domain
from realm.verify.kinds import with_choice
from realm.verify.verifier import make_verifier

SPLITS = ("train", "validation", "test", "test_rules")
_FIELD = re.compile(r"\{([^{}]+)\}")


class FilesDomain(Domain):
    """The domain that a user's own files make."""

    name = "files"

    def __init__(self, settings: config.FilesDomain, resolve: Callable[[str], Path] = Path) -> None:
        """Keep `settings`, whose paths `resolve` makes absolute; the files are read by `problems`."""
        self.settings, self.resolve = settings, resolve
        self.files = [*settings.paths, *([settings.rules] if settings.rules else [])]
        self.verifier = make_verifier(settings.answer, resolve("."))
        self.rules = _read_rules(resolve(settings.rules)) if settings.rules else None

    def problems(self, seed: int, on_bad: OnBad = refuse) -> list[Problem]:
        """Return the problems in the order of the files; one that several rows hold comes once.

        What is wrong with a row goes to `on_bad`, and the others are read. A problem that two rows tell differently is left
        out: which of them is right, nobody can tell.
        """
        found: dict[str, Problem] = {}
        places: dict[str, str] = {}
        unclear = set()
        for name in self.settings.paths:
            for place, row in read_rows(name, self.resolve, on_bad):
                try:
                    problem = self._problem(row, seed, place)
                except DataError as error:
                    on_bad(error)
                    continue
                known = found.setdefault(problem.id, problem)
                if known is not problem and (difference := self._difference(problem, known)):
                    unclear.add(problem.id)
                    on_bad(_contradiction(problem, difference, place, places[problem.id]))
                places.setdefault(problem.id, place)
        return [problem for problem in found.values() if problem.id not in unclear]

    def _problem(self, row: Mapping[str, Any], seed: int, place: str) -> Problem:
        columns = self.settings.columns
        asked = _text(cell(row, columns.question, place, "domain.columns.question"))
        answer = _gold(
            cell(row, columns.answer, place, "domain.columns.answer"), self.settings.answer.kind
        )
        if not asked or not self.verifier.same(answer, answer):
            what = (
                "question is empty"
                if not asked
                else f"answer {answer!r} is no {self.settings.answer.kind}"
            )
            raise DataError(f"{place}: the {what}. Correct or remove the row.")
        choices = (
            _list(cell(row, columns.choices, place, "domain.columns.choices"))
            if columns.choices
            else None
        )
        answer = with_choice(answer, choices) if self.settings.answer.kind == "label" else answer
        template = self.settings.question_template
        question = fill(template, row, place, "domain.question_template") if template else asked
        if choices and not (template and "{" + str(columns.choices) + "}" in template):
            question += "\nOne of: " + _listed(choices, answer)
        identity = identify(row, columns.id, asked, place, "domain.columns.id")
        return Problem(
            id=identity,
            split=self._split(row, identity, seed, place),
            question=question,
            answer=answer,
            choices=choices,
            meta={} if question == asked else {"question": asked},
        )

    def _difference(self, problem: Problem, known: Problem) -> str | None:
        """Return in what two tellings of one problem differ; `None` where they agree."""
        if problem.question != known.question:
            return "question"
        if problem.split != known.split:
            return "split"
        return "answer" if self.verifier.same(problem.answer, known.answer) is False else None

    def _split(self, row: Mapping[str, Any], identity: str, seed: int, place: str) -> str:
        column = self.settings.columns.split
        if column:
            split = _text(cell(row, column, place, "domain.columns.split"))
            if split not in SPLITS:
                raise DataError(
                    f"{place}: column {column!r} holds {split!r}. Allowed: {', '.join(SPLITS)}."
                )
            return split
        return draw_split(identity, self.settings.splits, seed)


def read_problems(
    path: str | Path,
    *,
    seed: int,
    answer: str = "text",
    columns: Mapping[str, str | None] | None = None,
    splits: Mapping[str, float] | None = None,
) -> list[Problem]:
    """Return the problems in a table, each in a split that its id and `seed` decide.

    Args:
        path: A CSV, JSON Lines or Parquet file.
        seed: Another seed gives other splits.
        answer: The kind of the gold answers, such as "number".
        columns: Which column holds what, as in `domain.columns`; by default the columns are
            called id, question and answer. `{"id": None}` takes the hash of the question as id.
        splits: The share of each split, as in `domain.splits`.
    """
    from realm.config.domain import FilesDomain as FilesSettings

    given: dict[str, Any] = {"columns": columns, "splits": splits}
    settings = FilesSettings.model_validate(
        {"kind": "files", "path": str(path), "answer": answer}
        | {name: value for name, value in given.items() if value is not None}
    )
    return FilesDomain(settings).problems(seed)


def cell(row: Mapping[str, Any], column: str, place: str, setting: str) -> Any:
    """Return what `row` holds in `column`; `DataError` names the columns there are."""
    if column not in row:
        raise DataError(
            f"{place}: there is no column {column!r}, which {setting} names. Found: {', '.join(map(str, row))}."
        )
    return row[column]


def fill(template: str, row: Mapping[str, Any], place: str, setting: str) -> str:
    """Return `template` with each {column} replaced by the row's text, all at once: braces inside a cell stay text."""
    return _FIELD.sub(lambda field: _text(cell(row, field[1], place, setting)), template)


def identify(
    row: Mapping[str, Any], column: str | None, question: str, place: str, setting: str
) -> str:
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


def _contradiction(problem: Problem, difference: str, place: str, before: str) -> DataError:
    return DataError(
        f"{place}: the problem {problem.id!r} is also at {before}, with another {difference}. One id is one problem: correct a "
        'row, or build the id from more columns, as "{table} {question}" (domain.columns.id, or --id of `realm import`).'
    )


def _gold(answer: Any, kind: str) -> Any:
    """Return the gold answer as the kind holds it: for sets a list, which a cell writes as JSON or as `a | b`."""
    if kind == "set":
        return _list(answer) if isinstance(answer, str) else answer
    return answer[0] if isinstance(answer, list) and len(answer) == 1 else answer


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


def _listed(choices: list[str], answer: Any) -> str:
    """Return the choices as the question shows them, with letters where the gold answer is one."""
    if not isinstance(answer, list):
        return ", ".join(choices)
    return ", ".join(
        f"({letter}) {choice}" for letter, choice in zip(ascii_uppercase, choices, strict=False)
    )


def _list(value: Any) -> list[str] | None:
    """Return a list as JSON or as a cell writes it: `["a", "b"]`, `a | b`."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        with suppress(ValueError):
            value = json.loads(value)
    items = value if isinstance(value, list) else str(value or "").split("|")
    return [text for item in items if (text := _text(item))] or None
