"""LLMs-as-Instructors (Ying et al., arXiv 2407.00497): new items written from the student's errors, and training on them.

The student answers training problems; for each error the instructor writes new problems of the same kind with their chains.
The scripted expert is the instructor where it knows the domain (the same combination of rules, or another item of the same
task); elsewhere `compare.instructor` names a function that asks a teacher.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from realm.baselines.further import (
    completion_opening,
    rollouts_of,
    train_further,
    training_problems,
)
from realm.config.root import Config
from realm.core.errors import ConfigError
from realm.core.jsonl import read_problems
from realm.core.records import Problem, RouteSet
from realm.evaluate.ask import ask_about, ask_all
from realm.method.prompt import render_prompt, render_reasoning

if TYPE_CHECKING:
    from realm.run import Run

Item = tuple[str, str, str]
"""A new problem: question, chain of thought, and the text of its answer."""
Instructor = Callable[[Problem, str | None, random.Random], Item | None]


def run_instructors(run: Run) -> None:
    """Train RUN/distilled on items that the instructor writes from its errors, and write RUN/model."""
    config = run.config
    domain, rollouts = run.domain, rollouts_of(run)
    asked = [ask_about(problem, config) for problem in training_problems(run)[:rollouts]]
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
            errors, load_instructor(config, problems), rollouts, known=known, seed=config.seed
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
    load_instructor(run.config, [])


def can_instruct(config: Config) -> bool:
    """Tell whether there is somebody who writes new problems."""
    return config.compare.instructor is not None or config.domain.kind == "claims"


def load_instructor(config: Config, problems: Sequence[Problem]) -> Instructor:
    """Return the function that the config names, else the scripted expert; `ConfigError` where there is neither.

    The expert writes none of `problems` anew, in whatever words.
    """
    hook = config.compare.instructor
    if hook is not None:
        module, _, name = hook.partition(":")
        try:
            return getattr(import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise ConfigError(
                f"{config.source}: compare.instructor: {hook} cannot be loaded: {error}. It is `module:function`, a module on "
                "Python's path."
            ) from None
    if config.domain.kind == "claims":
        return _claims_expert(problems)
    raise ConfigError(
        f"{config.source}: compare.methods: instructors needs somebody who writes new problems, and the scripted expert does so "
        f"in the claims domain only, not in {config.domain.kind}. Name a function in compare.instructor, or leave it out."
    )


def _claims_expert(problems: Sequence[Problem]) -> Instructor:
    """Return the instructor of the claims domain: a new claim whose decision uses the same rules, with the expert's chain."""
    from realm.domains.claims.adjudicate import Claim
    from realm.domains.claims.generate import similar_problem
    from realm.sources.scripted import guided_chain

    taken = {Claim(**problem.meta["claim"]) for problem in problems}

    def write(problem: Problem, answer: str | None, rng: random.Random) -> Item | None:
        found = similar_problem(problem, rng, taken=taken)
        return found and (found.question, guided_chain(found).text, found.answer)

    return write
