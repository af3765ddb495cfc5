"""What calls cost: the worst case before a call, the real cost after it, and a hard cap."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from realm.config.teachers import Price
    from realm.core.records import Route
    from realm.sources import Reply, Request

# Tokens that a chat template or a provider may put around the messages.
PROMPT_OVERHEAD = 100


@dataclass(frozen=True, kw_only=True)
class Spent:
    """Dollars and tokens.

    >>> Spent(usd=1.0, tokens=10) + Spent(usd=0.5, tokens=3)
    Spent(usd=1.5, tokens=13)
    """

    usd: float = 0.0
    tokens: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(usd=self.usd + other.usd, tokens=self.tokens + other.tokens)


def price_tokens(prompt_tokens: float, completion_tokens: float, price: Price | None) -> float:
    """Return the price in dollars; 0 if no price is set."""
    if price is None:
        return 0.0
    return (prompt_tokens * price.prompt + completion_tokens * price.completion) / 1e6


def worst_cost(request: Request, max_tokens: int, price: Price | None) -> Spent:
    """Return the most that a call may cost: a token per byte, and the longest possible reply."""
    # No tokenizer makes more tokens than bytes, so this holds for every model.
    num_bytes = sum(len(message["content"].encode()) for message in request.messages)
    prompt = num_bytes + PROMPT_OVERHEAD
    return Spent(usd=price_tokens(prompt, max_tokens, price), tokens=prompt + max_tokens)


def reply_cost(reply: Reply, request: Request, max_tokens: int, price: Price | None) -> Spent:
    """Return the cost by the endpoint's own count, or the worst case if it did not count."""
    if reply.prompt_tokens is None or reply.completion_tokens is None:
        return worst_cost(request, max_tokens, price)
    return Spent(
        usd=price_tokens(reply.prompt_tokens, reply.completion_tokens, price),
        tokens=reply.prompt_tokens + reply.completion_tokens,
    )


@dataclass
class TeacherStats:
    """What became of one teacher's requests in this call of the command.

    >>> TeacherStats(replies=3, unanswered=["problem 'p1': refused"]).has_replied
    True
    """

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


class BudgetReachedError(Exception):
    """The next call might exceed a cap."""


class Budget:
    """Hard caps: a call is let through only if they hold when all calls in flight cost the most."""

    def __init__(self, *, usd: float | None, tokens: int | None, spent: Spent) -> None:
        self.usd, self.tokens = usd, tokens
        self.spent = spent
        self._reserved: list[Spent] = []
        self._settled = asyncio.Event()

    async def reserve_cost(self, worst: Spent) -> None:
        """Wait until a call of this worst case fits.

        Raises:
            BudgetReachedError: It does not fit, and no call in flight may leave something over.
        """
        # Calls in flight mostly cost less than feared, so it pays to wait for them.
        while not self._is_within_caps(worst):
            if not self._reserved:
                raise BudgetReachedError(self._describe_spent())
            self._settled.clear()
            await self._settled.wait()
        self._reserved.append(worst)

    def settle_cost(self, worst: Spent, spent: Spent) -> None:
        """Replace the worst case of a call by what it cost."""
        self._reserved.remove(worst)
        self.spent += spent
        self._settled.set()

    def _is_within_caps(self, worst: Spent) -> bool:
        total = sum(self._reserved, self.spent + worst)
        within_usd = self.usd is None or total.usd <= self.usd
        return within_usd and (self.tokens is None or total.tokens <= self.tokens)

    def _describe_spent(self) -> str:
        caps = []
        if self.usd is not None:
            caps.append(f"${self.spent.usd:.4f} of routes.budget_usd = {self.usd:g}")
        if self.tokens is not None:
            caps.append(f"{self.spent.tokens:,} of routes.budget_tokens = {self.tokens:,}")
        spent = " and ".join(caps)
        return (
            f"the budget is reached: {spent} spent, and the next call might cost more than is left"
        )


def make_figures(routes: Sequence[Route], stats: Mapping[str, TeacherStats]) -> dict[str, Any]:
    """Return the manifest's figures for all teachers and each: labels, tokens, cost per label.

    Costs are those of the routes at hand, whenever they were paid; calls and retries are of this
    call of the command.
    """
    rows = {
        name: _summarize_routes([route for route in routes if route.source == name], [row])
        for name, row in stats.items()
    }
    return {"all": _summarize_routes(routes, list(stats.values())), "teachers": rows}


def _summarize_routes(routes: Sequence[Route], stats: Sequence[TeacherStats]) -> dict[str, Any]:
    right = sum(route.correct is True for route in routes)
    wrong = sum(route.correct is False for route in routes)
    # A run may mix priced and free teachers; without any price there is no cost to report.
    priced = [route.cost_usd for route in routes if route.cost_usd is not None]
    cost = sum(priced) if priced else None
    return {
        "answers": len(routes),
        "positives": right,
        "negatives": wrong,
        "rationalized": sum(route.rationalized for route in routes),
        "unanswered": sum(len(row.unanswered) for row in stats),
        "stored_before": sum(row.stored_before for row in stats),
        "calls": sum(row.calls for row in stats),
        "retries": sum(row.retries for row in stats),
        "prompt_tokens": sum(route.usage.get("prompt_tokens", 0) for route in routes),
        "completion_tokens": sum(route.usage.get("completion_tokens", 0) for route in routes),
        "cost_usd": cost,
        "maybe_lost_usd": sum(row.lost.usd for row in stats),
        "cost_per_positive_usd": cost / right if cost is not None and right else None,
        "cost_per_negative_usd": cost / wrong if cost is not None and wrong else None,
    }


def describe_lost(lost: Spent) -> str:
    """Return what attempts without a reply may have cost, as a line."""
    cost = f"${lost.usd:,.2f} and {lost.tokens:,} tokens at most"
    return f"calls that broke off may have been charged as well, {cost}"
