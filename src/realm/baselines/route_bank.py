"""What the routes are worth without a model that reads them: one of them, their majority, and the best of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from realm.answers.vote import majority
from realm.records import Problem, Route, RouteSet

ONE, MAJORITY, ANY = "one route", "majority", "any of K"


@dataclass(frozen=True, kw_only=True)
class BankResult:
    """One way to use the routes, on one split."""

    method: str
    """`one route` (the mean over a problem's routes), `majority` or `any of K`."""
    source: str | None
    """Whose routes; `None`: those that an assisted prompt shows; `all`: those of every source."""
    k: int
    """The most routes that a problem has."""
    outcomes: dict[str, float]
    """Problem id to outcome in [0, 1]; problems without such routes are left out."""
    tokens_per_problem: float | None
    """Tokens that the routes took to write; `None` where nobody counted."""


def shown_routes(problem_id: str, routes: Sequence[Route], *, held_out: Sequence[str], count: int, seed: int) -> RouteSet:
    """Return the routes that an assisted prompt shows in evaluation: up to `count` of the held-out sources.

    Which ones, and in which order, is drawn by a hash of seed, problem and text, never by label. Where no source is held
    out, all of them count. Guided chains are never shown.
    """
    pool = [route for route in routes if not route.guided and (route.source in held_out or not held_out)]

    def draw(route: Route) -> bytes:
        return hashlib.sha256(f"{seed}\n{problem_id}\n{route.source}\n{route.text}".encode(errors="replace")).digest()

    return RouteSet(problem_id=problem_id, routes=tuple(sorted(pool, key=draw)[:count]))


def evaluate_bank(
    problems: Sequence[Problem],
    shown: Mapping[str, RouteSet],
    routes: Mapping[str, Sequence[Route]],
    same: Callable[[Any, Any], bool],
) -> list[BankResult]:
    """Return the figures of the routes shown, then of each source and of all together, where those are others.

    The majority is the answer given most often, of equals the one shown first; routes that give no answer do not vote.
    """
    written = {problem.id: [route for route in routes.get(problem.id, ()) if not route.guided] for problem in problems}
    sources = sorted({route.source for group in written.values() for route in group})
    groups: dict[str | None, Mapping[str, Sequence[Route]]] = {
        None: {problem.id: shown[problem.id].routes for problem in problems}
    }
    if len(sources) > 1 or any(len(group) > len(shown[id_].routes) for id_, group in written.items()):
        for source in sources:
            groups[source] = {id_: [route for route in group if route.source == source] for id_, group in written.items()}
    if len(sources) > 1:
        groups["all"] = written
    return [result for source, group in groups.items() for result in _figures(problems, source, group, same)]


def _figures(
    problems: Sequence[Problem], source: str | None, group: Mapping[str, Sequence[Route]], same: Callable[[Any, Any], bool]
) -> list[BankResult]:
    counted = [problem for problem in problems if group[problem.id]]
    if not counted:
        return []
    k = max(len(group[problem.id]) for problem in counted)
    tokens = [[route.usage.get("completion_tokens") for route in group[problem.id]] for problem in counted]
    known = all(count is not None for counts in tokens for count in counts)
    one, any_, voted = {}, {}, {}
    for problem in counted:
        chains = group[problem.id]
        one[problem.id] = fmean(chain.correct for chain in chains)
        any_[problem.id] = float(any(chain.correct for chain in chains))
        voted[problem.id] = float(same(majority([chain.answer for chain in chains], same), problem.answer))
    tokens_one = fmean(fmean(counts) for counts in tokens) if known else None
    tokens_all = fmean(sum(counts) for counts in tokens) if known else None
    figures = [BankResult(method=ONE, source=source, k=k, outcomes=one, tokens_per_problem=tokens_one)]
    if k > 1:
        figures += [
            BankResult(method=MAJORITY, source=source, k=k, outcomes=voted, tokens_per_problem=tokens_all),
            BankResult(method=ANY, source=source, k=k, outcomes=any_, tokens_per_problem=tokens_all),
        ]
    return figures
