"""Problems from the user's own files and datasets, with the columns that the config names."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any, Literal, Self

from pydantic import field_validator, model_validator

from realm.core.errors import ConfigError, DataError
from realm.core.jsonl import require_file
from realm.core.records import Problem
from realm.core.settings import Section, Share
from realm.core.tables import raise_error, read_rows
from realm.domains.cells import (
    describe_object,
    fill_template,
    get_cell,
    get_identity,
    get_text,
    require_no_image,
    to_list,
)
from realm.domains.domain import SPLITS, Domain
from realm.verify.extract import find_stated
from realm.verify.judge import earns_reward
from realm.verify.kinds import TextAnswer, with_choice
from realm.verify.verifier import AnswerSettings, make_verifier

# How a worked solution in the answer column marks its answer: "\\boxed{7}", "#### 7" or "A: 7".
_STATES_GOLD = re.compile(r"\\boxed\s*\{|(?:^|\n)####\s|\nA:\s")


class ProblemColumns(Section):
    """Which column of the files holds what; null if there is none."""

    id: str | None = "id"
    """A column, or a template such as "{table} {question}" whose hash is the id. null: the hash of
    the question."""
    question: str = "question"
    """The question; unused if `question_template` builds it."""
    answer: str = "answer"
    """The gold answer."""
    choices: str | None = None
    """The options of a multiple-choice question, as a list."""
    split: str | None = None
    """null: `splits` draws the split."""


class ProblemFile(Section):
    """A file with columns of its own."""

    path: str
    """As in `domain.path`."""
    columns: ProblemColumns
    """The columns of this file."""


class FilesSettings(Section):
    """Problems in files or datasets of the user."""

    kind: Literal["files"]
    path: str | list[str | ProblemFile]
    """One or more of .jsonl, .json, .csv, .tsv (each also with .gz), .xlsx, .parquet, or
    `hub:owner/name:split` for a dataset of the hub. With subsets, the split is `subset/split`.
    `{path: ..., columns: {...}}` in a list names the columns of one file."""
    columns: ProblemColumns = ProblemColumns()
    """The columns of all files that name none of their own."""
    question_template: str | None = None
    """Builds the question from the row's columns, such as "{table_in_csv}\\n{question}"."""
    answer: AnswerSettings = TextAnswer()
    """The kind of answer. `answer: number` is short for `answer: {kind: number}`, and
    `answer: my_module:function` for `answer: {kind: python, hook: my_module:function}`."""
    rules: str | None = None
    """The rule book, a Markdown file."""
    splits: dict[Literal["train", "validation", "test", "test_rules"], Share] = {
        "train": 0.6,
        "validation": 0.1,
        "test": 0.3,
    }
    """Share of each split, drawn by a hash of seed and id. Used if there is no split column."""
    strict: bool = True
    """Whether a row that cannot be used is an error. If not, it is reported and left out."""

    allow_shared_questions: bool = False
    """Whether the training split may hold questions of other splits."""

    @property
    def files(self) -> list[ProblemFile]:
        """Return the files of problems with their columns."""
        entries = [self.path] if isinstance(self.path, str) else self.path
        return [
            ProblemFile(path=one, columns=self.columns) if isinstance(one, str) else one
            for one in entries
        ]

    @property
    def paths(self) -> list[str]:
        """Return the files of problems, as the config writes them."""
        return [file.path for file in self.files]

    @model_validator(mode="after")
    def _check_paths(self) -> Self:
        names = list(map(os.path.normpath, self.paths))  # rows.jsonl and ./rows.jsonl are one file
        if repeated := [one for one in names if names.count(one) > 1]:
            raise ValueError(f"path names {repeated[0]!r} more than once")
        return self

    @field_validator("answer", mode="before", json_schema_input_type=AnswerSettings | str)
    @classmethod
    def _expand_kind(cls, answer: Any) -> Any:
        if not isinstance(answer, str):
            return answer
        return {"kind": "python", "hook": answer} if ":" in answer else {"kind": answer}

    @field_validator("splits")
    @classmethod
    def _check_shares(cls, splits: dict[str, float]) -> dict[str, float]:
        # As floats, 0.7 + 0.2 + 0.1 is not 1.
        total = sum(splits.values())
        if not math.isclose(total, 1, abs_tol=1e-6):
            raise ValueError(f"the shares add up to {total:g}; they must add up to 1")
        return splits


