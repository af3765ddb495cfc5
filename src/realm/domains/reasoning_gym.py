"""General reasoning: tasks of the package reasoning-gym, each with its scorer as the verifier.

Scorers are foreign code that reads text of a model, so they run in processes with a time limit. Run
as a module, this file is such a process.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from realm.core.errors import ConfigError, DataError, suggest_nearest
from realm.core.records import Problem
from realm.core.settings import Section
from realm.core.workers import WorkerPool, serve
from realm.domains.domain import Domain
from realm.method.thoughts import split_thoughts
from realm.verify.extract import find_answer, find_tagged
from realm.verify.normal import repair_text
from realm.verify.number import read_number
from realm.verify.verifier import Verifier

# The first nine scorers run the answer, which a model wrote, as Python code. The last two run the
# gold answer, which anybody who can write problems.jsonl controls.
_SCORERS_OF_CODE = """
    binary_matrix countdown intermediate_integration n_queens polynomial_multiplication puzzle24
    simple_integration spiral_matrix string_insertion bitwise_arithmetic number_sorting
"""
RUNS_CODE = frozenset(_SCORERS_OF_CODE.split())
"""Tasks that are not offered, because their scorer runs text as code."""

NONSENSE = ("nan", "inf", "?", "no answer")
"""Answers that are wrong for every problem. A scorer that accepts one would pay for it in RL."""
NUM_PROBED = 3
"""Items of a task whose scorer is tried with answers that must be wrong."""
SECONDS = 10.0
"""Time limit for the score of one answer; one that takes longer is undecided."""

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
_MAX_GUESS = 20  # characters of an answer that could be one of a list of guesses
_HUGE_EXPONENT = re.compile(r"\d[eE][+-]?\d{4,}")  # Fraction("1e99999999") takes hours
_STATES_ANSWER = re.compile(r"\\boxed|^#### |\banswers?\b", re.IGNORECASE | re.MULTILINE)


class GymSizes(Section):
    """Number of problems of each split."""

    train: PositiveInt = 2000
    """Training problems."""
    validation: NonNegativeInt = 400
    """Validation problems."""
    test: PositiveInt = 600
    """Test problems."""
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

    def __init__(self, tasks: Mapping[str, Mapping[str, Any]]) -> None:
        """Keep the fields of each task, which make the dataset that scores its answers."""
        super().__init__("text")
        self._tasks = tasks
        self._pool = WorkerPool(__name__, SECONDS, [json.dumps(tasks)])

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
        """Return the verdict on each (answer, gold) pair; two answers are compared as texts."""
        verdicts: list[bool | None] = [self._compare_texts(*pair) for pair in pairs]
        asked = [place for place, verdict in enumerate(verdicts) if verdict is None]
        replies = self._pool.ask_all([pairs[place] for place in asked])
        for place, reply in zip(asked, replies, strict=True):
            verdicts[place] = None if reply is None else reply == "true"
        self.num_undecided += replies.count(None)
        return verdicts

    def render(self, answer: Any) -> str:
        """Return the text of an answer, or of a gold answer."""
        return str(answer["answer"] if isinstance(answer, dict) else answer)

    def _compare_texts(self, answer: Any, gold: Any) -> bool | None:
        """Return what needs no scorer: no answer, or two answers; `None` if one is needed."""
        if answer is None or gold is None or _HUGE_EXPONENT.search(str(answer)):
            return False
        if not isinstance(gold, dict):
            return str(answer).split() == str(gold).split()
        if gold["task"] not in self._tasks:
            raise DataError(
                f"problems.jsonl: holds a problem of the task {gold['task']}, and domain.tasks "
                f"names {', '.join(self._tasks)}. Run `realm data` again, or `realm run`."
            )
        return None


class ReasoningGymDomain(Domain):
    """Problems of one or several tasks, which take turns."""

    name = "reasoning_gym"

    def __init__(self, **settings: Any) -> None:
        """Take the settings of `domain.kind: reasoning_gym`: tasks, harder and sizes."""
        self.settings = GymSettings(kind="reasoning_gym", **settings)
        tasks = self.settings.tasks
        self._scorers = _make_scorers(tasks)
        self.verifier = GymVerifier(tasks)
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
            # In turn, so that the first problems of a split (evaluate.limit) are of all tasks.
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
        # The package seeds item i with seed + i, so that near seeds would share most items.
        digest = hashlib.sha256(f"{seed}:{split}:{task}".encode()).digest()
        start = int.from_bytes(digest[:8]) % 2**30
        num_repeated = num_rejected = index = 0
        probed: list[dict[str, Any]] = []
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
            # The task's own answer needs no process: it is no text of a model.
            if not _is_right(self._scorers[task], item["answer"], gold):
                num_rejected += 1
                continue
            if len(probed) < NUM_PROBED:
                probed.append(gold)
                self._refuse_bad_scorer(probed)
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

    def _refuse_bad_scorer(self, golds: Sequence[Mapping[str, Any]]) -> None:
        """Raise a ConfigError if the scorer of a task can be paid without solving its problems."""
        task, last = golds[-1]["task"], golds[-1]
        own = str(last["answer"])
        wrong = [answer for answer in NONSENSE if answer != own]
        # A scorer may compare as many characters as the answer has, or look for the gold anywhere.
        if read_number(own[:1]) != read_number(own):
            wrong.append(own[:1])
        for other in golds[:-1]:
            both = f"{other['answer']} or {own}"
            # Not of long answers: a plan that solves two puzzles one after the other is no guess.
            is_short = len(both) <= 2 * _MAX_GUESS and str(other["answer"]) != own
            if is_short and _is_right(self._scorers[task], both, other):
                wrong.append(both)
        for answer in wrong:
            if _is_right(self._scorers[task], answer, last):
                raise ConfigError(
                    f"domain.tasks.{task}: its scorer accepts the answer {answer!r} where {own!r} "
                    "is right, and reinforcement learning would learn to say it. Take the task "
                    "out."
                )


def _make_scorers(tasks: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {task: make_dataset(task, own, 0, "domain.tasks") for task, own in tasks.items()}


def _is_right(scorer: Any, answer: str, gold: Mapping[str, Any]) -> bool:
    """Return whether the scorer gives full marks; many give a part of them for a near answer."""
    try:
        return bool(scorer.score_answer(answer, gold) >= 1.0)
    except Exception:  # a scorer fails on what it cannot read, and that is not the answer
        return False


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
    # `composite` mixes any tasks, those of RUNS_CODE as well.
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


def _serve(tasks: str) -> None:
    """Score the (answer, gold) pairs of the process that asks."""
    scorers = _make_scorers(json.loads(tasks))
    serve(lambda pair: _is_right(scorers[pair[1]["task"]], *pair))


if __name__ == "__main__":
    _serve(sys.argv[1])
