"""Routes that teachers are asked for: what each problem's prompts are, what they will cost, and the labelled replies."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realm.config.root import Config
from realm.config.routes import TeacherSettings
from realm.core.errors import RunError
from realm.core.folder import hash_of
from realm.core.progress import progress
from realm.core.records import Problem, Route
from realm.domains import Domain
from realm.sources import Reply, Request, Teacher
from realm.sources.budget import Spent, price_of
from realm.sources.collect import Collector, Tally
from realm.sources.guide import estimate_tokens
from realm.sources.prompts import Messages
from realm.sources.requests import Prompts, plan_requests
from realm.sources.store import Store, hash_request
from realm.verify.judge import judge_all

if TYPE_CHECKING:
    from realm.run import Run

SHORT_REPLY = 0.1
"""The low end of an estimate takes replies to be this share of the longest that they may be."""


def collect_routes(run: Run, problems: Sequence[Problem]) -> list[Route]:
    """Ask all teachers, print what came of it, and return the routes in the order of problems, teachers and samples.

    What a budget or a limit of time cuts short is used as far as it came; Ctrl-C raises `KeyboardInterrupt`.
    """
    config, domain = run.config, run.domain
    settings, prompts = config.routes, Prompts(config, domain)
    asked = [
        (_load_teacher(teacher, config, domain), list(plan_requests(problems, teacher, prompts)))
        for teacher in settings.teachers
    ]
    with (
        _open_store(config, run) as store,
        progress("asking teachers", sum(len(requests) for _, requests in asked)) as tell,
    ):
        collector = Collector(store, settings, tell)
        routes = asyncio.run(
            _collect(collector, asked, problems, domain, prompts if settings.rationalize else None)
        )
        run.spend(
            store.spent().usd
        )  # in all: a call of the command that was killed could not say what it paid
    if collector.interrupted:
        count = sum(map(len, collector.answers.values()))
        print(
            f"{count:,} answers are stored in {store.path}; none of them is asked or paid for again."
        )
        raise KeyboardInterrupt
    run.record_figures(
        figures(routes, collector.tallies)
        | ({"stopped": collector.stopped} if collector.stopped else {})
    )
    print("\n".join(_describe(routes, collector)))
    if not routes:
        raise RunError(
            f"no teacher gave an answer: {collector.stopped or 'see above'}. There is nothing to go on with."
        )
    return routes


def estimate(run: Run) -> str:
    """Return what asking the teachers would take: calls, tokens and cost, less what is stored. Nothing is sent."""
    config, domain = run.config, run.domain
    problems, prompts = domain.problems(config.seed), Prompts(config, domain)
    with _open_store(config, run) if _store_path(config, run).exists() else nullcontext() as store:
        rows = [
            _estimate(asked, list(plan_requests(problems, asked, prompts)), config, store)
            for asked in config.routes.teachers
        ]
        spent, lost = (store.spent(), store.lost()) if store else (Spent(), Spent())
    low, high = sum(row[1] for row in rows), sum(row[2] for row in rows)
    lines = [row[0] for row in rows] + [
        f"all together ${low:,.2f} to ${high:,.2f}, retries not counted; nothing is sent"
    ]
    if spent.tokens:
        lines.append(
            f"spent so far: ${spent.usd:,.2f}, {spent.tokens:,} tokens"
            + (f"; {_at_most(lost)}" if lost.tokens else "")
        )
    return "\n".join("  " + line for line in lines)


def label(
    requests: Sequence[Request], replies: Sequence[Reply], source: str, domain: Domain
) -> list[Route]:
    """Return a route per reply, labelled by the verifier.

    The answer is read from the text, not from the reasoning before it; a reply that was cut at its limit states none.
    """
    judged = judge_all(
        ["" if reply.truncated else reply.text for reply in replies],
        golds=[request.problem.answer for request in requests],
        verifier=domain.verifier,
    )
    return [
        Route(
            problem_id=request.problem.id,
            source=source,
            text=reply.chain,
            answer=one.answer,
            correct=one.correct,
            guided=request.kind != "unguided",
            rationalized=request.kind == "rationalized",
            guide=request.guide,
            usage=_usage(reply),
            cost_usd=reply.cost_usd,
        )
        for request, reply, one in zip(requests, replies, judged, strict=True)
    ]


def figures(routes: Sequence[Route], tallies: Mapping[str, Tally]) -> dict[str, Any]:
    """Return what the manifest holds: per teacher and for all, answers by label, tokens, and cost per positive and negative.

    Costs are those of the routes at hand, whenever they were paid; `calls` and `retries` are of this call.
    """
    rows = {
        name: _figures([route for route in routes if route.source == name], [tally])
        for name, tally in tallies.items()
    }
    return {"all": _figures(routes, list(tallies.values())), "teachers": rows}


async def _collect(
    collector: Collector,
    asked: Sequence[tuple[Teacher, Sequence[Request]]],
    problems: Sequence[Problem],
    domain: Domain,
    prompts: Prompts | None,
) -> list[Route]:
    """Ask, label, ask again with the answer shown where no guided chain is right and `prompts` are given, and label that."""
    try:
        with collector.limits():
            await collector.collect(asked)
            if collector.interrupted:
                return []
            routes = _label_all(collector, asked, domain)
            if prompts is not None:
                again = [
                    (teacher, _to_rationalize(teacher, requests, routes, prompts))
                    for teacher, requests in asked
                ]
                await collector.collect(again)
                routes += _label_all(collector, again, domain)
    finally:
        for teacher, _ in asked:
            await teacher.close()
    place = {problem.id: number for number, problem in enumerate(problems)}
    teacher_place = {teacher.name: number for number, (teacher, _) in enumerate(asked)}
    # A stable sort: the samples of one kind keep the order in which they were asked for.
    return sorted(
        routes,
        key=lambda route: (
            place[route.problem_id],
            teacher_place[route.source],
            not route.guided,
            route.rationalized,
        ),
    )


def _label_all(
    collector: Collector, asked: Sequence[tuple[Teacher, Sequence[Request]]], domain: Domain
) -> list[Route]:
    routes = []
    for teacher, requests in asked:
        answers = collector.answers[teacher.name]
        answered = [request for request in requests if request.place in answers]
        routes += label(
            answered, [answers[request.place] for request in answered], teacher.name, domain
        )
    return routes


def _to_rationalize(
    teacher: Teacher, requests: Sequence[Request], routes: Sequence[Route], prompts: Prompts
) -> list[Request]:
    """Return a request with the answer shown for each problem whose guided chains are there and all wrong."""
    tried: dict[str, bool] = {}
    for route in routes:
        if route.guided and route.source == teacher.name:
            tried[route.problem_id] = tried.get(route.problem_id, False) or route.correct is True
    problems = {request.problem.id: request.problem for request in requests}
    return [
        prompts.rationalized(problems[identity]) for identity, right in tried.items() if not right
    ]


def _load_teacher(settings: TeacherSettings, config: Config, domain: Domain) -> Teacher:
    """Return the teacher; each kind's libraries are imported only where it is asked."""
    if settings.kind == "api":
        from realm.sources.api import ApiTeacher

        return ApiTeacher(settings, seconds=config.routes.request_seconds)
    if settings.kind == "local":
        from realm.sources.local import LocalTeacher

        return LocalTeacher(
            settings, model=_model(settings.model, config), fields=_request_fields(settings, config)
        )
    if settings.kind == "replay":
        from realm.sources.replay import ReplayTeacher

        return ReplayTeacher(settings, config.resolve(settings.path))
    from realm.sources.scripted import ScriptedTeacher

    return ScriptedTeacher(settings, domain, config.seed)


