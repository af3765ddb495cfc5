"""What the routes are worth without a model: one of them, their majority, the best of them."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, quantiles
from typing import TYPE_CHECKING, Any

from realm.bank.eligible import select_reported_routes
from realm.core.jsonl import write_json
from realm.core.records import Problem, Route, RouteSet
from realm.verify.verifier import majorities

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = "realm.bank/1"
ONE, MAJORITY, ANY = "one route", "majority", "any of K"
POOLED = "all"
"""In a `BankResult`, the source that stands for all sources together."""
ALL_SOURCES = "all sources"
"""The same in a `SourceSummary`."""
_PERCENTILES = (10, 25, 50, 75, 90)

SameAll = Callable[[Sequence[tuple[Any, Any]]], Sequence[bool | None]]
"""Compares (answer, gold) pairs, as `Verifier.same_all` does."""
Bank = Mapping[str, Sequence[Route]]
"""Routes by problem id."""


@dataclass(frozen=True, kw_only=True)
class BankResult:
    """The accuracy of one way to use the routes, on one split.

    Example: `BankResult(method="majority", source="hasty", k=4, outcomes={"p1": 1.0, "p2": 0.0},
    tokens_per_problem=None)`.
    """

    method: str
    """`one route` (the mean over a problem's routes), `majority` or `any of K`."""
    source: str | None
    """Whose routes; `None`: those that an assisted prompt shows; `all`: those of every source."""
    k: int
    """The most routes that a problem has."""
    outcomes: dict[str, float]
    """Problem id to outcome in [0, 1]; problems without such routes are left out."""
    tokens_per_problem: float | None
    """Tokens that the routes took to write; `None` if they were not counted."""


@dataclass(frozen=True, kw_only=True)
class SourceSummary:
    """What the routes of one source are worth on one group of problems.

    Example: of two problems with two routes each, one with both right and one with none,
    `SourceSummary(group="train", source="hasty", problems=2, routes=4, one=0.5, majority=0.5,
    any=0.5, mixed=0.0, majority_wrong=0.5, ...)`.
    """

    group: str
    """`train`, `evaluation` for the other splits, or `all` if no source is held out."""
    source: str
    problems: int
    routes: int
    one: float
    """Accuracy of one route: the mean over problems of the share of right routes."""
    majority: float
    """Accuracy of the answer given most often."""
    any: float
    """Share of problems that at least one route gets right."""
    mixed: float
    """Share of problems with right and wrong routes: those that can teach a verdict."""
    majority_wrong: float
    """Share of problems whose most frequent answer is wrong: those that teach to go against it."""
    repeated: float
    """Share of routes that repeat another route of the same problem and source."""
    no_answer: float
    """Share of routes that state no answer."""
    undecided: float
    """Share of routes that the verifier could not label; they count as not right."""
    words: dict[str, float]
    """Words of a route, by percentile: `p10` to `p90`."""


def label_majorities(sets: Sequence[Sequence[Route]], same_all: SameAll) -> list[bool | None]:
    """Return the label of each set's most frequent answer.

    It is `None` if no route answers, or if the answer's label is unknown.
    """
    answered = [[route for route in routes if route.answer is not None] for routes in sets]
    # Comparing answers is slow, and not needed where all routes have the same label.
    mixed = [routes for routes in answered if len({route.correct for route in routes}) > 1]
    votes = iter(majorities([[route.answer for route in routes] for routes in mixed], same_all))
    labels: list[bool | None] = []
    for routes in answered:
        if len({route.correct for route in routes}) > 1:
            voted = next(votes)
            routes = [route for route in routes if route.answer is voted]
        labels.append(routes[0].correct if routes else None)
    return labels


def evaluate_bank(
    problems: Sequence[Problem],
    shown: Mapping[str, RouteSet] | None,
    routes: Bank,
    same_all: SameAll,
) -> list[BankResult]:
    """Return the results of the routes shown, of each source, and of all sources together.

    The majority is the answer given most often, of equals the one shown first; routes without an
    answer do not vote. An undecided route is not right.

    Args:
        problems: The problems of one split.
        shown: The routes that assisted prompts show; `None` if no model is evaluated.
        routes: All routes of each problem.
        same_all: Compares answers.
    """
    written = {
        problem.id: select_reported_routes(routes.get(problem.id, ())) for problem in problems
    }
    sources = sorted({route.source for group in written.values() for route in group})
    groups: dict[str | None, Bank] = {}
    # The figures of each source add something only if they are not those of the routes shown.
    hides_some = True
    if shown is not None:
        groups[None] = {problem.id: shown[problem.id].routes for problem in problems}
        hides_some = any(len(group) > len(groups[None][id_]) for id_, group in written.items())
    if hides_some or len(sources) > 1:
        for source in sources:
            groups[source] = {
                id_: [route for route in group if route.source == source]
                for id_, group in written.items()
            }
    if len(sources) > 1:
        groups[POOLED] = written
    return [
        result
        for source, group in groups.items()
        for result in _score_bank(source, group, same_all)
    ]


def _score_bank(source: str | None, group: Bank, same_all: SameAll) -> list[BankResult]:
    bank = {id_: routes for id_, routes in group.items() if routes}
    if not bank:
        return []
    k = max(map(len, bank.values()))
    outcomes = {ONE: {id_: _share_right(routes) for id_, routes in bank.items()}}
    # With one route a problem, its majority and the best of it are that route.
    if k > 1:
        labels = label_majorities(list(bank.values()), same_all)
        pairs = zip(bank, labels, strict=True)
        outcomes[MAJORITY] = {id_: float(label is True) for id_, label in pairs}
        outcomes[ANY] = {id_: float(share > 0) for id_, share in outcomes[ONE].items()}
    counts = [
        [route.usage.get("completion_tokens") for route in routes] for routes in bank.values()
    ]
    tokens: dict[str, float] = {}
    known = [[count for count in group if count is not None] for group in counts]
    # Only if every route was counted: a mean over some of them would mislead.
    if known == counts:
        tokens = dict.fromkeys(outcomes, fmean(map(sum, known)))
        # One route costs the mean of a problem's routes; the other ways need all of them.
        tokens[ONE] = fmean(map(fmean, known))
    return [
        BankResult(
            method=method,
            source=source,
            k=k,
            outcomes=outcomes[method],
            tokens_per_problem=tokens.get(method),
        )
        for method in outcomes
    ]


def write_bank(
    path: Path,
    problems: Iterable[Problem],
    routes: Iterable[Route],
    same_all: SameAll,
    *,
    held_out: Sequence[str],
) -> list[SourceSummary]:
    """Write bank.json and return what it holds: a summary per group of problems and source."""
    summaries = summarize_bank(problems, routes, same_all, held_out=held_out)
    write_json(path, {"schema": SCHEMA, "sources": [asdict(summary) for summary in summaries]})
    return summaries


def summarize_bank(
    problems: Iterable[Problem],
    routes: Iterable[Route],
    same_all: SameAll,
    *,
    held_out: Sequence[str] = (),
) -> list[SourceSummary]:
    """Return a summary per group of problems and source, and one over all sources of a group.

    If sources are held out, training and evaluation show other routes and are two groups.
    """
    split = {problem.id: problem.split for problem in problems}
    bank: dict[tuple[str, str], dict[str, list[Route]]] = defaultdict(lambda: defaultdict(list))
    for route in select_reported_routes(routes):
        group = "train" if split[route.problem_id] == "train" else "evaluation"
        for source in (route.source, ALL_SOURCES):
            bank[group if held_out else "all", source][route.problem_id].append(route)
    summaries = []
    for group in ("all", "train", "evaluation"):
        sources = sorted(name for place, name in bank if place == group and name != ALL_SOURCES)
        for source in [*sources, *([ALL_SOURCES] if len(sources) > 1 else [])]:
            sets = list(bank[group, source].values())
            summaries.append(_summarize_source(group, source, sets, same_all))
    return summaries


def _summarize_source(
    group: str, source: str, sets: Sequence[Sequence[Route]], same_all: SameAll
) -> SourceSummary:
    routes = [route for one in sets for route in one]
    votes = label_majorities(sets, same_all)
    labels = [{route.correct for route in one} for one in sets]
    # Sources that say the same are no repetition; one source that says it twice is.
    num_distinct = sum(len({(route.source, route.text) for route in one}) for one in sets)
    lengths = [len(route.text.split()) for route in routes]
    # `quantiles` needs two values; the percentiles of one value are that value.
    cuts = quantiles(lengths, n=100, method="inclusive") if len(lengths) > 1 else lengths * 99
    return SourceSummary(
        group=group,
        source=source,
        problems=len(sets),
        routes=len(routes),
        one=fmean(map(_share_right, sets)),
        majority=fmean(vote is True for vote in votes),
        any=fmean(True in found for found in labels),
        mixed=fmean({True, False} <= found for found in labels),
        majority_wrong=fmean(vote is False for vote in votes),
        repeated=1 - num_distinct / len(routes),
        no_answer=fmean(route.answer is None for route in routes),
        undecided=fmean(route.correct is None for route in routes),
        words={f"p{point}": round(cuts[point - 1], 1) for point in _PERCENTILES},
    )


def _share_right(routes: Sequence[Route]) -> float:
    return fmean(route.correct is True for route in routes)


_HEADS = {
    "one": "one",
    "majority": "major-\nity",
    "any": "any",
    "mixed": "mixed",
    "majority_wrong": "maj.\nwrong",
    "repeated": "re-\npeat",
    "no_answer": "no\nans.",
    "undecided": "un-\ndec.",
}
"""Figures of a `SourceSummary` and their heads, short enough for a table of 80 columns."""


def format_bank(summaries: Sequence[SourceSummary], held_out: Sequence[str] = ()) -> str:
    """Return a table per group of problems, in percent, 80 columns wide."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    text = io.StringIO()
    console = Console(file=text, width=80, markup=False)
    figures = [
        name
        for name in _HEADS
        # Nearly always 0, and the table has no room to spare.
        if name != "undecided" or any(summary.undecided for summary in summaries)
    ]
    for group in dict.fromkeys(summary.group for summary in summaries):
        title = f"Route bank, {group} problems (percent{'; * held out' if held_out else ''})"
        table = Table(
            title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0, pad_edge=False
        )
        # A long name takes more lines rather than the columns of the figures.
        table.add_column("source", overflow="fold")
        heads = [_HEADS[name] for name in figures]
        for head in ("prob-\nlems", "routes", *heads, "words\n10/50/90%"):
            table.add_column(head, justify="right", no_wrap=True)
        for summary in summaries:
            if summary.group == group:
                percents = [f"{100 * getattr(summary, name):.1f}" for name in figures]
                words = "/".join(f"{summary.words[name]:.0f}" for name in ("p10", "p50", "p90"))
                name = summary.source + " *" * (summary.source in held_out)
                table.add_row(name, str(summary.problems), str(summary.routes), *percents, words)
        console.print(table)
    return text.getvalue().rstrip()
