"""An expert in the place of a teacher model, and sources that make mistakes.

With the rules at hand the expert never errs. Four of the *sources* have not read the rule book:
they share blind spots, so that their majority is wrong too, and each lacks rules of its own. The
source `reader` knows all rules. Every source overlooks or misreads a step at times, and goes on
from the wrong state.
"""

from __future__ import annotations

import random
from dataclasses import replace

import realm

from .generate import procedure_of
from .world import BLIND_SPOTS, CONTAINERS, PLACES, Event, Procedure, solve

MISSES_RULE = 0.9
"""Chance that a route goes without a rule that its source does not know."""
SLIPS_PER_STEP = 0.04
"""Chance that a step is overlooked or misread."""
UNKNOWN = {
    "cook": (*BLIND_SPOTS, 11, 18),
    "guest": (*BLIND_SPOTS, 5, 9),
    "porter": (*BLIND_SPOTS, 8),
    "sailor": (*BLIND_SPOTS, 2),
    "reader": (),
}
"""The rules that each source does not know."""


def write_chain(problem: realm.Problem) -> realm.Route:
    """Return the chain of thought of the expert who reads the rules."""
    solution = solve(procedure_of(problem))
    return realm.Route(
        problem_id=problem.id,
        source="expert",
        # A chain is taught with its answer in a block of its own.
        text="\n".join(solution.lines),
        answer=solution.answer,
        correct=solution.answer == problem.answer,
        guided=True,
        process=True,
    )


def write_route(problem: realm.Problem, source: str, rng: random.Random) -> realm.Route:
    """Return one route of `source`: its beliefs, perhaps slips, and the result."""
    procedure = procedure_of(problem)
    unknown = [rule for rule in UNKNOWN[source] if rng.random() < MISSES_RULE]
    events = [
        _misread(event, procedure, rng) if rng.random() < SLIPS_PER_STEP else event
        for event in procedure.events
    ]
    solution = solve(replace(procedure, events=tuple(events)), unknown)
    return realm.Route(
        problem_id=problem.id,
        source=source,
        text="\n".join([*solution.lines, solution.answer]),
        answer=solution.answer,
        correct=solution.answer == problem.answer,
    )


def _misread(event: Event, procedure: Procedure, rng: random.Random) -> Event:
    """Return the event with another target, or an overlooked one."""
    known = [one.name for one in procedure.containers] if event.target in CONTAINERS else PLACES
    others = [target for target in known if target != event.target]
    if not event.target or not others:
        return Event(kind="none")
    return replace(event, target=rng.choice(others))
