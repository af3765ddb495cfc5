"""What the routes are worth without a model that reads them: one of them, their majority, and the best of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from realm.bank.eligible import select_reported_routes
from realm.core.records import Problem, Route, RouteSet
from realm.verify.vote import majorities

ONE, MAJORITY, ANY = "one route", "majority", "any of K"
SameAll = Callable[[Sequence[tuple[Any, Any]]], Sequence[bool | None]]
POOLED = "all"
"""The source that stands for all sources together."""


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


def majority_labels(sets: Sequence[Sequence[Route]], same_all: SameAll) -> list[bool | None]:
    """Return for each set of routes the label of the answer that most of them give.

    It is `None` where none gives any, or the label is unknown. Where all have one label that is it: comparing is slow.
    """
    said = [[route for route in routes if route.answer is not None] for routes in sets]
    mixed = [routes for routes in said if len({route.correct for route in routes}) > 1]
    votes = iter(majorities([[route.answer for route in routes] for routes in mixed], same_all))
    labels: list[bool | None] = []
    for routes in said:
        if len({route.correct for route in routes}) > 1:
            voted = next(votes)
            routes = [route for route in routes if route.answer is voted]
        labels.append(routes[0].correct if routes else None)
    return labels


def evaluate_bank(
    problems: Sequence[Problem],
    shown: Mapping[str, RouteSet] | None,
    routes: Mapping[str, Sequence[Route]],
    same_all: SameAll,
) -> list[BankResult]:
    """Return the figures of the routes shown, then of each source and of all together, where those are others.

    `shown` is `None` where no model is shown any. The majority is the answer given most often, of equals the one shown
    first; routes that give no answer do not vote. A route without a label is not right.
    """
    written = {
        problem.id: select_reported_routes(routes.get(problem.id, ())) for problem in problems
    }
    sources = sorted({route.source for group in written.values() for route in group})
    groups: dict[str | None, Mapping[str, Sequence[Route]]] = {}
    if shown is not None:
        groups[None] = {problem.id: shown[problem.id].routes for problem in problems}
    if (
        shown is None
        or len(sources) > 1
        or any(len(group) > len(shown[id_].routes) for id_, group in written.items())
    ):
        for source in sources:
            groups[source] = {
                id_: [route for route in group if route.source == source]
                for id_, group in written.items()
            }
    if len(sources) > 1:
        groups[POOLED] = written
    return [
        result for source, group in groups.items() for result in _figures(source, group, same_all)
    ]


def _figures(
    source: str | None, group: Mapping[str, Sequence[Route]], same_all: SameAll
) -> list[BankResult]:
    bank = {id_: routes for id_, routes in group.items() if routes}
    if not bank:
        return []
    k = max(map(len, bank.values()))
    tokens = [
        [route.usage.get("completion_tokens") for route in routes] for routes in bank.values()
    ]
    known = all(count is not None for counts in tokens for count in counts)
    one = {id_: fmean(route.correct is True for route in routes) for id_, routes in bank.items()}
    tokens_one = fmean(fmean(counts) for counts in tokens) if known else None
    figures = [
        BankResult(method=ONE, source=source, k=k, outcomes=one, tokens_per_problem=tokens_one)
    ]
    if k > 1:
        labels = majority_labels(list(bank.values()), same_all)
        voted = {id_: float(label is True) for id_, label in zip(bank, labels, strict=True)}
        best = {id_: float(any(route.correct for route in routes)) for id_, routes in bank.items()}
        tokens_all = fmean(sum(counts) for counts in tokens) if known else None
        figures += [
            BankResult(
                method=method, source=source, k=k, outcomes=outcomes, tokens_per_problem=tokens_all
            )
            for method, outcomes in ((MAJORITY, voted), (ANY, best))
        ]
    return figures
