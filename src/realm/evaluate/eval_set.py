"""The evaluation set: the problems that every method answers, and the routes that prompts show."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from realm.bank.draw import draw_evaluation_sets
from realm.bank.worth import evaluate_bank
from realm.core.errors import DataError
from realm.core.jsonl import read_problems, read_routes
from realm.evaluate.records import Measurement

if TYPE_CHECKING:
    from realm.core.records import Problem, Route, RouteSet
    from realm.run import Run

SPLITS = ("test", "test_rules", "test_larger")
ALL_PROBLEMS = "all"
"""The split of a run without a model. Nothing is trained, so no problem need be held back."""


@dataclass(frozen=True, kw_only=True)
class EvalSet:
    """The problems of each split, and the routes that an assisted prompt shows.

    Example: `EvalSet(splits={"test": [problem]}, shown={"p1": RouteSet(...)}, routes={})`.
    """

    splits: Mapping[str, Sequence[Problem]]
    shown: Mapping[str, RouteSet] | None
    """Routes by problem; `None` if no prompt shows any: without a model, or without routes."""
    routes: Mapping[str, Sequence[Route]]
    """All routes of each problem, in the order of routes.jsonl."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Number of problems of a split that have no route to show. No method is asked them."""

    @property
    def problems(self) -> list[Problem]:
        """The problems of all splits, split by split."""
        return [problem for problems in self.splits.values() for problem in problems]


def load_eval_set(run: Run) -> EvalSet:
    """Return the problems and the routes that evaluation uses.

    Raises:
        DataError: The split test is empty, or no problem of a split has a route to show (unless
            the run has no routes at all).
    """
    config = run.config
    problems = read_problems(run.path("problems.jsonl"))
    bank = read_routes(run.path("routes.jsonl"))
    routes: dict[str, list[Route]] = defaultdict(list)
    for route in bank:
        routes[route.problem_id].append(route)
    if config.model is None:
        return EvalSet(splits={ALL_PROBLEMS: problems}, shown=None, routes=routes)
    limits: Mapping[Any, int | None] = config.evaluate.limit
    splits = {}
    for split in SPLITS:
        members = [problem for problem in problems if problem.split == split]
        if members:  # a domain need not have the others
            splits[split] = members[: limits.get(split)]
    if "test" not in splits:
        raise DataError(_explain_empty_test(run, problems))
    if config.routes.kind == "none" or config.evaluate.routes == 0:
        return EvalSet(splits=splits, shown=None, routes=routes)
    shown = draw_evaluation_sets(
        [problem.id for members in splits.values() for problem in members],
        bank,
        held_out=config.routes.held_out,
        count=config.evaluate.routes,
        seed=config.seed,
    )
    # All methods and modes are asked the same problems, so that they can be paired.
    asked = {
        split: [problem for problem in members if shown[problem.id].routes]
        for split, members in splits.items()
    }
    for split, members in asked.items():
        if not members:
            raise DataError(_explain_missing_routes(run, split))
    num_missing = {split: len(splits[split]) - len(members) for split, members in asked.items()}
    left_out = {split: count for split, count in num_missing.items() if count}
    return EvalSet(splits=asked, shown=shown, routes=routes, left_out=left_out)


def measure_routes(eval_set: EvalSet, run: Run, *, every_source: bool = True) -> list[Measurement]:
    """Return what the routes that prompts show are worth if no model reads them.

    With `every_source` the routes of each source and of all together are measured too.
    """
    same_all = run.domain.verifier.same_all
    # Without the bank only the routes that prompts show are left to measure.
    routes = eval_set.routes if every_source else {}
    measurements = []
    for split, problems in eval_set.splits.items():
        key_of = {problem.id: make_problem_key(problem) for problem in problems}
        for result in evaluate_bank(problems, eval_set.shown, routes, same_all):
            measurements.append(
                Measurement(
                    method=result.method,
                    mode="routes",
                    split=split,
                    seed=run.config.seed,
                    outcomes={key_of[id_]: right for id_, right in result.outcomes.items()},
                    tokens_per_problem=result.tokens_per_problem,
                    source=result.source,
                    figures={"k": result.k},
                )
            )
    return measurements


def make_problem_key(problem: Problem) -> str:
    """Return a name for a problem that two seeds share only if the question is the same."""
    # Two seeds draw other problems under the same ids, such as "test-1".
    # A question may hold half of a surrogate pair, which has no encoding.
    digest = hashlib.sha256(problem.question.encode(errors="replace")).hexdigest()
    return f"{problem.id}:{digest[:12]}"


def _explain_empty_test(run: Run, problems: Sequence[Problem]) -> str:
    counts = Counter(problem.split for problem in problems)
    found = ", ".join(f"{split} ({count})" for split, count in counts.items())
    return (
        f"{run.path('problems.jsonl')}: the split test is empty, and evaluation reads it. "
        f"Found: {found or 'no problems'}. Give some problems the split test, by a split column "
        "or by the shares in domain.splits."
    )


def _explain_missing_routes(run: Run, split: str) -> str:
    sources = ", ".join(run.config.routes.held_out) or "any source"
    return (
        f"{run.path('routes.jsonl')}: no problem of the split {split} has a route of the held-out "
        f"sources ({sources}), so that no assisted prompt can be shown. Add routes, or hold out a "
        "source that covers the split (routes.held_out)."
    )
