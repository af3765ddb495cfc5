"""An expert in the place of a teacher model, and sources that make mistakes.

With the rules at hand the expert never errs. Five of the *sources* have not read the rule book:
each has beliefs about it that are wrong. Some are common to all five, so that the majority of their
routes is wrong too. The source `reader` knows the rules. Every source slips at random: it misreads
a number or adds wrongly.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import realm

from .generate import trip_of
from .pricing import REGIONS, Bag, Bill, Rules, price

FOLLOWS_BELIEF = 0.92
"""Chance that a route follows each of its source's beliefs."""
SLIPS_PER_BAG = 0.06
"""Chance that a route slips at a bag."""
_KNOWN = Rules()
_SHARED: tuple[dict[str, Any], ...] = (
    # A free bag costs nothing, whatever its size and weight. Nobody knows of the 70 lb.
    {"is_free_bag_charged": False, "allows_70": ()},
    # The first fee is the one of some years ago.
    {
        "first_basic": {**_KNOWN.first_basic, "U.S.": 30, "Puerto Rico": 30, "Canada": 30},
        "first_main": {**_KNOWN.first_main, "U.S.": 30, "Puerto Rico": 30, "Canada": 30},
    },
)

BELIEFS: dict[str, tuple[dict[str, Any], ...]] = {
    "frequent": (*_SHARED, {"oversize": dict.fromkeys(REGIONS, 200)}),
    "counter": (*_SHARED, {"heavy": dict.fromkeys(REGIONS, 300)}),
    "dated": (*_SHARED, {"fourth": 150}),
    "strict": (*_SHARED, {"size_limits": (60, 62)}),
    "partner": (*_SHARED, {"third_free_in_first": False, "weight_limits": (50, 55)}),
    "reader": (),
}
"""What each source believes of the rules, wrongly."""


def write_chain(problem: realm.Problem) -> realm.Route:
    """Return the chain of thought of the expert who reads the rules."""
    return _make_route(problem, "expert", price(trip_of(problem)), is_guided=True)


def write_route(problem: realm.Problem, source: str, rng: random.Random) -> realm.Route:
    """Return one route of `source`: its beliefs, perhaps a few slips, and the result."""
    trip = trip_of(problem)
    errors = {}
    for place, bag in enumerate(trip.bags):
        if rng.random() >= SLIPS_PER_BAG:
            continue
        if rng.random() < 0.5:
            errors[bag.number] = rng.choice([-100, -10, 10, 100])
        else:
            misread = _misread(bag, rng)
            trip = replace(trip, bags=(*trip.bags[:place], misread, *trip.bags[place + 1 :]))
    rules = _KNOWN
    for belief in BELIEFS[source]:
        if rng.random() < FOLLOWS_BELIEF:
            rules = replace(rules, **belief)
    bill = price(trip, rules, errors=errors)
    return _make_route(problem, source, bill, is_guided=False)


def check_route(problem: realm.Problem, route: realm.Route) -> realm.Route:
    """Return a route with its process label: the first step that does not hold, and its fix."""
    steps = [line.strip() for line in route.text.splitlines() if line.strip()]
    true_steps = _write_steps(price(trip_of(problem)))
    # Where a step is left out, the next ones differ from their places on.
    pairs = enumerate(zip(steps, true_steps, strict=False), 1)
    flaw = next((number for number, (step, true) in pairs if not _holds(step, true)), None)
    if flaw is None and len(steps) > len(true_steps):
        flaw = len(true_steps) + 1
    fix = true_steps[flaw - 1] if flaw and flaw <= len(true_steps) else None
    # The answer may be stated elsewhere; a route that lacks more than it is not known to be sound.
    is_whole = len(steps) >= len(true_steps) - 1
    process = False if flaw else (True if is_whole else None)
    return replace(route, process=process, flaw=flaw, fix=fix)


def _misread(bag: Bag, rng: random.Random) -> Bag:
    """Return a bag with one of its numbers read wrong by ten."""
    shift = rng.choice([-10, 10])
    if rng.random() < 0.5:
        return replace(bag, weight=bag.weight + shift)
    length, width, height = bag.size
    return replace(bag, size=(length + shift, width, height))


def _make_route(problem: realm.Problem, source: str, bill: Bill, *, is_guided: bool) -> realm.Route:
    steps = _write_steps(bill)
    route = realm.Route(
        problem_id=problem.id,
        source=source,
        # A chain is taught with its answer in a block of its own.
        text="\n".join(steps[:-1] if is_guided else steps),
        answer=bill.total,
        correct=bill.total == problem.answer,
        guided=is_guided,
    )
    return check_route(problem, route)


def _write_steps(bill: Bill) -> list[str]:
    """Return the steps of a chain of thought, the answer last."""
    return [*(step.text for step in bill.steps), str(bill.total)]


def _holds(step: str, true: str) -> bool:
    # A source that does not know the allowance leaves out what it saves; that step still holds.
    return step in (true, true.partition("; saves")[0])