def _request_fields(settings: TeacherSettings, config: Config) -> dict[str, Any] | None:
    """Return what shapes a teacher's replies besides the messages; `None` where replies are free and are not stored."""
    if settings.kind == "api":
        from realm.sources.api import request_fields

        return request_fields(settings)
    if settings.kind == "local":
        from realm.sources import local

        folder = Path(_model(settings.model, config))
        return local.request_fields(
            settings, hash_of(folder) if folder.is_dir() else settings.model
        )
    return None


def _model(model: str, config: Config) -> str:
    """Return the folder of a local model where there is one, else its hub id."""
    folder = config.resolve(model)
    return str(folder) if folder.is_dir() else model


def _store_path(config: Config, run: Run) -> Path:
    return (
        config.resolve(config.routes.store) if config.routes.store else run.path("teacher.sqlite")
    )


def _open_store(config: Config, run: Run) -> Store:
    """Return the store; a run is known in it by its place beside the store, which survives moving both."""
    path = _store_path(config, run)
    return Store(path, os.path.relpath(run.folder, path.parent))


def _estimate(
    teacher: TeacherSettings, requests: Sequence[Request], config: Config, store: Store | None
) -> tuple[str, float, float]:
    """Return a line on one teacher, and the ends of the range of its cost."""
    fields = _request_fields(teacher, config)
    if fields is None:
        return f"{teacher.name}: {len(requests):,} replies, free", 0.0, 0.0
    slots = {
        (hash_request(fields, request.messages), request.sample): request for request in requests
    }
    left = [request for slot, request in slots.items() if store is None or store.get(*slot) is None]
    stored = len(slots) - len(left)
    again = (
        len({request.problem.id for request in requests if request.kind == "guided"})
        if config.routes.rationalize
        else 0
    )
    prompt = sum(_prompt_tokens(request.messages) for request in left)
    guided = [_prompt_tokens(request.messages) for request in requests if request.kind == "guided"]
    more = again * sum(guided) // len(guided) if guided else 0
    low, high = int(len(left) * teacher.limit * SHORT_REPLY), (len(left) + again) * teacher.limit
    price = getattr(teacher, "price", None)
    ends = price_of(prompt, low, price), price_of(prompt + more, high, price)
    calls = f"{len(left):,}" + (f" to {len(left) + again:,}" if again else "")
    cost = (
        f"${ends[0]:,.2f} to ${ends[1]:,.2f}"
        if price
        else "on this machine"
        if teacher.kind == "local"
        else "no price set"
    )
    line = f"{teacher.name}: {calls} calls ({stored:,} answers stored), about {prompt:,} prompt and {low:,} to {high:,} reply tokens"
    return f"{line}, {cost}", *ends


