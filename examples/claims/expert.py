"""An expert in the place of a teacher model, so that the demo needs no API.

With the rules at hand the expert never errs. Without them it writes as one of several *sources*.
Each source has its own misconceptions about the rules. All its routes share them, so that a
majority of routes can be wrong. Besides, a source slips at random.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import realm

from .adjudicate import FEES, Claim, Decision, Rules, adjudicate
from .generate import claim_of

FOLLOWS_MISCONCEPTION = 0.55
"""Chance that a route follows each of its source's misconceptions: a source errs now and then."""
SLIPS = {"hasty": 0.5, "frugal": 0.5, "dated": 0.4, "careless": 0.95, "outsider": 0.36}
"""Chance that a route misreads a fact, misremembers a number of the rules, or subtracts wrongly."""

MISCONCEPTIONS: dict[str, tuple[dict[str, Any], ...]] = {
    "hasty": (  # forgets exceptions
        {"emergency_waives_approval": False, "emergency_opens_network": False},
        {"filing_days": {"bronze": 30, "silver": 30, "gold": 30}},
        {"preventive_deductible": False},
        {"emergency_waives_copay": False},
        {"limits": {"bronze": 60, "silver": 60, "gold": 60}},
    ),
    "frugal": (  # reads every rule to the insurer's advantage
        {"network_only": ("bronze", "silver")},
        {"needs_approval": ("therapy", "scan", "surgery", "x-ray")},
        {"accident_cosmetics": False, "grace_days": 0},
        {"copays": {"bronze": 12, "silver": 8, "gold": 5}},
        {"fees": FEES | {"checkup": 16, "vaccine": 10, "surgery": 40}},
    ),
    "dated": (  # works from an old manual
        {"fees": FEES | {"checkup": 15, "dental care": 20, "therapy": 25, "ambulance": 30}},
        {"emergency_waives_copay": False},
        {"copays": {"bronze": 6, "silver": 6, "gold": 6}},
        {"grace_days": 0, "limits": {"bronze": 15, "silver": 25, "gold": 35}},
    ),
    "careless": (),  # knows the rules and slips
    "outsider": (  # comes from another insurer
        {"halve_outside": False, "network_only": ()},
        {"subtract_other": False},
        {"fees": FEES | {"scan": 50, "surgery": 48, "x-ray": 30, "blood test": 20}},
        {"grace_days": 20, "needs_approval": ("scan", "surgery")},
        {"limits": {"bronze": 15, "silver": 20, "gold": 25}},
    ),
}


def write_chain(problem: realm.Problem) -> realm.Route:
    """Return the chain of thought of the expert who reads the rules."""
    return _make_route(problem, "expert", adjudicate(claim_of(problem)), is_guided=True)


def write_route(problem: realm.Problem, source: str, rng: random.Random) -> realm.Route:
    """Return one route of `source`: some of its misconceptions, perhaps a slip, and the result."""
    claim = claim_of(problem)
    rules = Rules()
    for misconception in MISCONCEPTIONS[source]:
        if rng.random() < FOLLOWS_MISCONCEPTION:
            rules = replace(rules, **misconception)
    if rng.random() < SLIPS[source]:
        slip = rng.choice([_misread, _misremember, _miscalculate])
        decision = slip(claim, rules, rng)
    else:
        decision = adjudicate(claim, rules)
    return _make_route(problem, source, decision, is_guided=False)


def _misread(claim: Claim, rules: Rules, rng: random.Random) -> Decision:
    """Decide the claim with one fact overlooked, or one of its numbers mistaken for another."""
    facts = ["emergency", "approval", "in_network", "accident"]
    numbers = ["bill", "deductible", "other_paid", "filed_days"]
    name = rng.choice([*facts, *numbers])
    if name in facts:
        return adjudicate(replace(claim, **{name: not getattr(claim, name)}), rules)
    other = getattr(claim, rng.choice(numbers))
    return adjudicate(replace(claim, **{name: other}), rules)


def _misremember(claim: Claim, rules: Rules, rng: random.Random) -> Decision:
    """Decide the claim with one number of the rules a little off."""
    name, key = rng.choice(
        [
            ("fees", claim.service),
            ("copays", claim.tier),
            ("limits", claim.tier),
            ("filing_days", claim.tier),
        ]
    )
    values = getattr(rules, name)
    shift = rng.choice([-30, 30] if name == "filing_days" else [-6, -4, -3, -2, 2, 3, 4, 6])
    changed = {**values, key: max(0, values[key] + shift)}
    return adjudicate(claim, replace(rules, **{name: changed}))


def _miscalculate(claim: Claim, rules: Rules, rng: random.Random) -> Decision:
    """Decide the claim with one subtraction a little off, and carry the error to the end."""
    decision = adjudicate(claim, rules)
    subtractions = ("deductible", "copay", "other")
    candidates = [i for i, step in enumerate(decision.steps) if step.topic in subtractions]
    if not candidates:
        return decision
    wrong = rng.choice(candidates)
    steps = list(decision.steps)
    left = max(0, int(steps[wrong].result) + rng.choice([-10, -2, -1, 1, 2, 10]))
    steps[wrong] = replace(steps[wrong], result=str(left))
    for index in range(wrong + 1, len(steps)):
        amount = int(steps[index].detail)
        is_limit = steps[index].topic == "limit"
        left = min(left, amount) if is_limit else max(0, left - amount)
        steps[index] = replace(steps[index], result=str(left))
    return Decision(tuple(steps), f"pay {left}")


def _make_route(
    problem: realm.Problem, source: str, decision: Decision, *, is_guided: bool
) -> realm.Route:
    truth = adjudicate(claim_of(problem))
    steps, true_steps = _write_steps(decision), _write_steps(truth)
    # A step holds if it is what the rules give: two decisions that differ do so in some step, since
    # the answers are steps too.
    pairs = zip(steps, true_steps, strict=False)
    flaw = next((number for number, (step, true) in enumerate(pairs, 1) if step != true), None)
    return realm.Route(
        problem_id=problem.id,
        source=source,
        # A chain is taught with its answer in a block of its own.
        text="\n".join(steps[:-1] if is_guided else steps),
        answer=decision.answer,
        correct=decision.answer == truth.answer,
        guided=is_guided,
        process=flaw is None,
        flaw=flaw,
        fix=true_steps[flaw - 1] if flaw else None,
    )


def _write_steps(decision: Decision) -> list[str]:
    """Return the steps of a chain of thought, the answer last."""
    return [*(step.text for step in decision.steps), decision.answer]
