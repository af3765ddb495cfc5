"""An expert in the place of a teacher model, so that no API is needed.

With the rules at hand the expert never errs. Without them it writes as one of several *sources*
(sources.py), with that source's beliefs about the rules and with slips at random.
"""

from __future__ import annotations

import random
from dataclasses import replace

import realm

from .adjudicate import Claim, Decision, Rules, adjudicate, combine_visits
from .generate import case_of, decide_case
from .sources import SOURCES


def write_chain(problem: realm.Problem) -> realm.Route:
    """Return the chain of thought of the expert who reads the rules."""
    return _make_route(problem, "expert", decide_case(case_of(problem)), is_guided=True)


def write_route(problem: realm.Problem, source: str, rng: random.Random) -> realm.Route:
    """Return one route of `source`: what it believes of the rules, perhaps slips, the result."""
    author = SOURCES[source]
    rules = Rules()
    for belief in author.beliefs:
        if rng.random() < author.follows:
            rules = replace(rules, **belief)
    decisions = []
    for claim in case_of(problem):
        if rng.random() < author.slips:
            slip = rng.choice([_misread, _misremember, _miscalculate])
            decisions.append(slip(claim, rules, rng))
        else:
            decisions.append(adjudicate(claim, rules))
    return _make_route(problem, source, combine_visits(decisions, rules), is_guided=False)


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
    truth = decide_case(case_of(problem))
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
