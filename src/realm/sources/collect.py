"""Ask teachers: request -> stored reply? -> budget -> ask -> store.

Every reply is on disk before it is used. The worst cost of every attempt is on disk before it is
sent, so that the budget holds even if the process is killed in between.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections import Counter
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from realm.core.errors import ConfigError, RealmError, RunError
from realm.sources import Attempt, NoReplyError, Reply, Request, Teacher
from realm.sources.budget import Budget, BudgetReachedError, Spent, reply_cost, worst_cost
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


@dataclass
class TeacherStats:
    """What became of one teacher's requests in this call of the command."""

    calls: int = 0
    """Requests sent, each attempt counted."""
    retries: int = 0
    replies: int = 0
    stored_before: int = 0
    spent: Spent = field(default_factory=Spent)
    """Cost of the replies, by the endpoint's own count of tokens."""
    lost: Spent = field(default_factory=Spent)
    """Most that attempts without a reply may have cost."""
    unanswered: list[str] = field(default_factory=list)
    """Why a request has no reply, one message each."""
    failures_in_a_row: int = 0

    @property
    def has_replied(self) -> bool:
        """Whether the teacher has ever replied."""
        return self.replies + self.stored_before > 0


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
        self.budget = Budget(
            usd=settings.budget_usd,
            tokens=settings.budget_tokens,
            spent=store.spent() + store.lost(),
        )
        self.places = asyncio.Semaphore(settings.concurrency)
        self.in_flight: set[asyncio.Task[None] | None] = set()
        self._on_progress = on_progress
        self._tasks: set[asyncio.Task[None]] = set()

    async def collect(self, asked: Sequence[tuple[Teacher, Sequence[Request]]]) -> None:
        """Get a reply to every request, from the store or from its teacher, in the order given."""
        todo = [(teacher, self._take_stored(teacher, requests)) for teacher, requests in asked]
        try:
            async with asyncio.TaskGroup() as group:
                for teacher, slots in todo:
                    group.create_task(self._ask_all(group, teacher, slots))
        except BaseExceptionGroup as errors:
            users_errors = (error for error in errors.exceptions if isinstance(error, RealmError))
            raise next(users_errors, errors.exceptions[0]) from None
        finally:
            await self.store.write()

    def stop(self, reason: str) -> None:
        """Send nothing more. What is in flight is paid for, and may finish."""
        self.stopped = self.stopped or reason
        for task in self._tasks - self.in_flight:
            task.cancel()

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

    @contextmanager
    def stop_conditions(self) -> Iterator[None]:
        """Within the block Ctrl-C and the time limit end the collection."""
        loop = asyncio.get_running_loop()
        limit = self.settings.total_seconds
        timer = loop.call_later(limit, self._end_time) if limit else None
        handles_signals = threading.current_thread() is threading.main_thread()
        with suppress(NotImplementedError):  # on Windows Ctrl-C cancels at once
            if handles_signals:
                loop.add_signal_handler(signal.SIGINT, self._interrupt)
        try:
            yield
        finally:
            if timer is not None:
                timer.cancel()
            with suppress(NotImplementedError):
                if handles_signals:
                    loop.remove_signal_handler(signal.SIGINT)

    def _take_stored(self, teacher: Teacher, requests: Sequence[Request]) -> Slots:
        """Take the replies that are stored, and return the remaining requests."""
        replies = self.replies.setdefault(teacher.name, {})
        stats = self.stats.setdefault(teacher.name, TeacherStats())
        slots: Slots = {}
        for request in requests:
            slot = _slot_of(teacher, request)
            reply = None if teacher.fields is None else self.store.get(slot)
            if reply is None:
                slots.setdefault(slot, []).append(request)
            else:
                replies[request.key] = reply
                stats.stored_before += 1
                self.note_progress(1)
        return slots

    async def _ask_all(self, group: asyncio.TaskGroup, teacher: Teacher, slots: Slots) -> None:
        """Start a task for each call, in order."""
        # Twice as many as may be in flight, so that a pause before a retry leaves no place empty.
        num_started = 2 * self.settings.concurrency if teacher.batch_size == 1 else 1
        started = asyncio.Semaphore(num_started)
        order = list(slots.items())
        for start in range(0, len(order), teacher.batch_size):
            await started.acquire()
            if self.stopped:
                return
            batch = dict(order[start : start + teacher.batch_size])
            task = group.create_task(self._get_replies(teacher, batch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(lambda _: started.release())

    async def _get_replies(self, teacher: Teacher, slots: Slots) -> None:
        """Ask, and store what comes back."""
        call = _Call(self, teacher, slots)
        try:
            replies = await teacher.ask(call.requests, call.attempt)
        except NoReplyError as failure:
            self._leave_out(teacher, slots, failure)
        else:
            call.keep_replies(replies)
            await self.store.write()
            self.note_progress(sum(map(len, slots.values())))

    def _leave_out(self, teacher: Teacher, slots: Slots, failure: NoReplyError) -> None:
        """Go on without these requests, unless the teacher is down or refuses everything.

        A request that is refused says nothing about others, once the teacher has replied.
        """
        stats = self.stats[teacher.name]
        requests = [request for same in slots.values() for request in same]
        stats.unanswered += [f"problem {requests[0].problem.id!r}: {failure}"] * len(requests)
        self.note_progress(len(requests))
        if failure.is_refused and stats.has_replied:
            return
        stats.failures_in_a_row += 1
        if stats.failures_in_a_row < FAILURES_IN_A_ROW:
            return
        if failure.is_refused:
            raise ConfigError(
                f"teacher {teacher.name!r} refuses what it is asked: {failure}. Check its model, "
                "temperature, max_tokens and extra in routes.teachers (one such request is of "
                f"problem {requests[0].problem.id!r})."
            )
        raise RunError(
            f"teacher {teacher.name!r} does not answer: {failure}. Check that it is up and that "
            "base_url is right, then run again: replies so far are kept. routes.attempts and "
            "routes.request_seconds set how long to try."
        )

    def _end_time(self) -> None:
        self.stop(f"the time is over: routes.total_seconds = {self.settings.total_seconds:g}")
        self._cancel_all()

    def _interrupt(self) -> None:
        """Let requests in flight finish at the first Ctrl-C, and drop them at the second."""
        if self.is_interrupted:
            self._cancel_all()
            return
        self.is_interrupted = True
        self.stop("interrupted")
        logger.warning(
            "finishing %d requests in flight; Ctrl-C again drops them", len(self.in_flight)
        )

    def _cancel_all(self) -> None:
        for task in self._tasks:
            task.cancel()


class _Call:
    """One call of a teacher: its attempts, of which the last may bring replies."""

    def __init__(self, collector: Collector, teacher: Teacher, slots: Slots) -> None:
        self.collector, self.teacher, self.slots = collector, teacher, slots
        self.stats = collector.stats[teacher.name]
        self.requests = [same[0] for same in slots.values()]
        costs = [worst_cost(one, teacher.max_tokens, teacher.price) for one in self.requests]
        self.worst = sum(costs, Spent())
        self.num_attempts = 0
        self._answered: int | None = None
        """The number of the attempt that was answered, until its replies are stored."""

    @asynccontextmanager
    async def attempt(self) -> AsyncIterator[Attempt]:
        """Open an attempt: wait for a place and for the budget, and settle its cost at the end."""
        collector, budget, store = self.collector, self.collector.budget, self.collector.store
        async with collector.places:
            await self._reserve()
            number = store.add_attempt(self.teacher.name, self.worst)
            attempt, task = Attempt(), asyncio.current_task()
            collector.in_flight.add(task)
            try:
                await store.write()
                self._count_attempt()
                yield attempt
            finally:
                collector.in_flight.discard(task)
                if attempt.outcome == "answered":
                    self._answered = number
                elif attempt.outcome == "free":
                    budget.settle(self.worst, Spent())
                    store.remove_attempt(number)
                else:
                    budget.settle(self.worst, self.worst)
                    self.stats.lost += self.worst

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
            collector.budget.settle(self.worst, total)

    async def _reserve(self) -> None:
        """Reserve the worst cost. Where nothing more is sent, end this task without a trace."""
        if self.collector.stopped:
            raise asyncio.CancelledError
        try:
            await self.collector.budget.reserve(self.worst)
        except BudgetReachedError as reached:
            self.collector.stop(str(reached))
            raise asyncio.CancelledError from None

    def _count_attempt(self) -> None:
        self.num_attempts += 1
        self.stats.calls += len(self.requests)
        if self.num_attempts > 1:
            self.stats.retries += 1
            self.collector.note_progress()


def _slot_of(teacher: Teacher, request: Request) -> Slot:
    if teacher.fields is None:
        return f"{request.problem.id}:{request.kind}", request.sample
    return hash_request(teacher.fields, request.messages), request.sample
