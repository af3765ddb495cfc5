"""Estimate what asking the teachers would cost, less what is stored. Nothing is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realm.core.jsonl import read_routes
from realm.core.records import Route
from realm.sources.budget import describe_lost, price_tokens
from realm.sources.checks import plan_checks
from realm.sources.guide import estimate_tokens
from realm.sources.plan import get_settings, plan_teachers
from realm.sources.prompts import PromptWriter
from realm.sources.store import Store, hash_request, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from realm.config.routes import CollectedRoutes
    from realm.config.teachers import TeacherSettings
    from realm.core.records import Problem
    from realm.run import Run
    from realm.sources import Request, Teacher

# The low end of an estimate takes replies to be this share of the longest possible reply.
SHORT_REPLY = 0.1
# Tokens of a route that is not written yet, in an estimate of its check.
_ROUTE_TOKENS = 400


def estimate_teachers(run: Run) -> str:
    """Return what asking the teachers would take, less what is stored. Nothing is sent."""
    settings = get_settings(run)
    writer = PromptWriter(settings, run.domain, run.config.resolve)
    problems = run.domain.problems(run.config.seed)
    asked = plan_teachers(run, problems, writer)
    path = run.path("routes.jsonl")
    routes = read_routes(path) if path.exists() else []
    rows = []
    with open_store(run, create=False) as store:
        for one, (teacher, requests) in zip(settings.teachers, asked, strict=True):
            checks = plan_checks(one, settings.held_out, routes, problems, writer)
            checks += _plan_later_checks(one, settings, checks, problems, writer)
            every = [*requests, *checks]
            rows.append(_estimate_teacher(teacher, every, store, rationalizes=settings.rationalize))
        spent, lost = store.sum_spent(), store.sum_lost()
    low, high = sum(row[1] for row in rows), sum(row[2] for row in rows)
    total = f"all together ${low:,.2f} to ${high:,.2f}, retries not counted; nothing is sent"
    lines = [*(row[0] for row in rows), total]
    if spent.tokens or lost.tokens:
        lines.append(f"spent so far: ${spent.usd:,.2f}, {spent.tokens:,} tokens")
    if lost.tokens:
        lines.append(describe_lost(lost))
    return "\n".join("  " + line for line in lines)


def _plan_later_checks(
    teacher: TeacherSettings,
    settings: CollectedRoutes,
    known: Sequence[Request],
    problems: Sequence[Problem],
    writer: PromptWriter,
) -> Iterator[Request]:
    """Yield checks of routes to come, with a text in place of each, for problems without routes."""
    train = [problem for problem in problems if problem.split == "train"][: teacher.problems]
    has_routes = {request.problem.id for request in known}
    writers = [one for one in settings.teachers if one.name not in settings.held_out]
    for place, problem in enumerate(train):
        count = sum(one.routes for one in writers if one.problems is None or place < one.problems)
        for number in range(min(teacher.checks, count) if problem.id not in has_routes else 0):
            # With a number, since checks of equal texts would count as one request.
            text = f"{number}" + " word" * _ROUTE_TOKENS
            later = Route(problem_id=problem.id, source="", text=text, answer=None, correct=None)
            yield writer.write_check(problem, later)


def _estimate_teacher(
    teacher: Teacher, requests: Sequence[Request], store: Store, *, rationalizes: bool
) -> tuple[str, float, float]:
    """Return a line about one teacher, and the range of its cost in dollars."""
    if teacher.fields is None:
        return f"{teacher.name}: {len(requests):,} replies, free", 0.0, 0.0
    # Problems that ask the very same are asked once.
    slots = {(hash_request(teacher.fields, one.messages), one.sample): one for one in requests}
    todo = [one for slot, one in slots.items() if store.find_reply(slot) is None]
    guided = {one.problem.id: one for one in requests if one.kind == "guided"}
    # A rationalized prompt is about as long as the guided one of the same problem.
    again = list(guided.values()) if rationalizes else []
    prompt = sum(map(_count_tokens, todo))
    # Replies vary much more than prompts, so the range is that of the replies.
    low = int(len(todo) * teacher.max_tokens * SHORT_REPLY)
    high = (len(todo) + len(again)) * teacher.max_tokens
    low_usd = price_tokens(prompt, low, teacher.price)
    high_usd = price_tokens(prompt + sum(map(_count_tokens, again)), high, teacher.price)
    calls = f"{len(todo):,}" + (f" to {len(todo) + len(again):,}" if again else "")
    cost = f"${low_usd:,.2f} to ${high_usd:,.2f}" if teacher.price else "no price set"
    line = (
        f"{teacher.name}: {calls} calls ({len(slots) - len(todo):,} answers stored), about "
        f"{prompt:,} prompt and {low:,} to {high:,} reply tokens, {cost}"
    )
    return line, low_usd, high_usd


def _count_tokens(request: Request) -> int:
    return sum(estimate_tokens(message["content"]) for message in request.messages)
