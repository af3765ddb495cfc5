"""Execute the rule book: `price` turns a trip into the steps of its bill and the total.

Whatever a reader may get wrong about the rules is a field of `Rules`. A misconception is a `Rules`
with other values, and the same code executes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

CABINS = ("Basic Economy", "Main Cabin", "Main Plus", "Premium Economy", "Business", "First")
FREE_CABINS = ("Premium Economy", "Business", "First")
HOME = ("U.S.", "Puerto Rico")
NEAR = (*HOME, "Canada", "Mexico")
ASIA = ("China", "Japan", "South Korea", "Hong Kong", "India")
OCEANIA = ("Australia", "New Zealand")
ANDES = ("Colombia", "Ecuador", "Peru")
REGIONS = (
    *NEAR,
    *("Cuba", "Haiti", "Panama", *ANDES, "South America"),
    *("Europe", "Israel", "Qatar"),
    *ASIA,
    *OCEANIA,
)
OVERWEIGHT_NOT_ACCEPTED = ("Cuba", "Europe", "Israel", "Qatar", *OCEANIA)
"""Regions to which no bag above 70 lb is accepted, so that problems hold none."""


@dataclass(frozen=True, kw_only=True)
class Bag:
    """One checked bag: its size in inches, its weight in pounds."""

    number: int
    """Its place in the list of items; item 1 is the carry-on."""
    size: tuple[int, int, int]
    weight: int


@dataclass(frozen=True, kw_only=True)
class Trip:
    """The facts of one trip. The ticket's price is in dollars."""

    cabin: str
    region: str
    is_outbound: bool
    """From the U.S. to the region, and not back. It matters for Cuba only."""
    origin: str
    destination: str
    ticket: int
    bags: tuple[Bag, ...]


def _make_fees(base: int, exceptions: Mapping[tuple[str, ...], int]) -> dict[str, int]:
    """Return a fee for each region: `base`, but for the regions of `exceptions`."""
    fees = dict.fromkeys(REGIONS, base)
    for regions, fee in exceptions.items():
        fees |= dict.fromkeys(regions, fee)
    return fees


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The rule book as values. The comments give the rule numbers of rules.md."""

    first_basic: Mapping[str, int] = field(  # 4
        default_factory=lambda: _make_fees(
            75,
            {
                HOME: 40,
                ("Canada", "Mexico", "Cuba", "Haiti"): 35,
                ("Panama", *ANDES): 45,
                ("South America",): 60,
            },
        )
    )
    first_main: Mapping[str, int] = field(  # 5
        default_factory=lambda: _make_fees(0, {HOME: 40, ("Canada", "Mexico"): 35})
    )
    second: Mapping[str, int] = field(  # 6
        default_factory=lambda: _make_fees(100, {NEAR: 45, ("Cuba",): 150, ("Haiti",): 65})
    )
    third: Mapping[str, int] = field(  # 10
        default_factory=lambda: _make_fees(200, {(*HOME, "Canada"): 150})
    )
    third_free_in_first: bool = True  # 11
    fourth: int = 200  # 12
    size_limits: tuple[int, int] = (62, 65)  # 13
    oversize: Mapping[str, int] = field(  # 14
        default_factory=lambda: _make_fees(
            200, {("Panama", *ANDES, "South America", "Europe", "Israel", "Qatar"): 150}
        )
    )
    weight_limits: tuple[int, int] = (50, 53)  # 15
    overweight: Mapping[str, int] = field(  # 15: up to 70 lb
        default_factory=lambda: _make_fees(100, {("Cuba",): 200})
    )
    heavy: Mapping[str, int] = field(  # 16
        default_factory=lambda: _make_fees(200, {ASIA: 450})
    )
    allows_70: tuple[str, ...] = ("Business", "First", *OCEANIA)  # 17: cabins and regions
    is_free_bag_charged: bool = True  # 2: a bag without a bag fee still costs its size and weight


@dataclass(frozen=True)
class Step:
    """One step of a bill, as a chain of thought writes it, and the rules that decided it."""

    text: str
    rules: tuple[int, ...] = ()


@dataclass(frozen=True)
class Measure:
    """What a bag's size and weight cost if it is not free."""

    bag: Bag
    oversize: int
    overweight: int
    rules: tuple[int, ...]

    @property
    def saving(self) -> int:
        """What the higher limit of a free bag saves: nothing if its size costs as much."""
        return max(0, self.overweight - self.oversize) if self.bag.weight <= 70 else 0

    def compute_extra(self, *, is_free: bool) -> int:
        """Return the larger of size fee and weight fee."""
        return max(self.oversize, 0 if is_free and self.bag.weight <= 70 else self.overweight)


@dataclass(frozen=True)
class Bill:
    """The steps of a bill, its total, and what that came from."""

    steps: tuple[Step, ...]
    total: int
    charges: tuple[int, ...]
    """What each checked bag costs, in the order of the list."""
    free: tuple[int, ...] = ()
    """Numbers of the free bags that may weigh 70 lb, those that save the most first."""

    @property
    def rules(self) -> frozenset[int]:
        """Numbers of the rules that decided any step."""
        return frozenset(rule for step in self.steps for rule in step.rules)


