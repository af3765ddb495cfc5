"""The authors of routes: what each believes of the rules, and how often it slips.

`FORGETFUL` have read the rule book, and each forgets or misreads parts of it. `OUTSIDERS` have not
read it: they share blind spots for the house rules, and each holds wrong beliefs of its own, which
all its routes follow. `FEE_READERS` know the schedule of fees, and guess copays and limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .adjudicate import FEES, TIERS

Belief = Mapping[str, Any]
"""Fields of `Rules` with other values."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """An author of routes. A majority of its routes can be wrong, since they share its beliefs."""

    beliefs: tuple[Belief, ...]
    follows: float
    """Chance that a route follows each of the beliefs."""
    slips: float
    """Chance, for each visit, that a route misreads a fact, misremembers a number of the rules, or
    subtracts wrongly."""


FORGETFUL = {
    "hasty": Source(  # forgets exceptions
        beliefs=(
            {"emergency_waives_approval": False, "emergency_opens_network": False},
            {"filing_days": {"bronze": 30, "silver": 30, "gold": 30}},
            {"preventive_deductible": False},
            {"emergency_waives_copay": False},
            {"limits": {"bronze": 60, "silver": 60, "gold": 60}},
        ),
        follows=0.55,
        slips=0.5,
    ),
    "frugal": Source(  # reads every rule to the insurer's advantage
        beliefs=(
            {"network_only": ("bronze", "silver")},
            {"needs_approval": ("therapy", "scan", "surgery", "x-ray")},
            {"accident_cosmetics": False, "grace_days": 0},
            {"copays": {"bronze": 12, "silver": 8, "gold": 5}},
            {"fees": FEES | {"checkup": 16, "vaccine": 10, "surgery": 40}},
        ),
        follows=0.55,
        slips=0.5,
    ),
    "dated": Source(  # works from an old manual
        beliefs=(
            {"fees": FEES | {"checkup": 15, "dental care": 20, "therapy": 25, "ambulance": 30}},
            {"emergency_waives_copay": False},
            {"copays": {"bronze": 6, "silver": 6, "gold": 6}},
            {"grace_days": 0, "limits": {"bronze": 15, "silver": 25, "gold": 35}},
        ),
        follows=0.55,
        slips=0.4,
    ),
    "careless": Source(beliefs=(), follows=0.55, slips=0.95),  # knows the rules and slips
    "outsider": Source(  # comes from another insurer
        beliefs=(
            {"halve_outside": False, "network_only": ()},
            {"subtract_other": False},
            {"fees": FEES | {"scan": 50, "surgery": 48, "x-ray": 30, "blood test": 20}},
            {"grace_days": 20, "needs_approval": ("scan", "surgery")},
            {"limits": {"bronze": 15, "silver": 20, "gold": 25}},
        ),
        follows=0.55,
        slips=0.36,
    ),
}

BLIND_SPOTS: Belief = {"grace_days": 0, "accident_cosmetics": False, "review": 0}
"""House rules that nobody knows who has not read the rule book: 3, 5 and 22."""


def _make_outsider(*beliefs: Belief) -> Source:
    return Source(beliefs=(BLIND_SPOTS, *beliefs), follows=1.0, slips=0.15)


OUTSIDERS = {
    # For training:
    "agent": _make_outsider({"copays": {"bronze": 12, "silver": 8, "gold": 5}}),
    "broker": _make_outsider({"subtract_other": False}),
    "clerk": _make_outsider({"preventive_deductible": False}, {"halve_outside": False}),
    "doctor": _make_outsider(
        {"fees": FEES | {"checkup": 16, "dental care": 22, "x-ray": 30, "therapy": 26, "scan": 36}}
    ),
    # For evaluation:
    "lawyer": _make_outsider({"copays": {"bronze": 6, "silver": 4, "gold": 0}}),
    "notary": _make_outsider({"subtract_other": False}, {"network_only": ()}),
    "nurse": _make_outsider({"preventive_deductible": False}, {"emergency_waives_copay": False}),
    "teller": _make_outsider(
        {"fees": FEES | {"vaccine": 15, "blood test": 20, "therapy": 38, "surgery": 44}}
    ),
}


def _make_fee_reader(copay: int, limit: int, fees: Mapping[str, int]) -> Source:
    """Return a source with one copay, due in emergencies too, and one limit for all tiers."""
    guesses = {
        "copays": dict.fromkeys(TIERS, copay),
        "emergency_waives_copay": False,
        "limits": dict.fromkeys(TIERS, limit),
    }
    return Source(beliefs=(guesses, {"fees": FEES | fees}), follows=1.0, slips=0.15)


FEE_READERS = {
    # For training:
    "actuary": _make_fee_reader(10, 60, {"blood test": 14}),
    "analyst": _make_fee_reader(10, 60, {"x-ray": 30}),
    "auditor": _make_fee_reader(10, 60, {"dental care": 22}),
    "advisor": _make_fee_reader(10, 60, {"therapy": 26}),
    # For evaluation:
    "banker": _make_fee_reader(12, 50, {"blood test": 18}),
    "blogger": _make_fee_reader(12, 50, {"x-ray": 20}),
    "buyer": _make_fee_reader(12, 50, {"dental care": 34}),
    "bursar": _make_fee_reader(12, 50, {"therapy": 38}),
}

SOURCES: Mapping[str, Source] = FORGETFUL | OUTSIDERS | FEE_READERS