class FilesDomain(Domain):
    """The domain of `kind: files`."""

    name = "files"

    def __init__(self, settings: FilesSettings, resolve: Callable[[str], Path] = Path) -> None:
        """Read the rule book; `resolve` turns the paths of the config into paths from here."""
        self.settings = settings
        self.resolve = resolve
        self.is_strict = settings.strict
        self.allow_shared_questions = settings.allow_shared_questions
        self.files = [*settings.paths, *([settings.rules] if settings.rules else [])]
        self.verifier = make_verifier(settings.answer, resolve("."))
        self.rules = _read_rules(resolve(settings.rules)) if settings.rules else None
        # A column says itself which splits there are; a share above 0 promises problems.
        if any(file.columns.split is None for file in settings.files):
            used = [split for split, share in settings.splits.items() if share > 0]
            self.needed_splits = tuple(dict.fromkeys([*Domain.needed_splits, *used]))

    def problems(self, seed: int) -> list[Problem]:
        """Return the problems in the order of the files; a problem that several rows hold once.

        A problem that two rows state differently is left out: nobody can tell which is right.
        """
        self.bad_rows = []
        self.num_repeated = 0
        on_error = raise_error if self.settings.strict else self.bad_rows.append
        found: dict[str, tuple[Problem, str]] = {}
        conflicting = set()
        for file in self.settings.files:
            for place, row in read_rows(file.path, self.resolve, on_error):
                try:
                    problem = self._read_problem(row, file.columns, seed, place)
                    first, first_place = found.setdefault(problem.id, (problem, place))
                    if difference := self._find_difference(problem, first):
                        conflicting.add(problem.id)
                        # Noted first: without `strict` the reading goes on, and neither version may
                        # stay.
                        raise _conflict(problem, difference, place, first_place)
                    self.num_repeated += first is not problem
                except DataError as error:
                    on_error(error)
        problems = [problem for problem, _ in found.values() if problem.id not in conflicting]
        if not problems:
            why = str(self.bad_rows[0]) if self.bad_rows else "there are no rows."
            paths = ", ".join(self.settings.paths)
            raise DataError(f"{paths}: no row could be used as a problem: {why}")
        return problems

    def _read_problem(
        self, row: Mapping[str, Any], columns: ProblemColumns, seed: int, place: str
    ) -> Problem:
        kind = self.settings.answer.kind
        require_no_image(row, self.settings.question_template, place)
        asked = get_text(row, columns.question, place, "domain.columns.question")
        if not asked:
            raise DataError(f"{place}: the question is empty. Correct or remove the row.")
        answer = get_cell(row, columns.answer, place, "domain.columns.answer")
        _check_gold(answer, kind, f"{place}: column {columns.answer!r}", columns.answer)
        answer = _to_gold(answer, kind)
        if not earns_reward(answer, self.verifier):
            raise DataError(
                f"{place}: answer {answer!r} is no {kind}: a completion that gives it is not "
                "judged right. Correct or remove the row, or choose another domain.answer."
            )
        choices = None
        if columns.choices:
            choices = to_list(get_cell(row, columns.choices, place, "domain.columns.choices"))
        if kind == "label":
            answer = with_choice(answer, choices)
        question = asked
        template = self.settings.question_template
        if template:
            question = fill_template(template, row, place, "domain.question_template")
        # A template may show the choices itself.
        if choices and "{" + str(columns.choices) + "}" not in (template or ""):
            question += "\nOne of: " + _render_choices(choices, answer)
        identity = get_identity(row, columns.id, asked, place, "domain.columns.id")
        return Problem(
            id=identity,
            split=self._get_split(row, columns.split, identity, seed, place),
            question=question,
            answer=answer,
            choices=choices,
            # The question as it stands in the column: `realm routes` finds imported outputs by it.
            meta={} if question == asked else {"question": asked},
        )

    def _find_difference(self, problem: Problem, first: Problem) -> str | None:
        """Return in what two rows of one problem differ; None if they agree."""
        if problem.question != first.question:
            return "question"
        if problem.split != first.split:
            return "split"
        return "answer" if self.verifier.same(problem.answer, first.answer) is False else None

    def _get_split(
        self, row: Mapping[str, Any], column: str | None, identity: str, seed: int, place: str
    ) -> str:
        if column is None:
            return draw_split(identity, self.settings.splits, seed)
        split = get_text(row, column, place, "domain.columns.split")
        if split not in SPLITS:
            allowed = ", ".join(SPLITS)
            raise DataError(f"{place}: column {column!r} holds {split!r}. Allowed: {allowed}.")
        return split


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
    given: dict[str, Any] = {"columns": columns, "splits": splits}
    settings = FilesSettings.model_validate(
        {"kind": "files", "path": str(path), "answer": answer}
        | {name: value for name, value in given.items() if value is not None}
    )
    return FilesDomain(settings).problems(seed)


