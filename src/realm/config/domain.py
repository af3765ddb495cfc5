"""Settings of the domain: where problems come from, and how an answer is read and compared."""

from __future__ import annotations

import math
from typing import Any, Literal, Self

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveInt,
    field_validator,
    model_validator,
)

from realm.core.settings import Section, Share
from realm.verify.kinds import TextAnswer
from realm.verify.verifier import AnswerSettings


class GymSizes(Section):
    """Number of problems of each split."""

    train: PositiveInt = 2000
    validation: NonNegativeInt = 400
    test: PositiveInt = 600
    test_rules: NonNegativeInt = 0
    """Problems of `harder`."""


class GymDomain(Section):
    """Tasks of the package reasoning-gym, in equal parts."""

    kind: Literal["reasoning_gym"]
    tasks: dict[str, dict[str, Any]] = Field(min_length=1)
    """Task to its own fields, as `{chain_sum: {min_terms: 2, max_terms: 4}, spell_backward: {}}`."""
    harder: dict[str, dict[str, Any]] = {}
    """Fields that make tasks of `tasks` harder in the split test_rules, over those that `tasks` gives them."""
    sizes: GymSizes = GymSizes()

    def fields(self, task: str, split: str) -> dict[str, Any]:
        """Return the fields of `task` in `split`."""
        return self.tasks[task] | (self.harder[task] if split == "test_rules" else {})

    @model_validator(mode="after")
    def _harder_has_a_size(self) -> Self:
        if unknown := sorted(set(self.harder) - set(self.tasks)):
            raise ValueError(
                f"harder names {unknown[0]!r}, which is not in tasks; allowed: {', '.join(self.tasks)}"
            )
        if bool(self.harder) != bool(self.sizes.test_rules):
            raise ValueError(
                f"harder names {len(self.harder)} tasks and sizes.test_rules is {self.sizes.test_rules}: the split test_rules "
                "holds the problems of `harder`, so give both or neither"
            )
        return self


class ProblemColumns(Section):
    """Which column of the files holds what; `null` where there is none."""

    id: str | None = "id"
    """A column, or a template over columns as "{table} {question}", whose hash is the id; null: the hash of the question."""
    question: str = "question"
    answer: str = "answer"
    choices: str | None = None
    split: str | None = None
    """Without one, `splits` draws the split."""


class FilesDomain(Section):
    kind: Literal["files"]
    path: str | list[str]
    """One or more of .jsonl and .csv (either with .gz), .parquet, or `hub:owner/name:split` for a data set of the hub; the split
    may be left out where there is one only, and is `subset/split` where there are subsets."""
    columns: ProblemColumns = ProblemColumns()
    question_template: str | None = None
    """Builds the question from the row's columns, as "{table_in_csv}\\n{question}"."""
    answer: AnswerSettings = TextAnswer()
    """The kind of answer; `answer: number` is short for `answer: {kind: number}`, `answer: my_module:function` for the hook."""
    rules: str | None = None
    """The rule book, a Markdown file."""
    splits: dict[Literal["train", "validation", "test", "test_rules"], Share] = {
        "train": 0.6,
        "validation": 0.1,
        "test": 0.3,
    }
    """Share of each split, drawn by the hash of seed and id; used where there is no split column."""
    strict: bool = True
    """A row that cannot be used is an error; else it is reported and the others are kept."""

    @property
    def paths(self) -> list[str]:
        """Return the files of problems, as the config writes them."""
        return [self.path] if isinstance(self.path, str) else self.path

    @field_validator("answer", mode="before")
    @classmethod
    def _short_for_a_kind(cls, answer: Any) -> Any:
        if not isinstance(answer, str):
            return answer
        return {"kind": "python", "hook": answer} if ":" in answer else {"kind": answer}

    @field_validator("splits")
    @classmethod
    def _shares_add_up(cls, splits: dict[str, float]) -> dict[str, float]:
        if not math.isclose(sum(splits.values()), 1, abs_tol=1e-6):
            raise ValueError(
                f"the shares add up to {sum(splits.values()):g}; they must add up to 1"
            )
        return splits


class PythonDomain(Section):
    """A domain that the user writes: a subclass of `realm.Domain`."""

    kind: Literal["python"]
    target: str
    """The class, as `module:Class`. The module lies beside the config file or on Python's path; a
    path as `../my_domain.py:Class` is relative to the config file."""
    settings: dict[str, Any] = {}
    """The arguments of the class."""


class GivenDomain(Section):
    """No domain in the config: the caller passes one to `realm.Run`."""

    kind: Literal["given"] = "given"
