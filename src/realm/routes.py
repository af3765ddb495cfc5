"""Stage `routes`: the route bank, by the scripted expert or by import, and a table of what it is worth."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from statistics import mean
from typing import Any

from realm.answers.vote import majority
from realm.config import Config, ScriptedRoutes
from realm.domains import load_domain
from realm.errors import ConfigError, DataError
from realm.importing import import_outputs
from realm.jsonl import read_problems, write_jsonl
from realm.progress import progress
from realm.records import Problem, Route
from realm.runs import Run

ALL_SOURCES = "all sources"


@dataclass(frozen=True, kw_only=True)
class SourceSummary:
    """What the routes of one source are worth on one group of problems."""

    group: str
    """`train`, or `evaluation` for the problems of every other split."""
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
    duplicates: float
    """Share of routes that repeat another route of the same problem and source."""
    unsaid: float
    """Share of routes that state no answer."""
    words: float


def run(config: Config, run: Run) -> None:
    """Write routes.jsonl and print what the bank is worth."""
    problems, domain = read_problems(run.path("problems.jsonl")), load_domain(config)
    if config.routes.kind == "import":
        imported = import_outputs(problems, domain, config.routes, resolve=config.resolve)
        print(imported.describe())
        routes = imported.routes
    else:
        routes = list(_scripted(problems, config))
    refuse_problems_without_routes(problems, routes, config.routes.held_out)
    write_jsonl(run.path("routes.jsonl"), routes)
    _print_table(bank_summary(problems, routes, domain.same), config.routes.held_out)


def bank_summary(problems: Iterable[Problem], routes: Iterable[Route], same: Callable[[Any, Any], bool]) -> list[SourceSummary]:
    """Return a summary per group of problems and source, and one over all sources where there are several.

    Guided chains do not count: they are taught, never shown.
    """
    by_id = {problem.id: problem for problem in problems}
    bank: dict[tuple[str, str], dict[str, list[Route]]] = defaultdict(lambda: defaultdict(list))
    for route in routes:
        if not route.guided:
            group = "train" if by_id[route.problem_id].split == "train" else "evaluation"
            for source in (route.source, ALL_SOURCES):
                bank[group, source][route.problem_id].append(route)
    summaries = []
    for group in ("train", "evaluation"):
        sources = sorted(source for there, source in bank if there == group and source != ALL_SOURCES)
        for source in [*sources, *([ALL_SOURCES] if len(sources) > 1 else [])]:
            summaries.append(_summarize(group, source, bank[group, source], by_id, same))
    return summaries


def refuse_problems_without_routes(problems: Sequence[Problem], routes: Iterable[Route], held_out: Sequence[str]) -> None:
    """Raise `DataError` where a training problem has no route to show, or an evaluation problem none of a held-out source."""
    sources: dict[str, set[str]] = defaultdict(set)
    for route in routes:
        if not route.guided:
            sources[route.problem_id].add(route.source)
    for group in ("training", "evaluation"):
        here = [problem for problem in problems if (problem.split == "train") == (group == "training")]
        if group == "training":
            lacking = [problem for problem in here if not sources[problem.id] - set(held_out)]
        else:
            lacking = [problem for problem in here if not sources[problem.id] & (set(held_out) or sources[problem.id])]
        if lacking:
            who = f"a source that is {'' if group == 'evaluation' else 'not '}held out" if held_out else "any source"
            raise DataError(
                f"problems.jsonl: {len(lacking)} of {len(here)} {group} problems have no route by {who}, the first is "
                f"{lacking[0].id!r}. Add routes for them, change routes.held_out ({', '.join(held_out) or 'none'}), or take the "
                "problems out."
            )


def _scripted(problems: Sequence[Problem], config: Config) -> Iterator[Route]:
    """Yield guided chains for the first training problems, routes for all of them, and held-out routes for the others."""
    expert = import_module(f"realm.teacher.{'gym_expert' if config.domain.kind == 'reasoning_gym' else 'scripted'}")
    settings: ScriptedRoutes = config.routes
    unknown = [source for source in [*settings.sources, *settings.held_out] if source not in expert.SLIPS]
    if unknown:
        raise ConfigError(f"routes: the scripted expert knows no source {unknown[0]!r}. Allowed: {', '.join(expert.SLIPS)}.")
    train = [problem for problem in problems if problem.split == "train"]
    guided, others = train[: settings.guided_problems], train[settings.guided_problems :]
    evaluation = [problem for problem in problems if problem.split != "train"]
    with progress("writing routes", len(problems)) as advance:
        for part, sources, count, with_guide in (
            (guided, settings.sources, settings.per_source, True),
            (others, settings.sources, settings.per_source, False),
            (evaluation, settings.held_out, settings.eval_routes, False),
        ):
            yield from expert.write_routes(part, sources=sources, per_source=count, guided=with_guide, seed=config.seed)
            advance(len(part))


def _summarize(
    group: str, source: str, bank: dict[str, list[Route]], by_id: dict[str, Problem], same: Callable[[Any, Any], bool]
) -> SourceSummary:
    sets = list(bank.values())
    routes = [route for routes in sets for route in routes]
    votes = [
        same(vote, by_id[identity].answer)
        for identity, routes_here in bank.items()
        for vote in [majority([route.answer for route in routes_here], same)]
    ]
    return SourceSummary(
        group=group,
        source=source,
        problems=len(sets),
        routes=len(routes),
        one=mean(mean(route.correct for route in routes) for routes in sets),
        majority=mean(votes),
        any=mean(any(route.correct for route in routes) for routes in sets),
        mixed=mean(len({route.correct for route in routes}) == 2 for routes in sets),
        duplicates=1 - sum(len({(route.source, route.text) for route in routes}) for routes in sets) / len(routes),
        unsaid=mean(route.answer is None for route in routes),
        words=mean(len(route.text.split()) for route in routes),
    )


def _print_table(summaries: Sequence[SourceSummary], held_out: Sequence[str]) -> None:
    """Print a table per group of problems that fits into 80 columns."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    heads = ["problems", "routes", "one", "major-\nity", "any", "mixed", "re-\npeated", "no\nanswer", "words"]
    for group in dict.fromkeys(row.group for row in summaries):
        title = f"Route bank, {group} problems (percent; held-out sources marked *)"
        table = Table("source", title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
        for head in heads:
            table.add_column(head, justify="right", no_wrap=True)
        for row in summaries:
            if row.group == group:
                shares = (row.one, row.majority, row.any, row.mixed, row.duplicates, row.unsaid)
                name = row.source + " *" * (row.source in held_out)
                percents = [f"{100 * share:.1f}" for share in shares]
                table.add_row(name, str(row.problems), str(row.routes), *percents, f"{row.words:.0f}")
        Console().print(table)
