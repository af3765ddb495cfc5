"""Budgets: a call is let through only if the cap holds when all in flight cost the most."""

import asyncio

import pytest

from realm.config.teachers import Price
from realm.core.records import Problem
from realm.sources import Reply, Request
from realm.sources.budget import Budget, BudgetReachedError, Spent, reply_cost, worst_cost

PROBLEM = Problem(id="p", split="train", question="?", answer=1)
REQUEST = Request(
    problem=PROBLEM, kind="unguided", sample=0, messages=({"role": "user", "content": "é" * 50},)
)
TEN = Spent(usd=1.0, tokens=10)


def budget(tokens=None, usd=None, spent=Spent()):  # noqa: B008
    return Budget(usd=usd, tokens=tokens, spent=spent)


def test_the_worst_case_counts_a_token_per_byte_and_the_longest_reply():
    assert worst_cost(REQUEST, 1000, Price(prompt=1, completion=10)) == Spent(
        usd=(200 + 10_000) / 1e6, tokens=1200
    )


def test_a_reply_costs_what_the_endpoint_counted_or_the_worst_cost():
    price = Price(prompt=1, completion=10)
    assert reply_cost(
        Reply(text="", prompt_tokens=7, completion_tokens=3), REQUEST, 1000, price
    ) == Spent(usd=37 / 1e6, tokens=10)
    assert reply_cost(Reply(text="", prompt_tokens=7), REQUEST, 1000, price) == worst_cost(
        REQUEST, 1000, price
    )


def test_a_call_that_fits_exactly_is_let_through_and_the_next_is_not():
    async def spend():
        caps = budget(tokens=20)
        for _ in range(2):
            await caps.reserve_cost(TEN)
            caps.settle_cost(TEN, TEN)
        with pytest.raises(BudgetReachedError, match=r"20 of routes.budget_tokens = 20 spent"):
            await caps.reserve_cost(Spent(tokens=1))

    asyncio.run(spend())


def test_what_was_spent_before_counts():
    with pytest.raises(BudgetReachedError, match=r"\$1.9900 of routes.budget_usd = 2"):
        asyncio.run(budget(usd=2, spent=Spent(usd=1.99)).reserve_cost(TEN))


def test_a_call_waits_for_those_in_flight_which_may_cost_less_than_feared():
    async def spend():
        caps = budget(tokens=15)
        await caps.reserve_cost(TEN)
        second = asyncio.create_task(caps.reserve_cost(TEN))
        await asyncio.sleep(0)
        assert not second.done()
        caps.settle_cost(TEN, Spent(tokens=4))
        await asyncio.wait_for(second, 1)

    asyncio.run(spend())


def test_without_a_cap_everything_is_let_through():
    caps, most = budget(), Spent(usd=1e9, tokens=10**12)
    asyncio.run(caps.reserve_cost(most))
    caps.settle_cost(most, most)
    assert caps.spent == most
