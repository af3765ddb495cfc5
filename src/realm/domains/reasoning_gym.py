"""General reasoning: tasks of the reasoning-gym package, mixed as the config asks, each with its own scorer as the verifier."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from realm.config.domain import GymDomain
from realm.core.errors import ConfigError, DataError
from realm.core.records import Problem
from realm.domains.domain import Domain
from realm.method.thoughts import split_thoughts
from realm.verify.extract import Conclusion, find_answer, find_tagged
from realm.verify.normal import repair_text
from realm.verify.verifier import Verifier

EVALUATES_ANSWERS = frozenset(
    """
    binary_matrix countdown intermediate_integration n_queens polynomial_multiplication puzzle24 simple_integration spiral_matrix
    string_insertion
    """.split()  # noqa: SIM905
)
"""Tasks whose scorer runs the answer as Python code; text that a model wrote is never evaluated, so they are not offered."""
REPEATS, REJECTED = 1000, 20
"""So many items in a row whose question is known, or whose own answer the scorer rejects, and the task gives no more."""
CHUNK = 1000
"""Items of one of the package's datasets; the next one goes on where it ends. Some tasks lay out a whole dataset at once."""
DRAWN = ("test_rules", "test", "validation", "train")
"""The order in which splits are drawn: what is evaluated does not change with the size of `train`."""
_LONGEST = 20000
"""Characters of an answer; what is longer is no answer."""
_SAYS_SO = re.compile(r"\\boxed|^#### |\banswers?\b", re.IGNORECASE | re.MULTILINE)


class ReasoningGymDomain(Domain):
    """Problems of one or several tasks. The gold answer holds what the task's scorer needs: its name, answer and metadata."""

    name = "reasoning_gym"
    rules = None

    def __init__(self, **settings: Any) -> None:
        """Take the settings of `domain.kind: reasoning_gym`: tasks, harder and sizes."""
        self.settings = GymDomain(kind="reasoning_gym", **settings)
        self.verifier = GymVerifier(
            {
                task: make_dataset(task, own, 0, "domain.tasks")
                for task, own in self.settings.tasks.items()
            }
        )
        for task in self.settings.harder:
            make_dataset(task, self.settings.fields(task, "test_rules"), 0, "domain.harder")

    def problems(self, seed: int) -> list[Problem]:
        """Return the problems of every split, drawn from `seed`; tasks take turns, and no question comes twice."""
        seen: set[str] = set()
        drawn = {split: list(self._draw(split, seed, seen)) for split in DRAWN}
        return [problem for split in reversed(DRAWN) for problem in drawn[split]]

    def _draw(self, split: str, seed: int, seen: set[str]) -> Iterator[Problem]:
        size = getattr(self.settings.sizes, split)
        tasks = list(self.settings.harder if split == "test_rules" else self.settings.tasks)
        streams = {task: self._new(task, split, seed, seen) for task in (tasks if size else ())}
        for number in range(size):
            task = tasks[number % len(tasks)]
            entry = next(streams[task])
            gold = {"task": task, "answer": entry["answer"], "metadata": entry["metadata"]}
            identity = f"{task}-{split}-{number // len(tasks):05d}"
            yield Problem(
                id=identity,
                split=split,
                question=entry["question"].strip(),
                answer=gold,
                meta={"task": task},
            )

    def _new(self, task: str, split: str, seed: int, seen: set[str]) -> Iterator[dict[str, Any]]:
        """Yield the task's items that are new and whose own answer the scorer accepts, as they are read from a file again."""
        start = (
            int.from_bytes(hashlib.sha256(f"{seed}:{split}:{task}".encode()).digest()[:8]) % 2**30
        )
        repeats = rejected = index = 0
        while repeats < REPEATS and rejected < REJECTED:
            if index % CHUNK == 0:
                dataset = make_dataset(
                    task, self.settings.fields(task, split), start + index, "domain.tasks"
                )
            try:
                entry = json.loads(json.dumps(dataset[index % CHUNK], default=str))
            except Exception as error:  # foreign code on the user's settings may fail in any way
                raise DataError(
                    f"domain.tasks.{task}: reasoning-gym fails to make item {index} of {split}: {type(error).__name__}: {error}. "
                    "Change the fields of the task, or take it out."
                ) from error
            index += 1
            key = " ".join(entry["question"].split())
            if key in seen:
                repeats += 1
            elif not self.verifier.same(entry["answer"], {"task": task, **entry}):
                rejected += 1
            else:
                seen.add(key)
                repeats = rejected = 0
                yield entry
        why, cure = (
            f"the last {repeats} items repeat a question",
            "lower domain.sizes, or widen the fields of the task",
        )
        if rejected == REJECTED:
            why, cure = (
                f"its scorer rejects the task's own answer to {rejected} items",
                "take the task out",
            )
        raise DataError(
            f"domain.tasks.{task}: not enough problems for the split {split}: {why}. Try: {cure}."
        )


