"""Ask teachers: so many requests in flight, each tried again where that helps, every reply stored before it counts."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from realm.config.routes import CollectedRoutes
from realm.core.errors import ConfigError, RealmError, RunError
from realm.sources import Refused, Reply, Request, Teacher, TryAgain
from realm.sources.budget import Budget, BudgetReached, Spent, cost_of, worst_case
from realm.sources.store import Store, hash_request

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds before the next attempt, doubled while the endpoint stays silent or busy; jitter takes up to half of it away."""
FIRST_ATTEMPTS = 6
"""A teacher that has never answered may be one that is not there: so many attempts, and the user hears of it."""
LOST_IN_A_ROW = 3
"""So many requests of a teacher that run out of attempts, with no reply in between, and it counts as down."""
_SAID = 5
"""Failures that a summary quotes."""

Slot = tuple[str, int]
"""A request's hash, and which sample of it: what is asked, stored and paid for once."""


@dataclass
class Tally:
    """What came of one teacher's requests in this call."""

    calls: int = 0
    """Requests sent, each attempt counted."""
    replies: int = 0
    retries: int = 0
    stored_before: int = 0
    spent: Spent = field(default_factory=Spent)
    """For replies, by the endpoint's own count of tokens."""
    lost: Spent = field(default_factory=Spent)
    """For calls that may have been charged and brought no reply, at the most."""
    unanswered: list[str] = field(default_factory=list)
    """Why a request was left without an answer, one message each."""
    lost_in_a_row: int = 0
    last_reply: float = 0.0

    @property
    def known(self) -> bool:
        """Tell whether the teacher has ever answered."""
        return self.replies + self.stored_before > 0


