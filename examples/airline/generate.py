"""Draw trips, word them as RuleArena does, and split them.

Some pairs of cabin and region never appear in training: trips with one are the split test_rules.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import realm

from .pricing import CABINS, OVERWEIGHT_NOT_ACCEPTED, Bag, Trip, price

CITIES = {
    "U.S.": (
        *("Atlanta", "Austin", "Boston", "Charlotte", "Chicago", "Dallas", "Denver", "Houston"),
        *("Las Vegas", "Los Angeles", "Miami", "Minneapolis", "New Orleans", "New York"),
        *("Orlando", "Philadelphia", "Phoenix", "Portland", "Sacramento", "Salt Lake City"),
        *("San Francisco", "Seattle", "Washington D.C."),
    ),
    "Puerto Rico": ("San Juan",),
    "Canada": ("Montreal", "Ottawa", "Toronto", "Vancouver"),
    "Mexico": ("Mexico City",),
    "Cuba": ("Havana",),
    "Haiti": ("Port-au-Prince",),
    "Panama": ("Panama City",),
    "Colombia": ("Bogotá",),
    "Ecuador": ("Quito",),
    "Peru": ("Lima",),
    "South America": ("Buenos Aires", "Rio de Janeiro"),
    "Europe": (
        *("Amsterdam", "Athens", "Barcelona", "Berlin", "Brussels", "Helsinki", "London"),
        *("Madrid", "Munich", "Paris", "Roma", "Stockholm", "Vienna", "Zurich"),
    ),
    "Israel": ("Jerusalem",),
    "Qatar": ("Doha",),
    "China": (*("Beijing", "Chengdu", "Guangzhou", "Shanghai", "Shenzhen", "Wuhan", "Xiamen"),),
    "Japan": ("Kyoto", "Nagoya", "Osaka", "Tokyo"),
    "South Korea": ("Busan", "Incheon", "Seoul"),
    "Hong Kong": ("Hong Kong",),
    "India": ("Mumbai", "New Delhi"),
    "Australia": ("Melbourne", "Sydney"),
    "New Zealand": ("Auckland",),
}
REGION_WEIGHTS = {"U.S.": 18, "Europe": 9, "China": 6, "Canada": 4, "Japan": 2, "India": 2}
"""How often a region is drawn; 1 for the others. Near the shares of the official problems."""
PASSENGERS = (
    *("Charles", "Daniel", "David", "Elizabeth", "Emily", "James", "Jennifer", "Jessica"),
    *("John", "Joseph", "Karen", "Linda", "Mary", "Michael", "Patricia", "Robert", "Sarah"),
    *("Susan", "Thomas", "William"),
)
KINDS = {"normal": 3, "oversize": 3, "overweight": 3, "both": 9}
"""How often a bag is of each kind. In the official problems every bag is both."""
LEVELS = (4, 7, 10)
"""The most checked bags of the official levels 0, 1 and 2."""
HELD_OUT_PAIRS = (
    ("Basic Economy", "Qatar"),
    ("Main Cabin", "Israel"),
    ("Main Plus", "Haiti"),
    ("Premium Economy", "New Zealand"),
    ("Premium Economy", "Puerto Rico"),
    ("Business", "Panama"),
    ("First", "Mexico"),
)
"""Cabins and regions that meet in `test_rules` only."""


def draw_trip(
    rng: random.Random, bags: tuple[int, int], kinds: Collection[str] = tuple(KINDS)
) -> Trip:
    """Return a random trip with between `bags[0]` and `bags[1]` checked bags of these kinds."""
    weights = [REGION_WEIGHTS.get(region, 1) for region in CITIES]
    [region] = rng.choices(list(CITIES), weights)
    home = rng.choice(CITIES["U.S."])
    away = rng.choice([city for city in CITIES[region] if city != home])
    is_outbound = rng.random() < 0.5
    num_bags = rng.randint(*bags)
    if region == "Cuba":  # which takes two bags at most
        num_bags = min(num_bags, 2)
    dearest = {"U.S.": 300, "Canada": 400, "Mexico": 400}.get(region, 1500)
    return Trip(
        cabin=rng.choice(CABINS),
        region=region,
        is_outbound=is_outbound,
        origin=home if is_outbound else away,
        destination=away if is_outbound else home,
        ticket=rng.randint(30, dearest),
        bags=tuple(_draw_bag(number, region, rng, kinds) for number in range(2, num_bags + 2)),
    )


def _draw_bag(
    number: int, region: str, rng: random.Random, kinds: Collection[str] = tuple(KINDS)
) -> Bag:
    [kind] = rng.choices(list(kinds), [KINDS[kind] for kind in kinds])
    total = rng.randint(45, 62)
    if kind in ("oversize", "both"):
        # Either side of 65 inches is another fee.
        total = rng.randint(63, 65) if rng.random() < 0.5 else rng.randint(66, 115)
    weight = rng.randint(20, 50)
    if kind in ("overweight", "both"):
        ranges = [(51, 53), (54, 70), (71, 100)]
        weight = rng.randint(*rng.choice(ranges[: 2 + (region not in OVERWEIGHT_NOT_ACCEPTED)]))
    width = round(total * rng.uniform(0.2, 0.33))
    height = round(total * rng.uniform(0.14, 0.26))
    return Bag(number=number, size=(total - width - height, width, height), weight=weight)


def describe_trip(trip: Trip, rng: random.Random) -> str:
    """Return the trip in the words of the official problems."""
    name = rng.choice(PASSENGERS)
    carry_on = (rng.randint(18, 22), rng.randint(11, 14), rng.randint(6, 9))
    items = [_describe_item(1, "backpack", carry_on, rng.randint(5, 12))]
    for bag in trip.bags:
        kind = rng.choice(["backpack", "luggage box"])
        items.append(_describe_item(bag.number, kind, bag.size, bag.weight))
    opening = (
        f"{name} is a {trip.cabin} Class passenger flying from {trip.origin} to "
        f"{trip.destination} with the following items:"
    )
    return "\n".join([opening, *items, "", f"{name}'s flight ticket is ${trip.ticket}."])


def _describe_item(number: int, kind: str, size: tuple[int, int, int], weight: int) -> str:
    length, width, height = size
    return f"{number}. A {kind}: {length} x {width} x {height} inches, {weight} lbs;"


@dataclass(frozen=True, kw_only=True)
class Levels:
    """Which training problems are easy, and what the bags of the easy and the hard ones are."""

    num_easy: int = 0
    """Number of easy training problems, which come first."""
    easy_bags: tuple[int, int] = (1, 2)
    """The least and the most checked bags of an easy one."""
    easy_kinds: Collection[str] = tuple(KINDS)
    """The kinds of bags of an easy one."""
    hard_bags: tuple[int, int] | None = None
    """The numbers of bags of the other training problems and of validation; by default those of all
    others."""


def draw_problems(
    sizes: Mapping[str, int], bags: tuple[int, int], seed: int, levels: Levels = Levels()
) -> Iterator[realm.Problem]:
    """Yield `sizes[split]` distinct problems for each split; the same seed gives the same ones.

    A split's problems do not depend on the sizes of the others, but no trip is drawn twice.

    Args:
        sizes: The number of problems of each split.
        bags: The least and the most checked bags of a trip.
        seed: The seed.
        levels: What differs in training.
    """
    seen: set[Trip] = set()
    for split, size in sizes.items():
        rng = random.Random(f"airline:{seed}:{split}")
        count = 0
        while count < size:
            if split == "train" and count < levels.num_easy:
                trip = draw_trip(rng, levels.easy_bags, levels.easy_kinds)
            elif split in ("train", "validation"):
                trip = draw_trip(rng, levels.hard_bags or bags)
            else:
                trip = draw_trip(rng, bags)
            is_held_out = (trip.cabin, trip.region) in HELD_OUT_PAIRS
            if trip in seen or is_held_out != (split == "test_rules"):
                continue
            seen.add(trip)
            question = describe_trip(trip, rng)
            yield make_problem(f"{split}-{count:05d}", split, question, trip)
            count += 1


def draw_similar_problem(
    problem: realm.Problem, rng: random.Random, *, taken: set[Trip]
) -> realm.Problem | None:
    """Return a new problem of the same cabin, places and number of bags; None if it is taken."""
    known = trip_of(problem)
    bags = tuple(_draw_bag(bag.number, known.region, rng) for bag in known.bags)
    facts = {name: getattr(known, name) for name in ("cabin", "region", "is_outbound")}
    places = {"origin": known.origin, "destination": known.destination}
    trip = Trip(**facts, **places, ticket=rng.randint(30, 1500), bags=bags)
    if trip in taken:
        return None
    return make_problem(f"{problem.id}-similar", "train", describe_trip(trip, rng), trip)


def trip_of(problem: realm.Problem) -> Trip:
    """Return the trip that a problem describes."""
    facts: dict[str, Any] = dict(problem.meta["trip"])
    bags = [Bag(**{**bag, "size": tuple(bag["size"])}) for bag in facts.pop("bags")]
    return Trip(**facts, bags=tuple(bags))


def make_problem(identity: str, split: str, question: str, trip: Trip) -> realm.Problem:
    """Return the problem of a trip, with its gold answer."""
    bill = price(trip)
    num_bags = len(trip.bags)
    return realm.Problem(
        id=identity,
        split=split,
        question=question,
        answer=bill.total,
        meta={
            "trip": asdict(trip),
            "rules": sorted(bill.rules),
            "bags": num_bags,
            "level": next(level for level, most in enumerate(LEVELS) if num_bags <= most),
        },
    )
