"""LLMs-as-Instructors (Ying et al., arXiv 2407.00497): new items written from the student's errors, and training on them.

The student answers training problems; for each error the instructor writes new problems of the same kind with their chains.
The domain may be the instructor itself (`Domain.make_instructor`). Otherwise `compare.instructor`
names a function that asks a teacher.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from realm.baselines.further import completion_opening, rollouts_of, train_further
from realm.config.root import Config
from realm.core.errors import ConfigError
from realm.core.jsonl import read_problems
from realm.core.records import Problem, RouteSet
from realm.core.targets import load_target
from realm.domains import Domain, load_domain
from realm.evaluate.ask import ask_about, ask_all
from realm.method.prompt import render_prompt, render_reasoning
from realm.train.rl import select_rl_problems

if TYPE_CHECKING:
    from realm.run import Run

Item = tuple[str, str, str]
"""A new problem: question, chain of thought, and the text of its answer."""
Instructor = Callable[[Problem, str | None, random.Random], Item | None]


def run_instructors(run: Run) -> None:
    """Train RUN/distilled on items that the instructor writes from its errors, and write RUN/model."""
    config = run.config
    domain, rollouts = run.domain, rollouts_of(run)
    asked = [ask_about(problem, config) for problem in select_rl_problems(run)[:rollouts]]
    answers = ask_all(
        str(run.path("distilled")),
        asked,
        run.work("instructors") / "answers.jsonl",
        config=config,
        domain=domain,
        description="instructors: asking the student",
    )
    errors = [
        (asked[row["number"]].problem, row["judgement"]["answer"])
        for row in answers
        if not row["correct"]
    ]
    problems = read_problems(run.path("problems.jsonl"))
    known = {problem.question for problem in problems}
    items = list(
        new_items(
            errors,
            load_instructor(config, domain, problems),
            rollouts,
            known=known,
            seed=config.seed,
        )
    )
    print(
        f"LLMs-as-Instructors: {len(errors)} errors on {len(asked)} problems; {len(items)} new items are taught."
    )
    run.record_figures({"rollouts": len(asked), "errors": len(errors), "items": len(items)})
    opening = completion_opening(run)
    rows = [
        {
            "problem_id": problem.id,
            "prompt": render_prompt(
                question, RouteSet(problem_id=problem.id), autonomous=config.prompt.autonomous
            ),
            "completion": opening + render_reasoning(chain, answer),
            "route": "instructor",
        }
        for problem, (question, chain, answer) in items
    ]
    train_further(run, "instructors", rows, "LLMs-as-Instructors (arXiv 2407.00497)")


def new_items(
    errors: Sequence[tuple[Problem, str | None]],
    write: Instructor,
    count: int,
    *,
    known: set[str],
    seed: int,
) -> Iterator[tuple[Problem, Item]]:
    """Yield up to `count` (problem, new item) pairs, error after error and round again; no question comes twice.

    A round in which nothing new is written is the last one.
    """
    known, written = set(known), 0
    for turn in range(count):
        before = written
        for problem, answer in errors:
            if written == count:
                return
            item = write(problem, answer, random.Random(f"instructor:{seed}:{turn}:{problem.id}"))
            if item is not None and item[0] not in known:
                known.add(item[0])
                written += 1
                yield problem, item
        if written == before:
            return


def check_instructors(run: Run) -> None:
    """Raise a user's mistake in the settings of this stage, before any stage has spent time."""
    load_instructor(run.config, run.domain, [])


def can_instruct(config: Config) -> bool:
    """Return whether there is somebody who writes new problems."""
    return (
        config.compare.instructor is not None or load_domain(config).make_instructor([]) is not None
    )


def load_instructor(config: Config, domain: Domain, problems: Sequence[Problem]) -> Instructor:
    """Return the function that writes new problems: the config's, or else the domain's.

    Raises:
        ConfigError: There is neither.
    """
    if config.compare.instructor is not None:
        setting = f"{config.source}: compare.instructor"
        return load_target(config.compare.instructor, config.resolve("."), setting)
    instructor = domain.make_instructor(problems)
    if instructor is None:
        raise ConfigError(
            f"{config.source}: compare.methods: instructors needs somebody who writes new problems, "
            f"and the domain {domain.name} defines no make_instructor. Name a function in "
            "compare.instructor, or leave the method out."
        )
    return instructor