class Collector:
    """One collection: its answers, and what it took to get them."""

    def __init__(
        self,
        store: Store,
        settings: CollectedRoutes,
        tell: Callable[[int, str], None] = lambda count, note: None,
    ) -> None:
        """`tell` hears of each answer, with a few words on how it goes."""
        self.store, self.settings = store, settings
        self.answers: dict[str, dict[tuple[str, str, int], Reply]] = {}
        """Replies by the teacher's name and the request's place."""
        self.tallies: dict[str, Tally] = {}
        self.stopped: str | None = None
        """Why no more is asked."""
        self.interrupted = False
        self.budget = Budget(
            usd=settings.budget_usd,
            tokens=settings.budget_tokens,
            spent=store.spent() + store.lost(),
        )
        self._tell = tell
        self._places = asyncio.Semaphore(settings.concurrency)
        self._stopping = asyncio.Event()
        self._calls: set[asyncio.Task[None]] = set()

    async def collect(self, asked: Sequence[tuple[Teacher, Sequence[Request]]]) -> None:
        """Get an answer to every request, from the store or from its teacher, in the order given."""
        open_slots = [(teacher, self._look_up(teacher, requests)) for teacher, requests in asked]
        try:
            async with asyncio.TaskGroup() as group:
                for teacher, slots in open_slots:
                    group.create_task(self._ask_all(group, teacher, slots))
        except BaseExceptionGroup as errors:
            raise _first(errors) from None
        finally:
            await self.store.flush()

    def stop(self, reason: str) -> None:
        """Send nothing more; what is in flight may still finish."""
        self.stopped = self.stopped or reason
        self._stopping.set()

    @contextmanager
    def limits(self) -> Iterator[None]:
        """Within the block Ctrl-C and the limit of time end the collection."""
        loop = asyncio.get_running_loop()
        timer = (
            loop.call_later(self.settings.total_seconds, self._end_time)
            if self.settings.total_seconds
            else None
        )
        in_main_thread = threading.current_thread() is threading.main_thread()
        with suppress(NotImplementedError):  # Windows: there Ctrl-C cancels at once
            if in_main_thread:
                loop.add_signal_handler(signal.SIGINT, self._interrupt)
        try:
            yield
        finally:
            if timer is not None:
                timer.cancel()
            with suppress(NotImplementedError):
                if in_main_thread:
                    loop.remove_signal_handler(signal.SIGINT)

    def _look_up(self, teacher: Teacher, requests: Sequence[Request]) -> dict[Slot, list[Request]]:
        """Take what is stored, and return the rest by slot: two problems may ask the very same."""
        answers, tally = (
            self.answers.setdefault(teacher.name, {}),
            self.tallies.setdefault(teacher.name, Tally()),
        )
        open_slots: dict[Slot, list[Request]] = {}
        for request in requests:
            slot = _slot(teacher, request)
            reply = None if teacher.fields is None else self.store.get(*slot)
            if reply is None:
                open_slots.setdefault(slot, []).append(request)
            else:
                answers[request.place] = reply
                tally.stored_before += 1
                self._tell(1, self.note())
        return open_slots

    async def _ask_all(
        self, group: asyncio.TaskGroup, teacher: Teacher, slots: dict[Slot, list[Request]]
    ) -> None:
        """Begin a task for each call. Twice as many as are in flight, so that a pause before a retry leaves no place empty."""
        begun = asyncio.Semaphore(2 * self.settings.concurrency if teacher.at_once == 1 else 1)
        order = list(slots.items())
        for start in range(0, len(order), teacher.at_once):
            await begun.acquire()
            if self._stopping.is_set():
                return
            call = group.create_task(
                self._answer(teacher, dict(order[start : start + teacher.at_once]))
            )
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
            call.add_done_callback(lambda _: begun.release())

    async def _answer(self, teacher: Teacher, slots: dict[Slot, list[Request]]) -> None:
        """Try until there is an answer, or no attempt is left."""
        tally, began = self.tallies[teacher.name], time.monotonic()
        attempts = in_silence = 0
        while not self._stopping.is_set():
            asked = time.monotonic()
            try:
                async with self._places:
                    if self._stopping.is_set():
                        return
                    await self._call(teacher, slots)
                await self.store.written()  # the next call need not wait for the disk
                self._tell(sum(map(len, slots.values())), self.note())
                return
            except BudgetReached as reached:
                self.stop(str(reached))
            except Refused as refusal:
                self._leave_out(teacher, slots, refusal)
                return
            except TryAgain as failure:
                patience = (
                    self.settings.attempts
                    if tally.known
                    else min(self.settings.attempts, FIRST_ATTEMPTS)
                )
                if attempts + 1 < patience:
                    attempts += 1
                elif not (
                    failure.busy and tally.last_reply > began
                ):  # a busy one that answers others will answer us
                    self._give_up(teacher, slots, failure, patience)
                    return
                in_silence = in_silence + 1 if failure.busy or tally.last_reply < asked else 1
                tally.retries += 1
                self._tell(0, self.note())
                await self._pause(in_silence, failure.after)

    async def _call(self, teacher: Teacher, slots: dict[Slot, list[Request]]) -> None:
        """Make one call within the budget, and give what comes back to the store."""
        tally, requests = self.tallies[teacher.name], [same[0] for same in slots.values()]
        free = teacher.fields is None
        worst = (
            Spent()
            if free
            else sum(
                (worst_case(request, teacher.max_tokens, teacher.price) for request in requests),
                Spent(),
            )
        )
        await self.budget.reserve(worst)
        tally.calls += len(requests)
        spent, lost = worst, True  # so long as nobody knows better
        try:
            replies = await teacher.ask(requests)
            costs = [
                cost_of(reply, request, teacher.max_tokens, teacher.price)
                if reply and not free
                else Spent()
                for reply, request in zip(replies, requests, strict=True)
            ]
            spent, lost = sum(costs, Spent()), False
        except TryAgain as failure:
            spent = worst if failure.maybe_charged else Spent()
            raise
        except (Refused, RealmError):
            spent = Spent()
            raise
        finally:
            self.budget.settle(worst, spent)
            if not lost:
                tally.spent += spent
            elif spent.tokens:
                tally.lost += spent
                self.store.add_lost(teacher.name, spent)
        tally.last_reply, tally.lost_in_a_row = time.monotonic(), 0
        for (slot, same), reply, cost in zip(slots.items(), replies, costs, strict=True):
            if reply is None:
                tally.unanswered += ["it has no such reply"] * len(same)
                continue
            reply = replace(reply, cost_usd=None if teacher.price is None else cost.usd)
            if not free:
                self.store.add(*slot, reply, teacher=teacher.name, spent=cost)
            tally.replies += 1
            self.answers[teacher.name].update({request.place: reply for request in same})

    async def _pause(self, in_silence: int, after: float | None) -> None:
        """Wait before the next attempt: as long as the endpoint asks for, else the longer the longer it is silent or busy.

        An endpoint that answers others is well, and a chance failure is no reason to wait long. A stop ends the pause.
        """
        seconds = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (in_silence - 1)) * random.uniform(0.5, 1)
        if after is not None:
            seconds = after + min(seconds, 1.0) / 2  # not all at the same moment
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    def _leave_out(
        self, teacher: Teacher, slots: dict[Slot, list[Request]], refusal: Refused
    ) -> None:
        """Go on without a request that the endpoint refuses, if it takes others; else it refuses them all."""
        tally, first = self.tallies[teacher.name], next(iter(slots.values()))[0]
        if not tally.known:
            raise ConfigError(
                f"teacher {teacher.name!r} refuses what it is asked: {refusal}. Check its model, temperature, max_tokens and "
                f"extra in routes.teachers (the first such request is of problem {first.problem.id!r})."
            )
        self._note_unanswered(tally, slots, f"problem {first.problem.id!r}: refused: {refusal}")

    def _give_up(
        self, teacher: Teacher, slots: dict[Slot, list[Request]], failure: TryAgain, attempts: int
    ) -> None:
        """Go on without a request that found no answer, if others do; a teacher that is down ends the collection."""
        tally, first = self.tallies[teacher.name], next(iter(slots.values()))[0]
        tally.lost_in_a_row += 1
        if tally.lost_in_a_row >= LOST_IN_A_ROW or not tally.known:
            raise RunError(
                f"teacher {teacher.name!r} does not answer: {attempts} attempts at a request failed, the last: {failure}. See "
                "that it is up and that base_url is right, then run again: what is answered is kept. "
                "routes.attempts and routes.request_seconds say how long to try."
            )
        self._note_unanswered(
            tally, slots, f"problem {first.problem.id!r}: {attempts} attempts, the last: {failure}"
        )

    def _note_unanswered(self, tally: Tally, slots: dict[Slot, list[Request]], why: str) -> None:
        count = sum(map(len, slots.values()))
        tally.unanswered += [why] * count
        self._tell(count, self.note())

    def note(self) -> str:
        """Return in a few words how it goes."""
        total = Counter(calls=0, retries=0)
        for tally in self.tallies.values():
            total.update(calls=tally.calls, retries=tally.retries, tokens=tally.spent.tokens)
        usd = sum(tally.spent.usd for tally in self.tallies.values())
        cost = f", ${usd:.2f}" if usd else ""
        return f"{total['calls']:,} calls, {total['tokens']:,} tokens{cost}, {total['retries']:,} retries"

    def describe_unanswered(self) -> list[str]:
        """Return a few of the reasons why requests have no answer, a line each."""
        lines = []
        for name, tally in self.tallies.items():
            reasons = Counter(tally.unanswered)
            lines += [
                f"  {name}, {count}x: {reason}" for reason, count in list(reasons.items())[:_SAID]
            ]
        return lines

    def _end_time(self) -> None:
        self.stop(f"the time is over: routes.total_seconds = {self.settings.total_seconds:g}")
        self._cancel()

    def _interrupt(self) -> None:
        """Let what is in flight, and paid for, finish at the first Ctrl-C; drop it at the second."""
        if self.interrupted:
            self._cancel()
            return
        self.interrupted = True
        self.stop("interrupted")
        print(
            f"\nfinishing {len(self._calls)} requests in flight; Ctrl-C again drops them",
            file=sys.stderr,
            flush=True,
        )

    def _cancel(self) -> None:
        for call in self._calls:
            call.cancel()


def _slot(teacher: Teacher, request: Request) -> Slot:
    if teacher.fields is None:
        return f"{request.problem.id}:{request.kind}", request.sample
    return hash_request(teacher.fields, request.messages), request.sample


def _first(errors: BaseExceptionGroup) -> BaseException:
    """Return the user's mistake among what went wrong, or the first of all."""
    return next(
        (error for error in errors.exceptions if isinstance(error, RealmError)),
        errors.exceptions[0],
    )
