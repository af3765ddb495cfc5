"""Execute the rule book: `adjudicate` turns a claim into the steps of its decision and the answer.

Whatever a reader may get wrong about the rules is a field of `Rules`. A misconception is a `Rules`
with other values, and the same code executes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

TIERS = ("bronze", "silver", "gold")
FEES = {
    "checkup": 20,
    "vaccine": 12,
    "blood test": 16,
    "dental care": 28,
    "x-ray": 24,
    "therapy": 32,
    "ambulance": 36,
    "scan": 42,
    "surgery": 56,
    "cosmetics": 30,
    "massage": 18,
}
PREVENTIVE = ("checkup", "vaccine")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The facts of one claim. Amounts are whole dollars."""

    tier: str
    service: str
    lapsed_days: int
    """Days from the end of the membership to the visit; 0 while the membership is active."""
    emergency: bool
    accident: bool
    filed_days: int
    approval: bool
    in_network: bool
    bill: int
    deductible: int
    other_paid: int


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The rule book as values. The comments give the rule numbers of rules.md."""

    fees: Mapping[str, int] = field(default_factory=lambda: FEES)  # 13
    grace_days: int = 10  # 3
    accident_cosmetics: bool = True  # 5
    filing_days: Mapping[str, int] = field(
        default_factory=lambda: {"bronze": 30, "silver": 30, "gold": 60}
    )  # 6, 7
    needs_approval: tuple[str, ...] = ("therapy", "scan", "surgery")  # 8
    emergency_waives_approval: bool = True  # 9
    emergency_opens_network: bool = True  # 11
    network_only: tuple[str, ...] = ("bronze",)  # 10
    halve_outside: bool = True  # 12
    preventive_deductible: bool = True  # 15: preventive care skips the deductible
    copays: Mapping[str, int] = field(
        default_factory=lambda: {"bronze": 9, "silver": 6, "gold": 3}
    )  # 16
    emergency_waives_copay: bool = True  # 17
    subtract_other: bool = True  # 18
    limits: Mapping[str, int] = field(
        default_factory=lambda: {"bronze": 20, "silver": 30, "gold": 40}
    )  # 19
    review: int = 3  # 22


@dataclass(frozen=True)
class Step:
    """One step of a decision: its topic, its detail, and its result.

    The result is `ok`, `denied` or an amount: Step("copay", "6", "24") is "copay 6 leaves 24".
    """

    topic: str
    detail: str
    result: str
    rules: tuple[int, ...] = ()
    """Numbers of the rules that decided this step."""

    @property
    def text(self) -> str:
        """The step as a chain of thought writes it, such as `filing 12 of 30 ok`."""
        if self.topic == "fee":
            return f"fee {self.detail} allows {self.result}"
        if self.topic == "total":
            return f"total {self.detail} is {self.result}"
        if self.result.isdigit():
            return f"{self.topic} {self.detail} leaves {self.result}"
        return f"{self.topic} {self.detail} {self.result}"


@dataclass(frozen=True)
class Decision:
    """The steps up to the first denial or the payment, and the answer, such as `pay 19`."""

    steps: tuple[Step, ...]
    answer: str

    @property
    def rules(self) -> frozenset[int]:
        """Numbers of the rules that decided any step."""
        return frozenset(rule for step in self.steps for rule in step.rules)

    @property
    def payment(self) -> int:
        """What is paid; 0 if the claim is denied."""
        return int(self.answer.removeprefix("pay ")) if self.answer.startswith("pay ") else 0


def adjudicate(claim: Claim, rules: Rules | None = None) -> Decision:
    """Return the decision on `claim` under `rules` (by default those of rules.md)."""
    rules = rules or Rules()
    steps: list[Step] = []
    for step, code in _check_coverage(claim, rules):
        steps.append(step)
        if step.result == "denied":
            return Decision(tuple(steps), f"deny {code}")
    steps += _compute_payment(claim, rules)
    return Decision(tuple(steps), f"pay {steps[-1].result}")


def combine_visits(decisions: Sequence[Decision], rules: Rules | None = None) -> Decision:
    """Return the decision on a case: visit after visit, each followed by the total so far.

    The decision on a case of one visit is that of the visit.
    """
    rules = rules or Rules()
    if len(decisions) == 1:
        return decisions[0]
    steps: list[Step] = []
    total = 0
    for number, decision in enumerate(decisions, 1):
        first, *others = decision.steps
        # Its number opens a visit, since a step of its own would only make the chain longer.
        steps += [replace(first, topic=f"visit {number} {first.topic}"), *others]
        detail = f"{total} plus {decision.payment}"
        total += decision.payment
        steps.append(Step("total", detail, str(total), (21,)))
    if rules.review and any(_is_reviewed(decision) for decision in decisions):
        total = max(0, total - rules.review)
        steps.append(Step("review", str(rules.review), str(total), (22,)))
    return Decision(tuple(steps), f"pay {total}")


def _is_reviewed(decision: Decision) -> bool:
    """Return whether a visit was denied, or paid though it was outside the network."""
    is_outside = any(step.topic == "network" and step.detail != "in" for step in decision.steps)
    return is_outside or decision.answer.startswith("deny")


def _check_coverage(claim: Claim, rules: Rules) -> list[tuple[Step, str]]:
    """Return the five checks in order of precedence (rule 1), each with its reason for denial."""
    return [
        (_check_member(claim, rules), "lapsed"),
        (_check_service(claim, rules), "excluded"),
        (_check_filing(claim, rules), "late"),
        (_check_approval(claim, rules), "approval"),
        (_check_network(claim, rules), "network"),
    ]


def _check_member(claim: Claim, rules: Rules) -> Step:
    if claim.lapsed_days == 0:
        return Step("member", "active", "ok")
    if claim.emergency and claim.lapsed_days <= rules.grace_days:
        return Step("member", f"lapsed {claim.lapsed_days} emergency", "ok", (2, 3))
    return Step("member", f"lapsed {claim.lapsed_days}", "denied", (2,))


def _check_service(claim: Claim, rules: Rules) -> Step:
    if claim.service == "massage":
        return Step("service", "massage", "denied", (4,))
    if claim.service == "cosmetics":
        if claim.accident and rules.accident_cosmetics:
            return Step("service", "cosmetics accident", "ok", (4, 5))
        return Step("service", "cosmetics", "denied", (4,))
    return Step("service", claim.service, "ok")


def _check_filing(claim: Claim, rules: Rules) -> Step:
    limit = rules.filing_days[claim.tier]
    is_late = claim.filed_days > limit
    is_extended = claim.tier == "gold" and claim.filed_days > rules.filing_days["silver"]
    used: tuple[int, ...] = (6,) if is_late else ()
    if is_extended:
        used = (6, 7)
    return Step("filing", f"{claim.filed_days} of {limit}", "denied" if is_late else "ok", used)


def _check_approval(claim: Claim, rules: Rules) -> Step:
    if claim.service not in rules.needs_approval:
        return Step("approval", "not needed", "ok")
    if claim.approval:
        return Step("approval", "given", "ok", (8,))
    if claim.emergency and rules.emergency_waives_approval:
        return Step("approval", "emergency", "ok", (8, 9))
    return Step("approval", "missing", "denied", (8,))


def _check_network(claim: Claim, rules: Rules) -> Step:
    if claim.in_network:
        return Step("network", "in", "ok")
    if claim.emergency and rules.emergency_opens_network:
        return Step("network", "out emergency", "ok", (10, 11))
    if claim.tier in rules.network_only:
        return Step("network", "out", "denied", (10,))
    return Step("network", "out half" if rules.halve_outside else "out", "ok", (12,))


def _compute_payment(claim: Claim, rules: Rules) -> list[Step]:
    """Return the steps from the fee to the payment (rules 13 to 19)."""
    is_emergency_inside = claim.emergency and rules.emergency_opens_network
    is_halved = rules.halve_outside and not claim.in_network and not is_emergency_inside
    fee = rules.fees[claim.service] // (2 if is_halved else 1)
    left = min(claim.bill, fee)
    steps = [Step("fee", str(fee), str(left), (13,))]
    for topic, amount, used in _list_subtractions(claim, rules):
        left = max(0, left - amount)
        steps.append(Step(topic, str(amount), str(left), used))
    limit = rules.limits[claim.tier]
    steps.append(Step("limit", str(limit), str(min(left, limit)), (19,) if left > limit else ()))
    return steps


def _list_subtractions(claim: Claim, rules: Rules) -> list[tuple[str, int, tuple[int, ...]]]:
    """Return what is subtracted from the fee: topic, amount, and the rules that say so."""
    skips_deductible = claim.service in PREVENTIVE and rules.preventive_deductible
    skips_copay = claim.emergency and rules.emergency_waives_copay
    return [
        (
            "deductible",
            0 if skips_deductible else claim.deductible,
            (14, 15) if skips_deductible else (14,),
        ),
        (
            "copay",
            0 if skips_copay else rules.copays[claim.tier],
            (16, 17) if claim.emergency else (16,),
        ),
        (
            "other",
            claim.other_paid if rules.subtract_other else 0,
            (18,) if claim.other_paid else (),
        ),
    ]
