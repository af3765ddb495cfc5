"""Draw claims, describe them in words, and split them.

Some combinations of rules never appear in training: claims that need one are the split test_rules.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Set
from dataclasses import asdict

import realm

from .adjudicate import FEES, TIERS, Claim, adjudicate

HELD_OUT_COMBINATIONS = (
    frozenset({3, 17, 18}),  # lapsed within the grace period, no copay, another plan paid
    frozenset({7, 12}),  # gold's longer filing time, outside the network
    frozenset({9, 11}),  # an emergency that waives approval and opens the network
    frozenset({12, 15}),  # preventive care outside the network
    frozenset({5, 16, 18}),  # cosmetics after an accident, another plan paid
)
"""Sets of rule numbers. Claims decided by all rules of one set are in `test_rules` only."""


def draw_claim(rng: random.Random) -> Claim:
    """Return a random claim.

    The chances make each exception apply about as often as the rule it belongs to.
    """
    days = rng.random()
    other_services = [service for service in FEES if service != "massage"]
    return Claim(
        tier=rng.choice(TIERS),
        service="massage" if rng.random() < 0.03 else rng.choice(other_services),
        lapsed_days=rng.randint(1, 20) if rng.random() < 0.11 else 0,
        emergency=rng.random() < 0.35,
        accident=rng.random() < 0.5,
        filed_days=_draw_filed_days(days, rng),
        approval=rng.random() < 0.55,
        in_network=rng.random() < 0.65,
        bill=rng.randint(10, 60),
        deductible=rng.randint(1, 15) if rng.random() < 0.7 else 0,
        other_paid=rng.randint(1, 12) if rng.random() < 0.4 else 0,
    )


def _draw_filed_days(point: float, rng: random.Random) -> int:
    """Return days in time for all, in time for gold members only, or too late for all."""
    if point < 0.8:
        return rng.randint(1, 30)
    if point < 0.97:
        return rng.randint(31, 60)
    return rng.randint(61, 80)


def describe_claim(claim: Claim, rng: random.Random) -> str:
    """Return the claim in words: one sentence per fact, reworded and shuffled after the first."""
    opening = rng.choice(
        [
            f"A {claim.tier} member had {claim.service}.",
            f"This claim is for {claim.service}. The member is {claim.tier}.",
            f"We got a claim for {claim.service} from a {claim.tier} member.",
        ]
    )
    facts = [rng.choice(wordings) for wordings in _list_wordings(claim)]
    if claim.accident:
        facts.append("It followed an accident.")
    if claim.other_paid:
        amount = claim.other_paid
        facts.append(rng.choice([f"Another plan paid {amount}.", f"The other plan paid {amount}."]))
    rng.shuffle(facts)
    return " ".join([opening, *facts])


def _list_wordings(claim: Claim) -> list[list[str]]:
    """Return, for each fact that every claim states, the sentences that may state it."""
    days = claim.lapsed_days
    active = ["The membership is active.", "The member is active."]
    lapsed = [
        f"The membership lapsed {days} days before.",
        f"The member lapsed {days} days earlier.",
    ]
    emergency = ["It was an emergency.", "The visit was an emergency."]
    planned = ["The visit was planned.", "It was no emergency."]
    approved = ["Approval was given.", "It was approved before."]
    not_approved = ["No approval was given.", "Nobody approved it."]
    inside = ["The clinic is in the network.", "The network has this clinic."]
    outside = ["The clinic is outside the network.", "The clinic is not in the network."]
    return [
        lapsed if days else active,
        emergency if claim.emergency else planned,
        [
            f"It was filed after {claim.filed_days} days.",
            f"The claim came {claim.filed_days} days later.",
        ],
        approved if claim.approval else not_approved,
        inside if claim.in_network else outside,
        [f"The bill is {claim.bill}.", f"The clinic billed {claim.bill}."],
        [
            f"The deductible left is {claim.deductible}.",
            f"There is {claim.deductible} left of the deductible.",
        ],
    ]


def is_held_out(claim: Claim) -> bool:
    """Return whether the decision on `claim` uses a combination of rules held out of training."""
    used = adjudicate(claim).rules
    return any(combination <= used for combination in HELD_OUT_COMBINATIONS)


def draw_problems(sizes: Mapping[str, int], seed: int) -> Iterator[realm.Problem]:
    """Yield `sizes[split]` distinct problems for each split; the same seed gives the same ones.

    A split's problems do not depend on the sizes of the others, but no claim is drawn twice.
    """
    seen: set[Claim] = set()
    for split, size in sizes.items():
        rng = random.Random(f"claims:{seed}:{split}")
        count = 0
        while count < size:
            claim = draw_claim(rng)
            if claim in seen or is_held_out(claim) != (split == "test_rules"):
                continue
            seen.add(claim)
            yield _make_problem(f"{split}-{count:05d}", split, claim, rng)
            count += 1


def draw_similar_problem(
    problem: realm.Problem, rng: random.Random, *, taken: Set[Claim], num_tries: int = 2000
) -> realm.Problem | None:
    """Return a problem that is decided by the same rules and is not in `taken`; None if not found.

    Each draw keeps about half of the facts, so that rare combinations of rules are found too.
    """
    known = problem.meta["claim"]
    rules = set(problem.meta["rules"])
    for _ in range(num_tries):
        drawn = asdict(draw_claim(rng))
        facts = {name: known[name] if rng.random() < 0.5 else drawn[name] for name in drawn}
        claim = Claim(**facts)
        if claim not in taken and adjudicate(claim).rules == rules:
            return _make_problem(f"{problem.id}-similar", "train", claim, rng)
    return None


def claim_of(problem: realm.Problem) -> Claim:
    """Return the claim that a problem describes."""
    return Claim(**problem.meta["claim"])


def _make_problem(identity: str, split: str, claim: Claim, rng: random.Random) -> realm.Problem:
    decision = adjudicate(claim)
    return realm.Problem(
        id=identity,
        split=split,
        question=describe_claim(claim, rng),
        answer=decision.answer,
        meta={"claim": asdict(claim), "rules": sorted(decision.rules)},
    )
