"""General reasoning: tasks of the package reasoning-gym, each with its scorer as the verifier."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from realm.core.errors import ConfigError, DataError, suggest_nearest
from realm.core.records import Problem
from realm.core.settings import Section
from realm.domains.domain import Domain
from realm.method.thoughts import split_thoughts
from realm.verify.extract import find_answer, find_tagged
from realm.verify.normal import repair_text
from realm.verify.verifier import Verifier

# The first nine scorers run the answer, which a model wrote, as Python code. The last two run the
# gold answer, which anybody who can write problems.jsonl controls.
_SCORERS_OF_CODE = """
    binary_matrix countdown intermediate_integration n_queens polynomial_multiplication puzzle24
    simple_integration spiral_matrix string_insertion bitwise_arithmetic number_sorting
"""
RUNS_CODE = frozenset(_SCORERS_OF_CODE.split())
"""Tasks that are not offered, because their scorer runs text as code."""

NONSENSE = ("nan", "?", "no answer")
"""Answers that are wrong for every problem. A scorer that accepts one would pay for it in RL."""

# A task gives no more problems after this many items in a row with a known question, or with an
# answer of its own that its scorer rejects.
MAX_REPEATED = 1000
MAX_REJECTED = 20

# Items per dataset of the package; the next dataset continues where it ends. Some tasks compute
# a whole dataset at once.
DATASET_SIZE = 1000

# The evaluation splits are drawn first: they do not change with the size of `train`.
DRAW_ORDER = ("test_rules", "test", "validation", "train")

_MAX_CHARS = 20_000  # of an answer; a longer text is not an answer
_HUGE_EXPONENT = re.compile(r"\d[eE][+-]?\d{4,}")  # Fraction("1e99999999") takes hours
_STATES_ANSWER = re.compile(r"\\boxed|^#### |\banswers?\b", re.IGNORECASE | re.MULTILINE)


class GymSizes(Section):
    """Number of problems of each split."""

    train: PositiveInt = 2000
    validation: NonNegativeInt = 400
    test: PositiveInt = 600
    test_rules: NonNegativeInt = 0
    """Problems of `harder`."""


class GymSettings(Section):
    """Tasks of the package reasoning-gym, in equal parts."""

    kind: Literal["reasoning_gym"]
    tasks: dict[str, dict[str, Any]] = Field(min_length=1)
    """Task to its fields, such as `{chain_sum: {min_terms: 2}, spell_backward: {}}`."""
    harder: dict[str, dict[str, Any]] = {}
    """Fields that replace those of `tasks` in the split test_rules, to make it harder."""
    sizes: GymSizes = GymSizes()

    def get_fields(self, task: str, split: str) -> dict[str, Any]:
        """Return the fields of `task` in `split`."""
        return self.tasks[task] | (self.harder[task] if split == "test_rules" else {})

    @model_validator(mode="after")
    def _check_harder(self) -> Self:
        unknown = sorted(set(self.harder) - set(self.tasks))
        if unknown:
            raise ValueError(
                f"harder names {unknown[0]!r}, which is not in tasks; "
                f"allowed: {', '.join(self.tasks)}"
            )
        if bool(self.harder) != bool(self.sizes.test_rules):
            raise ValueError(
                f"harder names {len(self.harder)} tasks and sizes.test_rules is "
                f"{self.sizes.test_rules}: the split test_rules holds the problems of `harder`, so "
                "give both or neither"
            )
        return self


class GymVerifier(Verifier):
    """Asks the scorer of a problem's task. The gold answer holds the task and what it needs."""

    def __init__(self, scorers: Mapping[str, Any]) -> None:
        """Keep a dataset of each task, which scores answers to its problems."""
        super().__init__("text")
        self._scorers = scorers

    def extract(self, text: str) -> str | None:
        """Return the answer that `text` states, or the whole text if nothing marks an answer.

        An answer may be a grid or a list, so the content of an answer block is taken as it is.
        """
        said = split_thoughts(repair_text(text))[1]
        answer = find_tagged(said)
        if answer is None and _STATES_ANSWER.search(said):
            found = find_answer(said)
            answer = found.text if found else ""
        elif answer is None:
            answer = said.strip()
        return answer if 0 < len(answer) <= _MAX_CHARS else None

    def same_all(self, pairs: Sequence[tuple[Any, Any]]) -> list[bool | None]:
        """Return the verdict on each (answer, gold) pair."""
        return [self._is_same(answer, gold) for answer, gold in pairs]

    def render(self, answer: Any) -> str:
        """Return the text of an answer, or of a gold answer."""
        return str(answer["answer"] if isinstance(answer, dict) else answer)

    def _is_same(self, answer: Any, gold: Any) -> bool:
        """Return whether the scorer gives full marks, or whether two answers are one text."""
        if answer is None or gold is None or _HUGE_EXPONENT.search(str(answer)):
            return False
        if not isinstance(gold, dict):
            return str(answer).split() == str(gold).split()
        scorer = self._scorers.get(gold["task"])
        if scorer is None:
            raise DataError(
                f"problems.jsonl: holds a problem of the task {gold['task']}, and domain.tasks "
                f"names {', '.join(self._scorers)}. Run `realm data` again, or `realm run`."
            )
        try:
            # Many scorers give part of the marks for a near answer, which is still not right.
            return bool(scorer.score_answer(answer, gold) >= 1.0)
        except Exception:  # a scorer fails on what it cannot read, and that is not the answer
            return False


