"""Ask teachers: request -> stored reply? -> budget -> ask -> store.

Every reply is on disk before it is used. The worst cost of every attempt is on disk before it is
sent, so that the budget holds even if the process is killed in between.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import zip_longest
from typing import TYPE_CHECKING

from realm.core.errors import ConfigError, RunError
from realm.sources import Attempt, NoReplyError, Reply, Request, Teacher
from realm.sources.budget import (
    Budget,
    BudgetReachedError,
    Spent,
    TeacherStats,
    reply_cost,
    worst_cost,
)
from realm.sources.store import Slot, Store, hash_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from realm.config.routes import CollectedRoutes

logger = logging.getLogger(__name__)

# A teacher is taken to be down when so many of its requests in a row get no reply.
FAILURES_IN_A_ROW = 3
# Reasons for missing replies that a summary quotes, per teacher.
_NUM_QUOTED = 5

Slots = dict[Slot, list[Request]]
"""Requests by what is asked: two problems may ask the very same, which is paid for once."""


class Collector:
    """One collection of replies."""

    def __init__(
        self,
        store: Store,
        settings: CollectedRoutes,
        on_progress: Callable[[int, str], None] = lambda count, note: None,
    ) -> None:
        """Prepare a collection; `on_progress` is told of each reply, with a short note."""
        self.store, self.settings = store, settings
        self.replies: dict[str, dict[tuple[str, str, int], Reply]] = {}
        """Replies by the name of the teacher and the key of the request."""
        self.stats: dict[str, TeacherStats] = {}
        self.stopped: str | None = None
        """Why nothing more is asked."""
        self.is_interrupted = False
        spent = store.sum_spent() + store.sum_lost()
        self.budget = Budget(usd=settings.budget_usd, tokens=settings.budget_tokens, spent=spent)
        self.places = asyncio.Semaphore(settings.concurrency)
        self.in_flight: set[asyncio.Task[None] | None] = set()
        self._workers: set[asyncio.Task[None]] = set()
        self._on_progress = on_progress
        limit = settings.total_seconds
        self._deadline = None if limit is None else time.monotonic() + limit

    async def collect_replies(self, asked: Sequence[tuple[Teacher, Sequence[Request]]]) -> None:
        """Get a reply to every request, from the store or from its teacher, in the order given."""
        todo = [self._split_calls(teacher, requests) for teacher, requests in asked]
        # Teachers take turns, so that a budget that runs out cuts all of them alike.
        calls = (call for turn in zip_longest(*todo) for call in turn if call is not None)
        # Twice as many as may be in flight, so that a pause before a retry leaves no place empty.
        num_workers = 2 * self.settings.concurrency
        # They share one generator of calls, and each takes the next one when it is free.
        self._workers = {asyncio.create_task(self._make_calls(calls)) for _ in range(num_workers)}
        try:
            await self._await_workers()
        finally:
            await self.store.write_queued()

    def stop_asking(self, reason: str) -> None:
        """Send nothing more. What is in flight is paid for, and may finish."""
        self.stopped = self.stopped or reason
        # The others wait for a place, for the budget or for a retry, and owe nothing.
        for worker in self._workers - self.in_flight:
            worker.cancel()

    def note_progress(self, count: int = 0) -> None:
        """Report so many more requests done, with calls, tokens, cost and retries so far."""
        rows = self.stats.values()
        spent = sum((row.spent for row in rows), Spent())
        cost = f", ${spent.usd:.2f}" if spent.usd else ""
        calls, retries = sum(row.calls for row in rows), sum(row.retries for row in rows)
        note = f"{calls:,} calls, {spent.tokens:,} tokens{cost}, {retries:,} retries"
        self._on_progress(count, note)

    def describe_unanswered(self) -> list[str]:
        """Return a few of the reasons why requests have no reply, a line each."""
        lines = []
        for name, stats in self.stats.items():
            for reason, count in list(Counter(stats.unanswered).items())[:_NUM_QUOTED]:
                lines.append(f"  {name}, {count}x: {reason}")
        return lines

    def _split_calls(self, teacher: Teacher, requests: Sequence[Request]) -> list[_Call]:
        """Take the replies that are stored, and return the calls for the remaining requests."""
        replies = self.replies.setdefault(teacher.name, {})
        stats = self.stats.setdefault(teacher.name, TeacherStats())
        slots: Slots = {}
        for request in requests:
            slot = _slot_of(teacher, request)
            reply = None if teacher.fields is None else self.store.find_reply(slot)
            if reply is None:
                slots.setdefault(slot, []).append(request)
            else:
                replies[request.key] = reply
                stats.stored_before += 1
                self.note_progress(1)
        order, size = list(slots.items()), teacher.batch_size
        batches = (dict(order[start : start + size]) for start in range(0, len(order), size))
        return [_Call(self, teacher, batch) for batch in batches]

    async def _make_calls(self, calls: Iterator[_Call]) -> None:
        """Make one call after the other; all workers share `calls`."""
        for call in calls:
            if self.stopped:
                return
            try:
                replies = await call.teacher.ask(call.requests, call.attempt)
            except NoReplyError as failure:
                call.leave_out(failure)
            else:
                # The reply counts only when it is on disk.
                call.keep_replies(replies)
                await self.store.write_queued()
            self.note_progress(sum(map(len, call.slots.values())))

    async def _await_workers(self) -> None:
        """Wait for the workers, up to the time limit; Ctrl-C lets requests in flight finish."""
        limit = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
        try:
            _, pending = await asyncio.wait(
                self._workers, timeout=limit, return_when=asyncio.FIRST_EXCEPTION
            )
        except asyncio.CancelledError:
            # `asyncio.run` cancels this task at the first Ctrl-C, and everything at the second.
            self.is_interrupted = True
            self.stop_asking("interrupted")
            count = len(self.in_flight)
            logger.warning("finishing %d requests in flight; Ctrl-C again drops them", count)
            _, pending = await asyncio.wait(self._workers)
        failures = [one.exception() for one in self._workers - pending if not one.cancelled()]
        for worker in pending:
            worker.cancel()
        if pending:
            await asyncio.wait(pending)
        # One user error is enough; those of other workers mostly say the same.
        for failure in filter(None, failures):
            raise failure from None
        if pending:
            seconds = self.settings.total_seconds
            self.stopped = self.stopped or f"the time is over: routes.total_seconds = {seconds:g}"


class _Call:
    """One call of a teacher: its attempts, of which the last may bring replies."""

    def __init__(self, collector: Collector, teacher: Teacher, slots: Slots) -> None:
        self.collector, self.teacher, self.slots = collector, teacher, slots
        self.stats = collector.stats[teacher.name]
        self.requests = [same[0] for same in slots.values()]
        limit, price = teacher.max_tokens, teacher.price
        self.worst = sum((worst_cost(one, limit, price) for one in self.requests), Spent())
        """The most that an attempt may cost."""
        self._num_attempts = 0
        self._answered: int | None = None
        """The number of the attempt that was answered, until its replies are stored."""

    @asynccontextmanager
    async def attempt(self) -> AsyncIterator[Attempt]:
        """Open an attempt: wait for a place and for the budget, and settle its cost at the end."""
        collector, worst, task = self.collector, self.worst, asyncio.current_task()
        async with collector.places:
            await self._reserve_cost(worst)
            # From here on a killed process has this attempt in its books.
            number = collector.store.add_attempt(self.teacher.name, worst)
            attempt = Attempt()
            collector.in_flight.add(task)
            try:
                await collector.store.write_queued()
                self._num_attempts += 1
                self.stats.calls += len(self.requests)
                if self._num_attempts > 1:
                    self.stats.retries += 1
                    collector.note_progress()
                yield attempt
            finally:
                collector.in_flight.discard(task)
                if attempt.outcome == "answered":
                    self._answered = number
                elif attempt.outcome == "free":
                    collector.budget.settle_cost(worst, Spent())
                    collector.store.remove_attempt(number)
                else:  # broken off: the endpoint may have done the work, and charged for it
                    collector.budget.settle_cost(worst, worst)
                    self.stats.lost += worst

    def keep_replies(self, replies: Sequence[Reply | None]) -> None:
        """Take the replies, and queue them for the store with what they cost."""
        collector, teacher = self.collector, self.teacher
        total = Spent()
        for (slot, same), reply in zip(self.slots.items(), replies, strict=True):
            if reply is None:
                self.stats.unanswered += ["it has no such reply"] * len(same)
                continue
            if teacher.fields is not None:
                cost = reply_cost(reply, same[0], teacher.max_tokens, teacher.price)
                reply = replace(reply, cost_usd=None if teacher.price is None else cost.usd)
                collector.store.add_reply(slot, reply, teacher=teacher.name, spent=cost)
                total += cost
            self.stats.replies += 1
            collector.replies[teacher.name].update({request.key: reply for request in same})
        self.stats.failures_in_a_row = 0
        self.stats.spent += total
        if self._answered is not None:
            # Queued right behind the replies, so that one transaction holds both.
            collector.store.remove_attempt(self._answered)
            collector.budget.settle_cost(self.worst, total)

    def leave_out(self, failure: NoReplyError) -> None:
        """Go on without these requests, unless the teacher is down or refuses everything.

        A request that is refused says nothing about others, once the teacher has replied.
        """
        stats, name = self.stats, self.teacher.name
        problem = self.requests[0].problem.id
        count = sum(map(len, self.slots.values()))
        stats.unanswered += [f"problem {problem!r}: {failure}"] * count
        if failure.is_refused and stats.has_replied:
            return
        stats.failures_in_a_row += 1
        if stats.failures_in_a_row < FAILURES_IN_A_ROW:
            return
        if failure.is_refused:
            raise ConfigError(
                f"teacher {name!r} refuses what it is asked: {failure}. Check its model, "
                "temperature, max_tokens and extra in routes.teachers (one such request is of "
                f"problem {problem!r})."
            )
        raise RunError(
            f"teacher {name!r} does not answer: {failure}. Check that it is up and that base_url "
            "is right, then run again: replies so far are kept. routes.attempts and "
            "routes.request_seconds set how long to try."
        )

    async def _reserve_cost(self, worst: Spent) -> None:
        """Reserve the worst cost. Where nothing more is sent, end this worker without a trace."""
        if self.collector.stopped:
            raise asyncio.CancelledError
        try:
            await self.collector.budget.reserve_cost(worst)
        except BudgetReachedError as reached:
            self.collector.stop_asking(str(reached))
            raise asyncio.CancelledError from None


def _slot_of(teacher: Teacher, request: Request) -> Slot:
    # Free replies are not stored; the slot only tells requests apart.
    if teacher.fields is None:
        identity, kind, sample = request.key
        return f"{identity}:{kind}", sample
    return hash_request(teacher.fields, request.messages), request.sample
