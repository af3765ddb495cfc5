"""What calls cost: the worst case before a call, the real cost after it, and a hard cap."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realm.config.teachers import Price
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
