"""The route bank in figures: what each source's routes are worth, what they can teach, how long they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, quantiles

from realm.bank.eligible import select_reported_routes
from realm.bank.worth import SameAll, majority_labels
from realm.core.jsonl import write_json
from realm.core.records import Problem, Route

SCHEMA = "realm.bank/1"
ALL_SOURCES = "all sources"
POINTS = (10, 25, 50, 75, 90)
"""Percentiles of length that a summary holds."""


@dataclass(frozen=True, kw_only=True)
class SourceSummary:
    """What the routes of one source are worth on one group of problems."""

    group: str
    """`train`, `evaluation` for the problems of every other split, or `all` where no source is held out."""
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
    """Share of problems whose most frequent answer is wrong: those that can teach to go against it."""
    repeated: float
    """Share of routes that repeat another route of the same problem and source."""
    no_answer: float
    """Share of routes that state no answer."""
    undecided: float
    """Share of routes whose answer the verifier could not compare in its time; they count as not right."""
    words: dict[str, float]
    """Words of a route, by percentile: `p10` to `p90`."""


def write_bank(
    path: Path,
    problems: Iterable[Problem],
    routes: Iterable[Route],
    same_all: SameAll,
    *,
    held_out: Sequence[str],
) -> list[SourceSummary]:
    """Write bank.json and return what it holds: a summary per group of problems and source."""
    summaries = bank_summary(problems, routes, same_all, held_out=held_out)
    write_json(path, {"schema": SCHEMA, "sources": [asdict(summary) for summary in summaries]})
    return summaries


def bank_summary(
    problems: Iterable[Problem],
    routes: Iterable[Route],
    same_all: SameAll,
    *,
    held_out: Sequence[str] = (),
) -> list[SourceSummary]:
    """Return a summary per group of problems and source, and one over all sources where there are several.

    With sources held out, training and evaluation see other routes, so that they are two groups. Guided chains do not
    count: they are taught, never shown.
    """
    split = {problem.id: problem.split for problem in problems}
    bank: dict[tuple[str, str], dict[str, list[Route]]] = defaultdict(lambda: defaultdict(list))
    for route in select_reported_routes(routes):
        group = "train" if split[route.problem_id] == "train" else "evaluation"
        for source in (route.source, ALL_SOURCES):
            bank[group if held_out else "all", source][route.problem_id].append(route)
    summaries = []
    for group in ("all", "train", "evaluation"):
        sources = sorted(
            source for there, source in bank if there == group and source != ALL_SOURCES
        )
        for source in [*sources, *([ALL_SOURCES] if len(sources) > 1 else [])]:
            summaries.append(
                _summarize(group, source, list(bank[group, source].values()), same_all)
            )
    return summaries


def _summarize(
    group: str, source: str, sets: Sequence[Sequence[Route]], same_all: SameAll
) -> SourceSummary:
    routes = [route for routes in sets for route in routes]
    votes = majority_labels(sets, same_all)
    labels = [{route.correct for route in routes_here} for routes_here in sets]
    return SourceSummary(
        group=group,
        source=source,
        problems=len(sets),
        routes=len(routes),
        one=fmean(fmean(route.correct is True for route in routes_here) for routes_here in sets),
        majority=fmean(vote is True for vote in votes),
        any=fmean(True in said for said in labels),
        mixed=fmean({True, False} <= said for said in labels),
        majority_wrong=fmean(vote is False for vote in votes),
        repeated=1
        - sum(len({(route.source, route.text) for route in routes_here}) for routes_here in sets)
        / len(routes),
        no_answer=fmean(route.answer is None for route in routes),
        undecided=fmean(route.correct is None for route in routes),
        words=_percentiles([len(route.text.split()) for route in routes]),
    )


def _percentiles(values: Sequence[int]) -> dict[str, float]:
    cuts = quantiles(values, n=100, method="inclusive") if len(values) > 1 else list(values) * 99
    return {f"p{point}": round(cuts[point - 1], 1) for point in POINTS}


def print_bank(summaries: Sequence[SourceSummary], held_out: Sequence[str] = ()) -> None:
    """Print a table per group of problems that fits into 80 columns."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    heads = [
        "prob-\nlems",
        "routes",
        "one",
        "major-\nity",
        "any",
        "mixed",
        "maj.\nwrong",
        "re-\npeat",
        "no\nans.",
    ]
    undecided = any(row.undecided for row in summaries)
    heads += [*(["un-\ndec."] if undecided else []), "words\n10/50/90%"]
    for group in dict.fromkeys(row.group for row in summaries):
        title = f"Route bank, {group} problems (percent{'; * held out' if held_out else ''})"
        table = Table(
            "source",
            title=title,
            title_justify="left",
            box=box.SIMPLE_HEAD,
            padding=0,
            pad_edge=False,
        )
        table.columns[0].overflow = "fold"
        for head in heads:
            table.add_column(head, justify="right", no_wrap=True)
        for row in summaries:
            if row.group == group:
                shares = [
                    row.one,
                    row.majority,
                    row.any,
                    row.mixed,
                    row.majority_wrong,
                    row.repeated,
                    row.no_answer,
                ]
                percents = [
                    f"{100 * share:.1f}"
                    for share in [*shares, *([row.undecided] if undecided else [])]
                ]
                words = "/".join(f"{row.words[point]:.0f}" for point in ("p10", "p50", "p90"))
                name = row.source + " *" * (row.source in held_out)
                table.add_row(name, str(row.problems), str(row.routes), *percents, words)
        Console().print(table)