class GymVerifier(Verifier):
    """Asks the scorer of a problem's task."""

    def __init__(self, scorers: Mapping[str, Any]) -> None:
        super().__init__("text")
        self._scorers = scorers

    def extract(self, text: str) -> str | None:
        """Return the answer that `text` states, or all of a text in which nothing says where the answer is.

        An answer may be a grid or a list, so what an answer block holds is taken as it stands.
        """
        said = split_thoughts(repair_text(text))[1]
        answer = find_tagged(said)
        if answer is None:
            found = find_answer(said) if _SAYS_SO.search(said) else Conclusion(said, None)
            answer = found.text if found else ""
        return answer if 0 < len(answer) <= _LONGEST else None

    def _is_same(self, answer: Any, gold: Any) -> bool:
        """Tell whether the task's scorer gives `answer` full marks, or whether two answers that were said are one text."""
        if answer is None or gold is None:
            return False
        if not isinstance(gold, dict):
            return " ".join(str(answer).split()) == " ".join(str(gold).split())
        scorer = self._scorers.get(gold["task"])
        if scorer is None:
            raise DataError(
                f"problems.jsonl: holds a problem of the task {gold['task']}, and domain.tasks names {', '.join(self._scorers)}. "
                "Run `realm data` again, or `realm run` for all that follows from it."
            )
        try:
            return bool(scorer.score_answer(answer, gold) >= 1.0)
        except (
            Exception
        ):  # a foreign scorer on text that a model wrote: what it cannot read is not the answer
            return False

    def same_all(self, pairs: Sequence[tuple[Any, Any]]) -> list[bool | None]:
        """Return the verdict on each (answer, gold) pair."""
        return [self._is_same(answer, gold) for answer, gold in pairs]

    def render(self, answer: Any) -> str:
        """Return the text of an answer, or of the gold answer."""
        return answer["answer"] if isinstance(answer, dict) else str(answer)


def make_dataset(task: str, own: Mapping[str, Any], seed: int, where: str) -> Any:
    """Return a dataset of `task` with its fields as in `own`; `ConfigError` for what the package does not know."""
    try:
        from reasoning_gym.factory import DATASETS
    except ImportError:
        raise ConfigError(
            "domain.kind: reasoning_gym needs the package reasoning-gym. Try: pip install reasoning-gym"
        ) from None
    allowed = sorted(set(DATASETS) - EVALUATES_ANSWERS - {"composite"})
    if task in EVALUATES_ANSWERS:
        raise ConfigError(
            f"{where}.{task}: its scorer runs the answer as Python code, and text that a model wrote is never evaluated here. "
            f"Allowed: {', '.join(allowed)}."
        )
    if task not in allowed:
        raise ConfigError(
            f"{where}: reasoning-gym has no task {task!r}.{_near(task, allowed)} Allowed: {', '.join(allowed)}."
        )
    make, settings = DATASETS[task]
    known = [field.name for field in fields(settings) if field.name not in ("seed", "size")]
    if unknown := [name for name in own if name not in known]:
        raise ConfigError(
            f"{where}.{task}.{unknown[0]}: the task has no such field.{_near(unknown[0], known)} "
            f"Allowed: {', '.join(known)}; the seed is the run's and the size is in domain.sizes."
        )
    try:
        return make(config=settings(**own, seed=seed, size=CHUNK))
    except (AssertionError, TypeError, ValueError) as error:
        raise ConfigError(f"{where}.{task}: reasoning-gym refuses {dict(own)}: {error}.") from error


def _near(name: str, allowed: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, allowed, n=3)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