class ReasoningGymDomain(Domain):
    """Problems of one or several tasks, which take turns."""

    name = "reasoning_gym"

    def __init__(self, **settings: Any) -> None:
        """Take the settings of `domain.kind: reasoning_gym`: tasks, harder and sizes."""
        self.settings = GymSettings(kind="reasoning_gym", **settings)
        tasks = self.settings.tasks
        self.verifier = GymVerifier(
            {task: make_dataset(task, tasks[task], 0, "domain.tasks") for task in tasks}
        )
        for task in self.settings.harder:
            make_dataset(task, self.settings.get_fields(task, "test_rules"), 0, "domain.harder")

    def problems(self, seed: int) -> list[Problem]:
        """Return the problems of every split, drawn from `seed`; no question comes twice."""
        # One set for all splits, so that training shows no question of a test.
        seen: set[str] = set()
        drawn = {split: list(self._draw_split(split, seed, seen)) for split in DRAW_ORDER}
        return [problem for split in reversed(DRAW_ORDER) for problem in drawn[split]]

    def _draw_split(self, split: str, seed: int, seen: set[str]) -> Iterator[Problem]:
        size = getattr(self.settings.sizes, split)
        tasks = list(self.settings.harder if split == "test_rules" else self.settings.tasks)
        items = {task: self._draw_items(task, split, seed, seen) for task in tasks}
        for number in range(size):
            task = tasks[number % len(tasks)]
            item = next(items[task])
            yield Problem(
                id=f"{task}-{split}-{number // len(tasks):05d}",
                split=split,
                question=item["question"].strip(),
                answer={"task": task, "answer": item["answer"], "metadata": item["metadata"]},
                meta={"task": task},
            )

    def _draw_items(
        self, task: str, split: str, seed: int, seen: set[str]
    ) -> Iterator[dict[str, Any]]:
        """Yield the task's items with a new question and an answer that its scorer accepts."""
        digest = hashlib.sha256(f"{seed}:{split}:{task}".encode()).digest()
        start = int.from_bytes(digest[:8]) % 2**30
        num_repeated = num_rejected = index = 0
        is_checked = False
        while num_repeated < MAX_REPEATED and num_rejected < MAX_REJECTED:
            if index % DATASET_SIZE == 0:
                own = self.settings.get_fields(task, split)
                dataset = make_dataset(task, own, start + index, "domain.tasks")
            item = _get_item(dataset, index % DATASET_SIZE, f"domain.tasks.{task}")
            index += 1
            gold = {"task": task, **item}
            question = " ".join(item["question"].split())
            if question in seen:
                num_repeated += 1
                continue
            if not self.verifier.same(item["answer"], gold):
                num_rejected += 1
                continue
            if not is_checked:
                self._refuse_nonsense(gold)
                is_checked = True
            seen.add(question)
            num_repeated = num_rejected = 0
            yield item
        why = f"the last {num_repeated} items repeat a question"
        fix = "lower domain.sizes, or widen the fields of the task"
        if num_rejected == MAX_REJECTED:
            why = f"its scorer rejects the task's own answer to {num_rejected} items"
            fix = "take the task out"
        raise DataError(
            f"domain.tasks.{task}: not enough problems for the split {split}: {why}. Try: {fix}."
        )

    def _refuse_nonsense(self, gold: Mapping[str, Any]) -> None:
        """Raise a ConfigError if the scorer of a task accepts an answer that is never right."""
        for answer in NONSENSE:
            if self.verifier.same(answer, gold) and answer != gold["answer"]:
                raise ConfigError(
                    f"domain.tasks.{gold['task']}: its scorer accepts the answer {answer!r}, and "
                    "reinforcement learning would learn to say it. Take the task out."
                )


def make_dataset(task: str, own: Mapping[str, Any], seed: int, setting: str) -> Any:
    """Return a dataset of `task` with the fields in `own`.

    Raises:
        ConfigError: The package is missing, or does not know the task or a field of it.
    """
    try:
        from reasoning_gym.factory import DATASETS
    except ImportError:
        raise ConfigError(
            "domain.kind: reasoning_gym needs the package reasoning-gym. "
            "Try: pip install reasoning-gym"
        ) from None
    allowed = sorted(set(DATASETS) - RUNS_CODE - {"composite"})
    if task not in allowed:
        why = f"reasoning-gym has no task {task!r}.{suggest_nearest(task, allowed)}"
        if task in RUNS_CODE:
            why = f"the scorer of {task} runs the answer as Python code, so it is not offered."
        raise ConfigError(f"{setting}: {why} Allowed: {', '.join(allowed)}.")
    make, settings = DATASETS[task]
    known = [field.name for field in fields(settings) if field.name not in ("seed", "size")]
    unknown = [name for name in own if name not in known]
    if unknown:
        raise ConfigError(
            f"{setting}.{task}.{unknown[0]}: the task has no such field."
            f"{suggest_nearest(unknown[0], known)} Allowed: {', '.join(known)}; the seed is that "
            "of the run, and the size is in domain.sizes."
        )
    try:
        return make(config=settings(**own, seed=seed, size=DATASET_SIZE))
    except (AssertionError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{setting}.{task}: reasoning-gym refuses {dict(own)}: {error}."
        ) from error


def _get_item(dataset: Any, index: int, setting: str) -> dict[str, Any]:
    """Return an item as it is when it is read from a JSON file again."""
    try:
        item: dict[str, Any] = json.loads(json.dumps(dataset[index], default=str))
    except Exception as error:  # foreign code, run on the user's settings, may fail in any way
        raise DataError(
            f"{setting}: reasoning-gym fails to make item {index}: {type(error).__name__}: "
            f"{error}. Change the fields of the task, or take it out."
        ) from error
    return item