def draw_split(identity: str, shares: Mapping[Any, float], seed: int) -> str:
    """Return the split of a problem. It depends on the id and the seed, not on other problems."""
    digest = hashlib.sha256(f"{seed}:{identity}".encode()).digest()
    # The first 64 bits of the hash, as a number from 0 to 1.
    point = int.from_bytes(digest[:8]) / 2**64
    for split, share in shares.items():
        point -= share
        if point < 0:
            return split
    return [split for split, share in shares.items() if share > 0][-1]  # shares add up to 0.999...


def _conflict(problem: Problem, difference: str, place: str, first_place: str) -> DataError:
    return DataError(
        f"{place}: the problem {problem.id!r} is also at {first_place}, with another {difference}. "
        "One id is one problem: correct a row, or build the id from more columns, such as "
        '"{table} {question}" (domain.columns.id, or --id of `realm import`).'
    )


def _check_gold(answer: Any, kind: str, place: str, column: str) -> None:
    """Raise a DataError for a gold answer that no answer of its kind can equal."""
    if kind in ("json", "python"):
        return
    if isinstance(answer, dict):
        raise describe_object(answer, place, column)
    if isinstance(answer, list) and len(answer) > 1 and kind != "set":
        raise DataError(
            f"{place}: holds a list of {len(answer)} answers, and an answer of kind {kind} is one. "
            "Compare lists with kind set, or keep one answer."
        )


def _to_gold(answer: Any, kind: str) -> Any:
    """Return the gold answer as its kind holds it: for sets a list."""
    if isinstance(answer, str) and kind not in ("json", "python") and _STATES_GOLD.search(answer):
        # A worked solution, as in GSM8K and MATH: its last box or mark is the answer.
        stated = find_stated(answer)
        answer = stated.text if stated else answer
    if isinstance(answer, float) and answer.is_integer():
        answer = int(answer)  # pandas makes the whole numbers of a column with gaps floats
    if kind == "set":
        return to_list(answer) if isinstance(answer, str) else answer
    return answer[0] if isinstance(answer, list) and len(answer) == 1 else answer


def _read_rules(path: Path) -> str:
    require_file(path)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: the rule book (domain.rules) cannot be read: {error}. It is a Markdown file; "
            "null means none."
        ) from None


def _render_choices(choices: Sequence[str], answer: Any) -> str:
    """Return the choices for the question, with letters if the gold answer is a letter."""
    if not isinstance(answer, list):
        return ", ".join(choices)
    lettered = zip(ascii_uppercase, choices, strict=False)
    return ", ".join(f"({letter}) {choice}" for letter, choice in lettered)
