"""Stage `routes`: the route bank, by the scripted expert, by import or from teachers, and what it is worth."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from realm.bank.eligible import select_evaluation_routes, select_training_routes
from realm.bank.statistics import print_bank, write_bank
from realm.config.root import Config, ScriptedRoutes
from realm.core.errors import DataError
from realm.core.jsonl import read_problems, read_routes, write_jsonl
from realm.core.records import Problem, Route
from realm.core.targets import user_errors
from realm.domains import Domain, require_expert
from realm.sources import plan as collecting
from realm.sources.importing import import_outputs

if TYPE_CHECKING:
    from realm.run import Run


def run_routes(run: Run) -> None:
    """Write routes.jsonl and bank.json, and print what the bank is worth."""
    config = run.config
    problems, domain = read_problems(run.path("problems.jsonl")), run.domain
    if config.routes.kind == "import":
        imported = import_outputs(problems, domain, config.routes, resolve=config.resolve)
        print(imported.describe())
        run.record_figures(
            {"rows_left_out": len(imported.bad), "rows_of_no_problem": len(imported.unmatched)}
        )
        routes = imported.routes
    elif config.routes.kind == "collect":
        routes = collecting.collect_routes(run, problems)
    else:
        routes = _ask_domain(domain, problems, config)
    write_jsonl(run.path("routes.jsonl"), routes)
    summaries = write_bank(
        run.path("bank.json"),
        problems,
        routes,
        domain.verifier.same_all,
        held_out=config.routes.held_out,
    )
    for gap in gaps(problems, routes, config.routes.held_out):
        print(gap)
    print_bank(summaries, config.routes.held_out)


def estimate(run: Run) -> str | None:
    """Return what the stage would cost; `None` where it asks no teacher."""
    return collecting.estimate(run) if run.config.routes.kind == "collect" else None


def require_routes(run: Run) -> None:
    """Raise `DataError` where no training or no evaluation problem has a route, before a long stage finds out."""
    problems, shown = (
        read_problems(run.path("problems.jsonl")),
        read_routes(run.path("routes.jsonl")),
    )
    for group, here, with_routes in _groups(problems, shown, run.config.routes.held_out):
        if not with_routes:
            raise DataError(
                f"{run.path('routes.jsonl')}: none of the {len(here)} {group} problems has a route by "
                f"{_whose(group, run.config.routes.held_out)}, so that no prompt could show any. Add routes or problems, change "
                f"routes.held_out ({', '.join(run.config.routes.held_out) or 'none'}), or change the splits."
            )


def gaps(
    problems: Sequence[Problem], routes: Sequence[Route], held_out: Sequence[str]
) -> list[str]:
    """Return a line for each group of problems some of which have no route to show; such problems are not evaluated."""
    lines = []
    for group, here, with_routes in _groups(problems, routes, held_out):
        if lacking := [problem.id for problem in here if problem.id not in with_routes]:
            what = f"{len(lacking)} of {len(here)} {group} problems have no route by {_whose(group, held_out)}"
            lines.append(f"{what}, the first is {lacking[0]!r}")
    return lines


def _groups(
    problems: Sequence[Problem], routes: Sequence[Route], held_out: Sequence[str]
) -> Iterator[tuple[str, list[Problem], Collection[str]]]:
    """Yield the training and the evaluation problems, each with the ids of those that have a route to show."""
    for group, select in (
        ("training", select_training_routes),
        ("evaluation", select_evaluation_routes),
    ):
        here = [
            problem for problem in problems if (problem.split == "train") == (group == "training")
        ]
        yield group, here, select(routes, held_out, {problem.id for problem in here}).keys()


def _whose(group: str, held_out: Sequence[str]) -> str:
    return (
        f"a source that is {'' if group == 'evaluation' else 'not '}held out"
        if held_out
        else "any source"
    )


def _ask_domain(domain: Domain, problems: Sequence[Problem], config: Config) -> list[Route]:
    """Return the routes that the domain writes itself; ConfigError if it cannot."""
    settings: ScriptedRoutes = config.routes
    require_expert(domain, [*settings.sources, *settings.held_out], f"{config.source}: routes")
    with user_errors(f"{config.source}: routes.kind: scripted", f"{domain.name}.write_routes"):
        routes = list(domain.write_routes(problems, settings, config.seed))
    known = {problem.id for problem in problems}
    for route in routes:
        if not isinstance(route, Route) or route.problem_id not in known:
            raise DataError(
                f"{config.source}: routes.kind: scripted: {domain.name}.write_routes gave {route!r}. "
                "It must give realm.Route objects for the problems that it is called with."
            )
    return routes
