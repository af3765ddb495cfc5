"""Draw claims, put them into words, and split them so that some combinations of rules never appear in training."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Set
from dataclasses import asdict

from realm.core.records import Problem
from realm.domains.claims.adjudicate import FEES, TIERS, Claim, adjudicate

HELD_OUT_COMBINATIONS = (
    frozenset({3, 17, 18}),  # lapsed within the grace period, no copay, another plan paid
    frozenset({7, 12}),  # gold's longer filing time, outside the network
    frozenset({9, 11}),  # an emergency that waives approval and opens the network
    frozenset({12, 15}),  # preventive care outside the network
    frozenset({5, 16, 18}),  # cosmetics after an accident, another plan paid
)
"""Sets of rule numbers; a claim whose decision uses all rules of one set is only ever in `test_rules`."""


def draw_claim(rng: random.Random) -> Claim:
    """Return a random claim. Exceptions are drawn about as often as the rules they except from."""
    days = rng.random()
    return Claim(
        tier=rng.choice(TIERS),
        service="massage"
        if rng.random() < 0.03
        else rng.choice([service for service in FEES if service != "massage"]),
        lapsed_days=rng.randint(1, 20) if rng.random() < 0.11 else 0,
        emergency=rng.random() < 0.35,
        accident=rng.random() < 0.5,
        filed_days=rng.randint(1, 30)
        if days < 0.8
        else rng.randint(31, 60)
        if days < 0.97
        else rng.randint(61, 80),
        approval=rng.random() < 0.55,
        in_network=rng.random() < 0.65,
        bill=rng.randint(10, 60),
        deductible=rng.randint(1, 15) if rng.random() < 0.7 else 0,
        other_paid=rng.randint(1, 12) if rng.random() < 0.4 else 0,
    )


def describe(claim: Claim, rng: random.Random) -> str:
    """Return the claim in words: one sentence a fact, each in one of several wordings, in random order after the first."""
    opening = rng.choice([
        f"A {claim.tier} member had {claim.service}.",
        f"This claim is for {claim.service}. The member is {claim.tier}.",
        f"We got a claim for {claim.service} from a {claim.tier} member.",
    ])  # fmt: skip
    facts = [
        rng.choice(["The membership is active.", "The member is active."])
        if claim.lapsed_days == 0
        else rng.choice([
            f"The membership lapsed {claim.lapsed_days} days before.",
            f"The member lapsed {claim.lapsed_days} days earlier.",
        ]),
        rng.choice(["It was an emergency.", "The visit was an emergency."])
        if claim.emergency
        else rng.choice(["The visit was planned.", "It was no emergency."]),
        rng.choice([f"It was filed after {claim.filed_days} days.", f"The claim came {claim.filed_days} days later."]),
        rng.choice(["Approval was given.", "It was approved before."])
        if claim.approval
        else rng.choice(["No approval was given.", "Nobody approved it."]),
        rng.choice(["The clinic is in the network.", "The network has this clinic."])
        if claim.in_network
        else rng.choice(["The clinic is outside the network.", "The clinic is not in the network."]),
        rng.choice([f"The bill is {claim.bill}.", f"The clinic billed {claim.bill}."]),
        rng.choice([f"The deductible left is {claim.deductible}.", f"There is {claim.deductible} left of the deductible."]),
    ]  # fmt: skip
    if claim.accident:
        facts.append("It followed an accident.")
    if claim.other_paid:
        facts.append(
            rng.choice(
                [
                    f"Another plan paid {claim.other_paid}.",
                    f"The other plan paid {claim.other_paid}.",
                ]
            )
        )
    rng.shuffle(facts)
    return " ".join([opening, *facts])


def is_held_out(claim: Claim) -> bool:
    """Tell whether the decision on `claim` uses one of the rule combinations that training must not see."""
    used = adjudicate(claim).rules
    return any(combination <= used for combination in HELD_OUT_COMBINATIONS)


def generate(sizes: Mapping[str, int], seed: int) -> Iterator[Problem]:
    """Yield `sizes[split]` distinct problems for each split, the same for the same seed.

    A split's problems do not depend on the other splits' sizes, but no claim is drawn twice.
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
            decision = adjudicate(claim)
            yield Problem(
                id=f"{split}-{count:05d}",
                split=split,
                question=describe(claim, rng),
                answer=decision.answer,
                meta={"claim": asdict(claim), "rules": sorted(decision.rules)},
            )
            count += 1


def similar_problem(
    problem: Problem, rng: random.Random, *, taken: Set[Claim], tries: int = 2000
) -> Problem | None:
    """Return a problem that is none of `taken` and whose decision uses the same rules; `None` where `tries` draws find none.

    Each draw keeps about half of the facts, so that rare combinations of rules are found.
    """
    known, wanted = problem.meta["claim"], set(problem.meta["rules"])
    for _ in range(tries):
        drawn = asdict(draw_claim(rng))
        claim = Claim(
            **{name: known[name] if rng.random() < 0.5 else value for name, value in drawn.items()}
        )
        if claim not in taken and adjudicate(claim).rules == wanted:
            decision = adjudicate(claim)
            return Problem(
                id=f"{problem.id}-similar",
                split="train",
                question=describe(claim, rng),
                answer=decision.answer,
                meta={"claim": asdict(claim), "rules": sorted(decision.rules)},
            )
    return None
