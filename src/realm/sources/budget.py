"""What calls cost: the worst that one may cost before it is made, what it did cost, and a hard cap on the sum."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from realm.config.routes import Price
from realm.sources import Reply, Request

PROMPT_OVERHEAD = 100
"""Tokens that a chat template or a provider may put around the messages."""


@dataclass(frozen=True, kw_only=True)
class Spent:
    """Dollars and tokens."""

    usd: float = 0.0
    tokens: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(usd=self.usd + other.usd, tokens=self.tokens + other.tokens)


def price_of(prompt_tokens: float, completion_tokens: float, price: Price | None) -> float:
    """Return the cost in dollars; 0 where no price is set.

    >>> price_of(1_000_000, 500_000, Price(prompt=2, completion=8))
    6.0
    """
    return (
        0.0
        if price is None
        else (prompt_tokens * price.prompt + completion_tokens * price.completion) / 1e6
    )


def worst_case(request: Request, max_tokens: int, price: Price | None) -> Spent:
    """Return the most that a call may cost: a token is a byte at least, and the reply as long as it may be."""
    prompt = sum(len(message["content"].encode()) for message in request.messages) + PROMPT_OVERHEAD
    return Spent(usd=price_of(prompt, max_tokens, price), tokens=prompt + max_tokens)


def cost_of(reply: Reply, request: Request, max_tokens: int, price: Price | None) -> Spent:
    """Return what a reply cost by the endpoint's own count; the worst case where it gave none."""
    if reply.prompt_tokens is None or reply.completion_tokens is None:
        return worst_case(request, max_tokens, price)
    usd = price_of(reply.prompt_tokens, reply.completion_tokens, price)
    return Spent(usd=usd, tokens=reply.prompt_tokens + reply.completion_tokens)


class BudgetReached(Exception):
    """The next call might go over a cap."""


class Budget:
    """Hard caps: a call is let through only if it stays within them though all that is in flight costs the most it may."""

    def __init__(self, *, usd: float | None, tokens: int | None, spent: Spent) -> None:
        self.usd, self.tokens, self.spent = usd, tokens, spent
        self._in_flight: list[Spent] = []
        self._settled = asyncio.Event()

    async def reserve(self, worst: Spent) -> None:
        """Wait until a call of this worst case fits; `BudgetReached` when nothing is left in flight to wait for."""
        while not self._fits(worst):
            if not self._in_flight:
                raise BudgetReached(self._describe())
            self._settled.clear()
            await self._settled.wait()
        self._in_flight.append(worst)

    def settle(self, worst: Spent, spent: Spent) -> None:
        """Put what a call has cost in the place of its worst case."""
        self._in_flight.remove(worst)
        self.spent += spent
        self._settled.set()

    def _fits(self, worst: Spent) -> bool:
        total = sum(self._in_flight, self.spent + worst)
        return not (
            (self.usd is not None and total.usd > self.usd)
            or (self.tokens is not None and total.tokens > self.tokens)
        )

    def _describe(self) -> str:
        caps = []
        if self.usd is not None:
            caps.append(f"${self.spent.usd:.4f} of routes.budget_usd = {self.usd:g}")
        if self.tokens is not None:
            caps.append(f"{self.spent.tokens:,} of routes.budget_tokens = {self.tokens:,}")
        return f"the budget is reached: {' and '.join(caps)} spent, and the next call might cost more than is left"
