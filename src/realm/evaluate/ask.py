"""Ask a model many prompts outside training: each answer judged, kept as its batch ends, and never asked for twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realm.config.root import Config
from realm.core.jsonl import append_jsonl, read_jsonl
from realm.core.progress import progress
from realm.core.records import Problem, Route, RouteSet
from realm.domains import Domain
from realm.evaluate.exam import judge as judge_row
from realm.method.prompt import escape_tags, render_prompt
from realm.verify.judge import judge


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One prompt, not yet in the model's chat template, and the routes that it shows."""

    problem: Problem
    prompt: str
    routes: RouteSet


def ask_about(problem: Problem, config: Config, routes: RouteSet | None = None) -> Asked:
    """Return the prompt of the config's templates: assisted where there are routes to show, else autonomous."""
    shown = routes or RouteSet(problem_id=problem.id)
    templates = {"autonomous": config.prompt.autonomous, "assisted": config.prompt.assisted}
    return Asked(
        problem=problem, prompt=render_prompt(problem.question, shown, **templates), routes=shown
    )


def ask_all(
    model: str,
    asked: Sequence[Asked],
    path: Path,
    *,
    config: Config,
    domain: Domain,
    description: str,
    num_samples: int = 1,
    temperature: float = 0.0,
) -> list[dict[str, Any]]:
    """Return a row per completion, prompt by prompt. Rows are appended to `path`; those there from before are kept.

    A row holds what was said, whether it is right, and its tokens (see `evaluate.judge`).
    """
    with append_jsonl(path) as append:  # opened first, because opening repairs a torn last line
        rows = read_jsonl(path)
        counts = Counter(row["number"] for row in rows)
        rows = [row for row in rows if counts[row["number"]] == num_samples]
        done = {row["number"] for row in rows}
        if len(done) < len(asked):
            rows += _ask(
                model, asked, done, append, config, domain, description, num_samples, temperature
            )
    return sorted(rows, key=lambda row: (row["number"], row["sample"]))


def _ask(
    model: str,
    asked: Sequence[Asked],
    done: set[int],
    append: Any,
    config: Config,
    domain: Domain,
    description: str,
    num_samples: int,
    temperature: float,
) -> list[dict[str, Any]]:
    from realm.policy import Policy  # torch loads here, once there is something to ask

    think_end = config.prompt.think_end
    policy = Policy(model, keep=[think_end] if think_end else [])
    rows: list[dict[str, Any]] = []
    with progress(description, total=len(asked) - len(done)) as advance:

        def keep(indices: list[int], completions: Sequence[Any]) -> None:
            for place, completion in enumerate(completions):
                number, sample = indices[place // num_samples], place % num_samples
                one = asked[number]
                row = {
                    "number": number,
                    "sample": sample,
                    "problem_id": one.problem.id,
                    "split": one.problem.split,
                }
                row |= judge_row(completion, one.problem, one.routes, domain, think_end)
                append(row)
                rows.append(row)
            advance(len(indices))

        policy.generate(
            [policy.render(one.prompt, config.prompt.system) for one in asked],
            max_new_tokens=config.evaluate.max_new_tokens,
            batch_tokens=config.evaluate.batch_tokens,
            seed=config.seed,
            temperature=temperature,
            num_samples=num_samples,
            skip=done,
            on_done=keep,
        )
    return rows


def own_route(
    problem: Problem, completion: str, domain: Domain, think_end: str | None = None
) -> Route:
    """Return a completion of the policy as a route, with the verifier's label."""
    verifier = domain.verifier
    judged = judge(completion, gold=problem.answer, verifier=verifier, think_end=think_end)
    rendered = None if judged.answer is None else verifier.render(judged.answer)
    return Route(
        problem_id=problem.id,
        source="self",
        text=own_text(completion, judged.reasoning, rendered),
        answer=judged.answer,
        correct=judged.correct,
    )


def own_text(completion: str, reasoning: str | None, answer: str | None) -> str:
    """Return the text of a route from a completion: its answer, then its reasoning; all of it where one of them is not said."""
    return f"{answer}\n{reasoning}" if answer and reasoning else escape_tags(completion).strip()
