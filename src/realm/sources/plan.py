"""Collect routes from teachers: plan the requests, ask, and label the replies."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from realm.core.errors import RunError
from realm.core.records import Problem, Route
from realm.core.terminal import progress
from realm.sources import Reply, Request, Teacher
from realm.sources.budget import Spent, describe_lost, make_figures
from realm.sources.checks import count_labels, label_checked, plan_checks
from realm.sources.collect import Collector
from realm.sources.prompts import PromptWriter
from realm.sources.store import open_store
from realm.sources.teachers import load_teacher
from realm.verify.judge import judge_all

if TYPE_CHECKING:
    from realm.config.routes import CollectedRoutes
    from realm.config.teachers import TeacherSettings
    from realm.run import Run
    from realm.verify.verifier import Verifier

logger = logging.getLogger(__name__)

Asked = list[tuple[Teacher, Sequence[Request]]]


def collect_routes(run: Run, problems: Sequence[Problem]) -> list[Route]:
    """Ask all teachers, and return the routes in the order of problems, teachers and samples.

    What the budget or the time limit cuts short is used as far as it got.

    Raises:
        KeyboardInterrupt: The user pressed Ctrl-C; the replies so far are stored.
        RunError: There is no reply at all.
    """
    settings = get_settings(run)
    writer = PromptWriter(settings, run.domain, run.config.resolve)
    asked = plan_teachers(run, problems, writer)
    # All teachers are checked before the first one is paid.
    for teacher, _ in asked:
        teacher.open()
    num_requests = sum(len(requests) for _, requests in asked)
    with open_store(run) as store, progress("asking teachers", num_requests) as on_progress:
        collector = Collector(store, settings, on_progress)
        routes = asyncio.run(
            _ask_and_label(collector, asked, problems, run.domain.verifier, writer)
        )
        # All that this run ever paid: a killed command could not record its share.
        run.spend(store.sum_spent().usd)
    if collector.is_interrupted:
        count = sum(map(len, collector.replies.values()))
        logger.info("%d answers are stored in %s; they are not paid for again.", count, store.path)
        raise KeyboardInterrupt
    figures = make_figures(routes, collector.stats)
    if collector.stopped:
        figures["stopped"] = collector.stopped
    if any(teacher.checks for teacher in settings.teachers):
        figures["checks"] = count_labels(routes) | {"cost_usd": _sum_checks(collector)}
        logger.info("steps of routes, by checks: %s", figures["checks"])
    run.record_figures(figures)
    for line in _describe_result(figures["teachers"], collector):
        logger.info(line)
    if not routes:
        reason = collector.stopped or "see above"
        raise RunError(f"no teacher gave an answer: {reason}. There is nothing to go on with.")
    place = {problem.id: number for number, problem in enumerate(problems)}
    names = [teacher.name for teacher, _ in asked]
    # A stable sort: samples keep the order of the requests.
    routes.sort(key=lambda route: (not route.guided, route.rationalized))
    return sorted(routes, key=lambda route: (place[route.problem_id], names.index(route.source)))


def find_expert(run: Run) -> TeacherSettings | None:
    """Return the teacher whom baselines ask: the first with guided chains that is no script."""
    routes = run.config.routes
    teachers = routes.teachers if routes.kind == "collect" else []
    return next((one for one in teachers if one.guided and one.kind != "scripted"), None)


def ask_expert(
    run: Run, teacher: TeacherSettings, requests: Sequence[Request]
) -> dict[tuple[str, str, int], Reply]:
    """Return the replies of one teacher by the keys of the requests, as far as the budget goes.

    Raises:
        KeyboardInterrupt: The user pressed Ctrl-C; the replies so far are stored.
    """
    asked: Asked = [(load_teacher(teacher, run), requests)]
    asked[0][0].open()
    with open_store(run) as store, progress(f"asking {teacher.name}", len(requests)) as advance:
        before = store.sum_spent()
        collector = Collector(store, get_settings(run), advance)
        asyncio.run(_ask_and_close(collector, asked))
        run.spend(store.sum_spent().usd - before.usd)
    if collector.is_interrupted:
        raise KeyboardInterrupt
    replies = collector.replies[teacher.name]
    logger.info("%s: %d replies to %d requests", teacher.name, len(replies), len(requests))
    if collector.stopped:
        logger.warning("Stopped: %s. The replies that are there are used.", collector.stopped)
    return replies


def plan_requests(
    problems: Sequence[Problem], teacher: TeacherSettings, writer: PromptWriter
) -> Iterator[Request]:
    """Yield what a teacher is asked.

    The first sample of every problem comes before the second of any, so that a budget that runs
    out leaves all problems alike.
    """
    train = [problem for problem in problems if problem.split == "train"][: teacher.problems]
    others = [problem for problem in problems if problem.split != "train"]
    for sample in range(max(teacher.guided, teacher.routes, teacher.eval_routes)):
        for problem in train if sample < teacher.guided else ():
            yield writer.write_request(problem, "guided", sample)
        for problem in train if sample < teacher.routes else ():
            yield writer.write_request(problem, "unguided", sample)
        for problem in others if sample < teacher.eval_routes else ():
            yield writer.write_request(problem, "unguided", sample)


def label_replies(
    requests: Sequence[Request], replies: Sequence[Reply], source: str, verifier: Verifier
) -> list[Route]:
    """Return a route per reply, labelled by the verifier.

    The answer is read from the text, not from the reasoning. A reply that was cut states none.
    """
    judged = judge_all(
        ["" if reply.is_cut else reply.text for reply in replies],
        golds=[request.problem.answer for request in requests],
        verifier=verifier,
        is_exact=False,
    )
    return [
        Route(
            problem_id=request.problem.id,
            source=source,
            text=reply.chain,
            answer=judgement.answer,
            correct=judgement.correct,
            guided=request.kind != "unguided",
            rationalized=request.kind == "rationalized",
            guide=request.guide,
            usage=reply.usage,
            cost_usd=reply.cost_usd,
        )
        for request, reply, judgement in zip(requests, replies, judged, strict=True)
    ]


def plan_teachers(run: Run, problems: Sequence[Problem], writer: PromptWriter) -> Asked:
    """Return all teachers, each with what it is asked."""
    return [
        (load_teacher(settings, run), list(plan_requests(problems, settings, writer)))
        for settings in get_settings(run).teachers
    ]


async def _ask_and_close(collector: Collector, asked: Asked) -> None:
    try:
        await collector.collect_replies(asked)
    finally:
        for teacher, _ in asked:
            await teacher.close()


async def _ask_and_label(
    collector: Collector,
    asked: Asked,
    problems: Sequence[Problem],
    verifier: Verifier,
    writer: PromptWriter,
) -> list[Route]:
    """Ask and label; with `routes.rationalize` show the answer where no guided chain is right.

    At the end a teacher with `checks` labels the steps of routes.
    """
    try:
        await collector.collect_replies(asked)
        routes = _label_all(collector, asked, verifier)
        if collector.settings.rationalize and not collector.is_interrupted:
            again: Asked = [
                (teacher, _plan_rationalized(teacher, requests, routes, writer))
                for teacher, requests in asked
            ]
            await collector.collect_replies(again)
            routes += _label_all(collector, again, verifier)
        if not collector.is_interrupted:
            routes = await _check_routes(collector, asked, routes, problems, writer)
        return routes
    finally:
        for teacher, _ in asked:
            await teacher.close()


async def _check_routes(
    collector: Collector,
    asked: Asked,
    routes: list[Route],
    problems: Sequence[Problem],
    writer: PromptWriter,
) -> list[Route]:
    """Return the routes, with process labels where a teacher has checked them."""
    for settings, (teacher, _) in zip(collector.settings.teachers, asked, strict=True):
        requests = plan_checks(settings, collector.settings.held_out, routes, problems, writer)
        if requests:
            await collector.collect_replies([(teacher, requests)])
            routes = label_checked(routes, requests, collector.replies[teacher.name])
    return routes


def _sum_checks(collector: Collector) -> float:
    """Return what checks have cost, in dollars."""
    replies = (reply for one in collector.replies.values() for reply in one.items())
    return sum(reply.cost_usd or 0.0 for (_, kind, _), reply in replies if kind.startswith("check"))


def _label_all(collector: Collector, asked: Asked, verifier: Verifier) -> list[Route]:
    routes = []
    for teacher, requests in asked:
        replies = collector.replies[teacher.name]
        answered = [request for request in requests if request.key in replies]
        texts = [replies[request.key] for request in answered]
        routes += label_replies(answered, texts, teacher.name, verifier)
    return routes


def _plan_rationalized(
    teacher: Teacher, requests: Sequence[Request], routes: Sequence[Route], writer: PromptWriter
) -> list[Request]:
    """Return a request with the answer for each problem whose guided chains are all wrong."""
    # Only problems that have a guided chain: without one the teacher was not reached.
    is_solved: dict[str, bool] = {}
    for route in routes:
        if route.guided and route.source == teacher.name:
            known = is_solved.get(route.problem_id, False)
            is_solved[route.problem_id] = known or route.correct is True
    problems = {request.problem.id: request.problem for request in requests}
    unsolved = [identity for identity, solved in is_solved.items() if not solved]
    return [writer.write_request(problems[identity], "rationalized", 0) for identity in unsolved]


def _describe_result(rows: Mapping[str, Any], collector: Collector) -> list[str]:
    """Return what each teacher's answers are worth and cost, what is missing, and how to get it."""
    lines = []
    for name, row in rows.items():
        cost = "" if row["cost_usd"] is None else f", ${row['cost_usd']:,.2f}"
        for kind in ("positive", "negative"):
            each = row[f"cost_per_{kind}_usd"]
            cost += "" if each is None else f", ${each:.4f} per {kind}"
        lines.append(
            f"{name}: {row['answers']:,} answers ({row['stored_before']:,} stored before), "
            f"{row['positives']:,} right, {row['negatives']:,} wrong; {row['calls']:,} calls, "
            f"{row['retries']:,} retries, {row['prompt_tokens'] + row['completion_tokens']:,} "
            f"tokens{cost}"
        )
    lost = sum((stats.lost for stats in collector.stats.values()), Spent())
    if lost.tokens:
        lines.append(describe_lost(lost))
    if collector.stopped:
        lines.append(
            f"Stopped: {collector.stopped}. The routes are what is there. For the rest raise the "
            "limit and run again (--force if nothing else has changed): what is stored is not paid "
            "for again."
        )
    if unanswered := collector.describe_unanswered():
        lines += ["Without an answer (--force asks for these again):", *unanswered]
    return lines


def get_settings(run: Run) -> CollectedRoutes:
    """Return `routes` of a config whose routes teachers write."""
    assert run.config.routes.kind == "collect"
    return run.config.routes