def _prompt_tokens(messages: Messages) -> int:
    return sum(estimate_tokens(message["content"]) for message in messages)


def _usage(reply: Reply) -> dict[str, int]:
    counts = {"prompt_tokens": reply.prompt_tokens, "completion_tokens": reply.completion_tokens}
    return {name: count for name, count in counts.items() if count is not None}


def _figures(routes: Sequence[Route], tallies: Sequence[Tally]) -> dict[str, Any]:
    right, wrong = (
        sum(route.correct is True for route in routes),
        sum(route.correct is False for route in routes),
    )
    priced = [route.cost_usd for route in routes if route.cost_usd is not None]
    cost = sum(priced) if priced else None
    return {
        "answers": len(routes),
        "positives": right,
        "negatives": wrong,
        "rationalized": sum(route.rationalized for route in routes),
        "unanswered": sum(len(tally.unanswered) for tally in tallies),
        "stored_before": sum(tally.stored_before for tally in tallies),
        "calls": sum(tally.calls for tally in tallies),
        "retries": sum(tally.retries for tally in tallies),
        "prompt_tokens": sum(route.usage.get("prompt_tokens", 0) for route in routes),
        "completion_tokens": sum(route.usage.get("completion_tokens", 0) for route in routes),
        "cost_usd": cost,
        "maybe_lost_usd": sum(tally.lost.usd for tally in tallies),
        "cost_per_positive_usd": cost / right if cost is not None and right else None,
        "cost_per_negative_usd": cost / wrong if cost is not None and wrong else None,
    }


def _describe(routes: Sequence[Route], collector: Collector) -> list[str]:
    """Return what each teacher's answers are worth and cost, what is missing, and how to get it."""
    lines = []
    lost = sum((tally.lost for tally in collector.tallies.values()), Spent())
    for name, row in figures(routes, collector.tallies)["teachers"].items():
        cost = "" if row["cost_usd"] is None else f", ${row['cost_usd']:,.2f}"
        for kind in ("positive", "negative"):
            each = row[f"cost_per_{kind}_usd"]
            cost += "" if each is None else f", ${each:.4f} per {kind}"
        lines.append(
            f"{name}: {row['answers']:,} answers ({row['stored_before']:,} stored before), {row['positives']:,} right, "
            f"{row['negatives']:,} wrong; {row['calls']:,} calls, {row['retries']:,} retries, "
            f"{row['prompt_tokens'] + row['completion_tokens']:,} tokens{cost}"
        )
    if lost.tokens:
        lines.append(_at_most(lost))
    if collector.stopped:
        lines.append(
            f"Stopped: {collector.stopped}. The routes are what is there. For the rest raise the limit and run again (--force "
            "where nothing has changed): what is stored is not paid for again."
        )
    if unanswered := collector.describe_unanswered():
        lines += ["Without an answer (--force asks for these again):", *unanswered]
    return lines


def _at_most(lost: Spent) -> str:
    return f"calls that broke off may have been charged as well, ${lost.usd:,.2f} and {lost.tokens:,} tokens at the most"
