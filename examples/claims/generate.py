"""Draw cases of one or several claims, describe them in words, and split them.

Some combinations of rules never appear in training: cases that need one are the split test_rules.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import asdict, replace
from typing import Literal

import realm

from .adjudicate import FEES, TIERS, Claim, Decision, adjudicate, combine_visits

Case = tuple[Claim, ...]
"""The claims of one problem, one per visit, all of the same member."""
Kind = Literal["visits", "services"]
"""What makes hard problems hard: more visits, or services whose fees no easy problem needs."""

HELD_OUT_COMBINATIONS = (
    frozenset({3, 17, 18}),  # lapsed within the grace period, no copay, another plan paid
    frozenset({7, 12}),  # gold's longer filing time, outside the network
    frozenset({9, 11}),  # an emergency that waives approval and opens the network
    frozenset({12, 15}),  # preventive care outside the network
    frozenset({5, 16, 18}),  # cosmetics after an accident, another plan paid
)
"""Sets of rule numbers. Claims decided by all rules of one set are in `test_rules` only."""
EASY = (1, 2, 3)
HARD = (2, 3, 4)
LARGER = (5,)
"""Numbers of visits: of easy problems, of hard ones, and of the split `test_larger`."""
NEW_SERVICES = frozenset({"blood test", "x-ray", "dental care", "therapy"})
"""With kind `services`: easy problems deny these services, and hard ones pay them."""
MAX_TOTAL = 99
"""The bundled model has a token for each number up to 99, and learned sums up to there."""


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
    return " ".join([opening, *_list_facts(claim, rng)])


def _list_facts(claim: Claim, rng: random.Random) -> list[str]:
    """Return a sentence for each fact but tier and service, reworded and shuffled."""
    facts = [rng.choice(wordings) for wordings in _list_wordings(claim)]
    if claim.accident:
        facts.append("It followed an accident.")
    if claim.other_paid:
        amount = claim.other_paid
        facts.append(rng.choice([f"Another plan paid {amount}.", f"The other plan paid {amount}."]))
    rng.shuffle(facts)
    return facts


def describe_case(case: Case, rng: random.Random) -> str:
    """Return a case in words: a claim as `describe_claim` does, or several visits in order."""
    if len(case) == 1:
        return describe_claim(case[0], rng)
    opening = rng.choice(
        [
            f"A {case[0].tier} member had {len(case)} visits.",
            f"We got {len(case)} claims from a {case[0].tier} member.",
        ]
    )
    visits = []
    for number, claim in enumerate(case, 1):
        facts = _list_facts(claim, rng)
        # In the words of the chain: a small model finds the visit by the same tokens.
        visits.append(" ".join([f"visit {number} was for {claim.service}.", *facts]))
    return "\n".join([opening, *visits])


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


def draw_case(numbers: Sequence[int], rng: random.Random) -> Case:
    """Return a random case of one member, with one of `numbers` visits."""
    # Without a choice nothing is drawn, so that problems of one visit stay those of before.
    number = numbers[0] if len(numbers) == 1 else rng.choice(numbers)
    claims = [draw_claim(rng) for _ in range(number)]
    return tuple(replace(claim, tier=claims[0].tier) for claim in claims)


def decide_case(case: Case) -> Decision:
    """Return the right decision on a case."""
    return combine_visits([adjudicate(claim) for claim in case])


def is_held_out(case: Case) -> bool:
    """Return whether the decision on a visit uses a combination of rules held out of training."""
    used = [adjudicate(claim).rules for claim in case]
    return any(combination <= rules for combination in HELD_OUT_COMBINATIONS for rules in used)


def draw_problems(
    sizes: Mapping[str, int], seed: int, num_easy: int | None = None, hard: Kind = "visits"
) -> Iterator[realm.Problem]:
    """Yield `sizes[split]` distinct problems for each split; the same seed gives the same ones.

    A split's problems do not depend on the sizes of the others, but no case is drawn twice.

    Args:
        sizes: The number of problems of each split.
        seed: The seed.
        num_easy: The number of easy training problems. They come first; all other problems are
            hard. None: every problem is a single claim, and none is hard.
        hard: What makes them hard.
    """
    seen: set[Case] = set()
    for split, size in sizes.items():
        rng = random.Random(f"claims:{seed}:{split}")
        count = 0
        while count < size:
            is_easy = split == "train" and num_easy is not None and count < num_easy
            case = draw_case(_choose_numbers(split, is_easy, num_easy, hard), rng)
            if case in seen or is_held_out(case) != (split == "test_rules"):
                continue
            if _is_too_large(case):
                continue
            if num_easy is not None and not _has_difficulty(case, is_easy, hard):
                continue
            seen.add(case)
            yield _make_problem(f"{split}-{count:05d}", split, case, rng)
            count += 1


def _choose_numbers(split: str, is_easy: bool, num_easy: int | None, hard: Kind) -> Sequence[int]:
    """Return the numbers of visits that a problem may have."""
    if split == "test_larger":
        return LARGER
    if num_easy is None or hard == "services":
        return (1,)
    return EASY if is_easy else HARD


def _has_difficulty(case: Case, is_easy: bool, hard: Kind) -> bool:
    """Return whether a case may be an easy problem, or a hard one."""
    decisions = [adjudicate(claim) for claim in case]
    if hard == "visits":
        # Hard: at least two visits are paid, else a wrong step could rarely change the sum.
        return is_easy or sum(decision.payment > 0 for decision in decisions) > 1
    new = [
        decision
        for claim, decision in zip(case, decisions, strict=True)
        if claim.service in NEW_SERVICES
    ]
    if is_easy:
        return all(decision.answer.startswith("deny") for decision in new)
    return any(decision.payment > 0 for decision in new)


def draw_similar_problem(
    problem: realm.Problem, rng: random.Random, *, taken: Set[Case], num_tries: int = 2000
) -> realm.Problem | None:
    """Return a problem that is decided by the same rules and is not in `taken`; None if not found.

    Visits are replaced one after another. Each draw keeps about half of the facts, so that rare
    combinations of rules are found too.
    """
    case = case_of(problem)
    for place, known in enumerate(case):
        facts, rules = asdict(known), adjudicate(known).rules
        for _ in range(num_tries):
            drawn = asdict(draw_claim(rng))
            mixed = {name: facts[name] if rng.random() < 0.5 else drawn[name] for name in drawn}
            if len(case) > 1:  # all visits are of one member
                mixed["tier"] = known.tier
            claim = Claim(**mixed)
            similar = (*case[:place], claim, *case[place + 1 :])
            if similar not in taken and adjudicate(claim).rules == rules:
                case = similar
                break
        else:
            return None
    if _is_too_large(case):
        return None
    return _make_problem(f"{problem.id}-similar", "train", case, rng)


def case_of(problem: realm.Problem) -> Case:
    """Return the claims that a problem describes."""
    return tuple(Claim(**claim) for claim in problem.meta["claims"])


def _is_too_large(case: Case) -> bool:
    return decide_case(case).payment > MAX_TOTAL


def _make_problem(identity: str, split: str, case: Case, rng: random.Random) -> realm.Problem:
    decision = decide_case(case)
    return realm.Problem(
        id=identity,
        split=split,
        question=describe_case(case, rng),
        answer=decision.answer,
        meta={"claims": [asdict(claim) for claim in case], "rules": sorted(decision.rules)},
    )
