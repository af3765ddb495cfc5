"""LLMs-as-Instructors (Ying et al., arXiv 2407.00497): train on problems like those got wrong.

The student answers training problems. For each error an instructor writes new problems of the same
kind with their chains of thought. The instructor is the function that `compare.instructor` names,
else the teacher of guided chains (`routes.teachers`), else the domain's own
(`Domain.make_instructor`).
"""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from realm.baselines.further import count_further_completions, train_further
from realm.core.errors import ConfigError
from realm.core.jsonl import read_problems
from realm.core.ranks import run_on_main
from realm.core.records import Problem, RouteSet
from realm.core.targets import load_target, user_errors
from realm.domains.domain import Exercise
from realm.method.prompt import render_prompt, render_reasoning
from realm.sampling import LazyPolicy, make_prompt, sample_and_judge
from realm.sources.plan import ask_expert, find_expert
from realm.sources.prompts import PromptWriter
from realm.verify.judge import earns_reward

if TYPE_CHECKING:
    from realm.run import Run
    from realm.verify.verifier import Verifier

logger = logging.getLogger(__name__)

# The two parts of a reply. Models like to put their names in bold or to make headings of them.
_EXERCISE = re.compile(
    r"^[ #*_]*problem[ *_]*:[*_]*(.*?)^[ #*_]*solution[ *_]*:[*_]*(.*)", re.I | re.M | re.S
)

Instructor = Callable[[Problem, Any, random.Random], Exercise | None]
"""Called with a problem, the student's wrong answer (`None` if it gave none) and a generator."""


def run_instructors(run: Run) -> None:
    """Train RUN/distilled on exercises written from its errors, and write RUN/model."""
    config, rollouts = run.config, count_further_completions(run)
    num_asked, errors = _find_errors(run, rollouts)
    problems = read_problems(run.path("problems.jsonl"))
    # Those of the test too: an exercise that repeats one would teach its answer.
    known = {problem.question for problem in problems}
    instructor = load_instructor(run, problems)
    if instructor is None:
        ask = partial(ask_for_exercises, run, errors, rollouts, known)
    else:
        ask = partial(write_exercises, errors, instructor, rollouts, known, seed=config.seed)
    exercises = run_on_main(lambda: list(ask()))
    counts = {"rollouts": num_asked, "errors": len(errors), "items": len(exercises)}
    logger.info("LLMs-as-Instructors: %s; the items are taught.", counts)
    run.record_figures(counts)
    rows = []
    for problem, (question, chain, answer) in exercises:
        alone = RouteSet(problem_id=problem.id)
        row = {
            "problem_id": problem.id,
            "prompt": render_prompt(question, alone, autonomous=config.prompt.autonomous),
            "completion": render_reasoning(chain, answer),
            "route": "instructor",
        }
        rows.append(row)
    title = "LLMs-as-Instructors (arXiv 2407.00497)"
    train_further(run, "instructors", rows, title, adds_opening=True)


def _find_errors(run: Run, count: int) -> tuple[int, list[tuple[Problem, Any]]]:
    """Return how many problems the student was asked, and (problem, answer) of those it got wrong.

    An undecided answer is not an error: nobody knows that it is wrong.
    """
    from realm.train.rl import select_rl_problems

    prompts = [make_prompt(problem, run.config) for problem in select_rl_problems(run)[:count]]
    policy = LazyPolicy(run.path("distilled"), run.config)
    file = run.work("instructors") / "answers.jsonl"
    groups = sample_and_judge(run, policy, prompts, file, mode="instructors")
    errors = [
        (prompt.problem, answer.judged.answer)
        for prompt, [answer] in zip(prompts, groups, strict=True)
        if answer.judged.correct is False
    ]
    return len(prompts), errors


def write_exercises(
    errors: Sequence[tuple[Problem, Any]],
    instructor: Instructor,
    count: int,
    known: set[str],
    *,
    seed: int,
) -> Iterator[tuple[Problem, Exercise]]:
    """Yield up to `count` (problem, exercise) pairs, error after error and round again.

    No question comes twice, and none is `known`. A round without a new exercise is the last.
    """
    seen, written = set(known), 0
    for turn in range(count):
        before = written
        for problem, answer in errors:
            if written == count:
                return
            # A generator of its own: an exercise does not depend on the other errors.
            rng = random.Random(f"instructor:{seed}:{turn}:{problem.id}")
            with user_errors("LLMs-as-Instructors", f"the instructor, asked about {problem.id!r},"):
                exercise = instructor(problem, answer, rng)
            if exercise is not None and exercise[0] not in seen:
                seen.add(exercise[0])
                written += 1
                yield problem, exercise
        if written == before:
            return  # the instructor has nothing new to say


def ask_for_exercises(
    run: Run, errors: Sequence[tuple[Problem, Any]], count: int, known: set[str]
) -> Iterator[tuple[Problem, Exercise]]:
    """Yield up to `count` (problem, exercise) pairs that the teacher writes, none of them `known`.

    Each error is asked for as many exercises as the teacher writes guided chains of a problem.
    """
    teacher, verifier, routes = find_expert(run), run.domain.verifier, run.config.routes
    assert teacher is not None and routes.kind == "collect"
    writer = PromptWriter(routes, run.domain, run.config.resolve)
    requests = [
        writer.write_request(
            problem,
            "exercise",
            sample,
            wrong="nothing" if answer is None else verifier.render(answer),
        )
        # Sample by sample, so that a limit leaves all errors with as many exercises.
        for sample in range(teacher.guided)
        for problem, answer in errors
    ]
    replies = ask_expert(run, teacher, requests[:count])
    seen = set(known)
    for request in requests[:count]:
        reply = replies.get(request.key)
        exercise = None if reply is None or reply.is_cut else read_exercise(reply.text, verifier)
        if exercise is not None and exercise[0] not in seen:
            seen.add(exercise[0])
            yield request.problem, exercise


def read_exercise(text: str, verifier: Verifier) -> Exercise | None:
    """Return the exercise in a reply; `None` if it lacks a part or states no usable answer."""
    found = _EXERCISE.search(text)
    if found is None:
        return None
    question, chain = found[1].strip(), found[2].strip()
    answer = verifier.extract(chain)
    if not question or answer is None or not earns_reward(answer, verifier):
        return None
    return question, chain, verifier.render(answer)


def load_instructor(run: Run, problems: Sequence[Problem]) -> Instructor | None:
    """Return who writes exercises; none of them repeats one of `problems`. `None`: the teacher.

    Raises:
        ConfigError: There is no instructor, or it cannot be loaded.
    """
    config = run.config
    if config.compare.instructor is not None:
        return load_target(
            config.compare.instructor, config.resolve("."), f"{config.source}: compare.instructor"
        )
    if find_expert(run) is not None:
        return None
    instructor = run.domain.make_instructor(problems)
    if instructor is None:
        raise ConfigError(
            f"{config.source}: compare.methods: instructors needs someone who writes new problems, "
            f"and the domain {config.domain.kind} has no make_instructor. Name a function in "
            "compare.instructor, set `guided` of a teacher in routes.teachers, or leave the method "
            "out."
        )
    return instructor