def price(
    trip: Trip, rules: Rules | None = None, *, errors: Mapping[int, int] | None = None
) -> Bill:
    """Return the bill of a trip.

    Args:
        trip: The facts.
        rules: By default those of rules.md.
        errors: Amounts by which the sum after a bag, by its number, is wrong. The next sums carry
            them on.
    """
    rules, errors = rules or Rules(), errors or {}
    fees, used = _list_fees(trip, rules)
    steps = [
        Step(f"{trip.origin} to {trip.destination}: {_name_region(trip)}", (3,)),
        Step(f"{trip.cabin} bags: {_list_numbers(fees[:4])}", used),
    ]
    has_allowance = bool({trip.cabin, trip.region} & set(rules.allows_70)) and 0 in fees
    measures = [_measure(bag, trip, rules) for bag in trip.bags]
    steps += [_write_measure(measure, has_allowance) for measure in measures]
    free: tuple[int, ...] = ()
    if has_allowance:
        ranks = _rank_savings(measures)
        free = tuple(number for numbers in ranks.values() for number in numbers)[: fees.count(0)]
        groups = [f"{saving}: {_list_numbers(numbers)}" for saving, numbers in ranks.items()]
        steps.append(Step(f"savings {'; '.join(groups)}", (18,)))
        steps.append(Step(f"free up to 70 lb: {_list_numbers(free)}", (17, 18)))
    # Free bags come first in the fees, whichever bags they are.
    paid = iter(list(enumerate(fees, 1))[len(free) :])
    total, charges = trip.ticket, []
    for measure in measures:
        number = measure.bag.number
        place, fee = (0, 0) if number in free else next(paid)
        is_charged = fee > 0 or rules.is_free_bag_charged
        extra = measure.compute_extra(is_free=number in free) if is_charged else 0
        charges.append(fee + extra)
        after = total + charges[-1] + errors.get(number, 0)
        name = f"bag {number}, {f'fee {place}' if place else 'free'}"
        text = f"{name}: {fee}+{extra}={charges[-1]}; {total}+{charges[-1]}={after}"
        steps.append(Step(text, (2,) if measure.oversize and measure.overweight else ()))
        total = after
    return Bill(tuple(steps), total, tuple(charges), free)


def _name_region(trip: Trip) -> str:
    if trip.region == "Cuba":
        return "to Cuba" if trip.is_outbound else "from Cuba"
    return trip.region


def _list_fees(trip: Trip, rules: Rules) -> tuple[list[int], tuple[int, ...]]:
    """Return the fee of the first, second, ... checked bag, and the rules that set them."""
    first, second = rules.first_main[trip.region], rules.second[trip.region]
    used = {5, 6}
    if trip.cabin == "Basic Economy":
        first, used = rules.first_basic[trip.region], {4, 6}
    if trip.cabin == "Main Plus":
        # One free bag more than in Main Cabin: the first, and the second if the first was free.
        second = second if first else 0
        first, used = 0, {7}
    if trip.cabin in FREE_CABINS:
        first, second, used = 0, 0, {8}
    if trip.region == "Cuba" and not trip.is_outbound:
        first, second, used = 0, 0, {9}
    third = rules.third[trip.region]
    if len(trip.bags) > 2:
        used |= {10}
    if trip.cabin == "First" and rules.third_free_in_first and trip.region not in (*HOME, "Canada"):
        third = 0
        used |= {11} if len(trip.bags) > 2 else set()
    if len(trip.bags) > 3:
        used |= {12}
    fees = [first, second, third, *[rules.fourth] * len(trip.bags)]
    return fees[: len(trip.bags)], tuple(sorted(used))


def _measure(bag: Bag, trip: Trip, rules: Rules) -> Measure:
    """Return the size fee and the weight fee of a bag that is not free."""
    oversize, size_rules = _charge_size(sum(bag.size), trip, rules)
    overweight, weight_rules = _charge_weight(bag.weight, trip, rules)
    return Measure(bag, oversize, overweight, (*size_rules, *weight_rules))


def _write_measure(measure: Measure, has_allowance: bool) -> Step:
    """Return the step of a bag's size and weight, and what it would save as a free bag."""
    bag = measure.bag
    length, width, height = bag.size
    text = (
        f"bag {bag.number}: {length}+{width}={length + width}, +{height}={sum(bag.size)} in "
        f"{measure.oversize}; {bag.weight} lb {measure.overweight}"
    )
    return Step(text + (f"; saves {measure.saving}" if has_allowance else ""), measure.rules)


def _rank_savings(measures: list[Measure]) -> dict[int, list[int]]:
    """Return the numbers of the bags that save each amount, the largest amount first."""
    ranks: dict[int, list[int]] = {}
    # Sorting keeps the order of the list among bags that save the same.
    for measure in sorted(measures, key=lambda measure: -measure.saving):
        ranks.setdefault(measure.saving, []).append(measure.bag.number)
    return ranks


def _list_numbers(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def _charge_size(total: int, trip: Trip, rules: Rules) -> tuple[int, tuple[int, ...]]:
    limit, small = rules.size_limits
    if total <= limit:
        return 0, ()
    if total <= small:
        return 30, (13,)
    return rules.oversize[trip.region], (14,)


def _charge_weight(weight: int, trip: Trip, rules: Rules) -> tuple[int, tuple[int, ...]]:
    limit, small = rules.weight_limits
    if weight > 70:
        return rules.heavy[trip.region], (16,)
    if weight <= limit:
        return 0, ()
    return (30 if weight <= small else rules.overweight[trip.region]), (15,)
