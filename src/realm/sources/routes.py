"""Stage `routes`: the route bank, by import, from teachers, by the domain's expert, or empty."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from realm.bank.eligible import select_evaluation_routes, select_training_routes
from realm.bank.worth import format_bank, write_bank
from realm.core.errors import DataError
from realm.core.jsonl import read_problems, read_routes, write_jsonl
from realm.core.records import Problem, Route
from realm.core.targets import user_errors
from realm.domains import require_expert
from realm.domains.corrections import CORRECTIONS, correct_routes, read_corrections
from realm.sources.estimate import estimate_teachers
from realm.sources.importing import import_outputs
from realm.sources.plan import collect_routes
from realm.sources.teachers.local import require_engine

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from realm.config.routes import ScriptedRoutes
    from realm.run import Run

logger = logging.getLogger(__name__)

# Outputs without an answer that a warning quotes, and the characters of each.
_NUM_QUOTED, _QUOTED_CHARS = 3, 80
# So many wrong answers and no right one are more often a mistake of the settings than of a model.
_MANY = 50


def run_routes(run: Run) -> None:
    """Write routes.jsonl and bank.json, and report what the bank is worth."""
    problems = read_problems(run.path("problems.jsonl"))
    settings = run.config.routes
    corrections = read_corrections(run.path(CORRECTIONS))
    if settings.kind == "import":
        imported = import_outputs(
            problems,
            run.domain,
            settings,
            resolve=run.config.resolve,
            excluded={one.problem_id for one in corrections if one.kind == "excluded"},
        )
        logger.info(imported.describe_result())
        run.record_figures(
            {"rows_left_out": len(imported.bad), "rows_of_no_problem": len(imported.unmatched)}
        )
        routes = imported.routes
    elif settings.kind == "collect":
        routes = collect_routes(run, problems)
    elif settings.kind == "none":
        routes = []
    else:
        routes = _ask_domain(run, settings, problems)
    verifier = run.domain.verifier
    routes, num_corrected = correct_routes(routes, corrections, problems, verifier)
    if num_corrected:
        run.record_figures({"corrections": num_corrected})
        logger.info("%s: %d labels of routes corrected", CORRECTIONS, num_corrected)
    # Routes that were paid for, or are of private questions, are nobody else's on this machine.
    write_jsonl(run.path("routes.jsonl"), routes, is_private=settings.kind == "collect")
    held_out = settings.held_out
    summaries = write_bank(
        run.path("bank.json"), problems, routes, verifier.same_all, held_out=held_out
    )
    if settings.kind == "none":
        logger.info("No routes (routes.kind: none): all prompts show the question only.")
        return
    unread = [*describe_unread(routes), *describe_all_wrong(problems, routes)]
    for line in [*unread, *describe_gaps(problems, routes, held_out)]:
        logger.warning(line)
    logger.info(format_bank(summaries, held_out))


def check_routes(run: Run) -> None:
    """Raise `ConfigError` if a teacher needs a package that is not installed."""
    settings = run.config.routes
    for teacher in settings.teachers if settings.kind == "collect" else ():
        if teacher.kind == "local":
            require_engine(teacher)


def estimate_routes(run: Run) -> str | None:
    """Return what the stage would cost; `None` if it asks no teacher."""
    return estimate_teachers(run) if run.config.routes.kind == "collect" else None


def require_routes(run: Run) -> None:
    """Raise `DataError` if prompts are to show routes and no problem of theirs has any.

    It runs before the long stages, which would find out after hours.
    """
    if run.config.routes.kind == "none":
        return
    path, held_out = run.path("routes.jsonl"), run.config.routes.held_out
    problems, routes = read_problems(run.path("problems.jsonl")), read_routes(path)
    for group, here, with_routes in _group_problems(problems, routes, held_out):
        is_shown = group == "evaluation" or run.config.train.fade.kind != "none"
        if is_shown and not with_routes:
            raise DataError(
                f"{path}: none of the {len(here)} {group} problems has a route by "
                f"{_describe_sources(group, held_out)}, so no prompt could show any. Add routes or "
                f"problems, change routes.held_out ({', '.join(held_out) or 'none'}), or change "
                "the splits."
            )


def describe_gaps(
    problems: Sequence[Problem], routes: Sequence[Route], held_out: Sequence[str]
) -> list[str]:
    """Return a line for each group with problems that have no route; these are not evaluated."""
    lines = []
    for group, here, with_routes in _group_problems(problems, routes, held_out):
        lacking = [problem.id for problem in here if problem.id not in with_routes]
        if lacking:
            sources = _describe_sources(group, held_out)
            lines.append(
                f"{len(lacking)} of {len(here)} {group} problems have no route by {sources}, the "
                f"first is {lacking[0]!r}"
            )
    return lines


def describe_unread(routes: Sequence[Route]) -> list[str]:
    """Return a warning for each source most of whose outputs state no answer, with examples."""
    lines = []
    for source in dict.fromkeys(route.source for route in routes):
        texts = [route for route in routes if route.source == source and route.text.strip()]
        unread = [route for route in texts if route.answer is None]
        # A source may well fail to answer now and then; most of the time it is our reading.
        if 2 * len(unread) <= len(texts):
            continue
        ends = (" ".join(route.text.split())[-_QUOTED_CHARS:] for route in unread[:_NUM_QUOTED])
        lines.append(
            f"{source}: NO ANSWER was found in {len(unread)} of {len(texts)} outputs. They end:\n"
            + "".join(f"    ... {end}\n" for end in ends)
            + "  Check that this column holds the whole output and that the kind of answer "
            "(domain.answer, --kind) is right, that outputs were not cut (max_tokens), or let them "
            "end with: The answer is ..."
        )
    return lines


def describe_all_wrong(problems: Sequence[Problem], routes: Sequence[Route]) -> list[str]:
    """Return a warning for each source of many answers none of which is right, with examples."""
    golds = {problem.id: problem.answer for problem in problems}
    lines = []
    for source in dict.fromkeys(route.source for route in routes):
        answered = [one for one in routes if one.source == source and one.answer is not None]
        if len(answered) < _MANY or any(route.correct is not False for route in answered):
            continue
        pairs = [f"{one.answer!r} for {golds[one.problem_id]!r}" for one in answered[:_NUM_QUOTED]]
        lines.append(
            f"{source}: NONE of {len(answered)} answers is right, such as {', '.join(pairs)}. "
            "Check the column of the gold answers and the kind of answer (domain.answer, --kind)."
        )
    return lines


def _group_problems(
    problems: Sequence[Problem], routes: Sequence[Route], held_out: Sequence[str]
) -> Iterator[tuple[str, list[Problem], Collection[str]]]:
    """Yield training and evaluation problems, each with the ids of those with a route to show."""
    # Training never shows held-out sources, and evaluation shows nothing else if there are any.
    train = [problem for problem in problems if problem.split == "train"]
    others = [problem for problem in problems if problem.split != "train"]
    train_ids = {problem.id for problem in train}
    other_ids = {problem.id for problem in others}
    yield "training", train, select_training_routes(routes, held_out, train_ids).keys()
    yield "evaluation", others, select_evaluation_routes(routes, held_out, other_ids).keys()


def _describe_sources(group: str, held_out: Sequence[str]) -> str:
    if not held_out:
        return "any source"
    return f"a source that is {'' if group == 'evaluation' else 'not '}held out"


def _ask_domain(run: Run, settings: ScriptedRoutes, problems: Sequence[Problem]) -> list[Route]:
    """Return the routes that the domain writes itself; `ConfigError` if it cannot."""
    domain = run.domain
    where = f"{run.config.source}: routes"
    require_expert(domain, [*(settings.sources or ()), *settings.held_out], where)
    with user_errors(f"{where}.kind: scripted", f"{domain.name}.write_routes"):
        routes = list(domain.write_routes(problems, settings, run.config.seed))
    # The routes come from a user's code, so they are checked like a user's file.
    known = {problem.id for problem in problems}
    for route in routes:
        if not isinstance(route, Route) or route.problem_id not in known:
            raise DataError(
                f"{where}.kind: scripted: {domain.name}.write_routes gave {route!r}. It must give "
                "realm.Route objects for the problems that it is called with."
            )
    return routes
