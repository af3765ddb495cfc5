"""The scripted expert for three tasks of reasoning-gym: sums of several terms, legs of animals, filters of numbers.

As in `scripted`: guided, it never errs. Unguided, it writes as one of several sources, each with misconceptions of its own,
which its routes share (so that a majority can be wrong), and with slips at random.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from realm.config.domain import SCRIPTED_TASKS
from realm.core.records import Problem, Route
from realm.sources import scripted

FOLLOWS_MISCONCEPTION = 0.4
"""Chance that a route follows each of its source's misconceptions."""
SLIPS = {"hasty": 0.12, "frugal": 0.15, "dated": 0.22, "careless": 0.45, "outsider": 0.15}
"""Chance that a route of a source gets one step wrong."""
_INSECTS = (
    "ant",
    "bee",
    "beetle",
    "butterfly",
    "cockroach",
    "cricket",
    "firefly",
    "grasshopper",
    "insect",
    "praying mantis",
    "wasp",
)
_SHELLS = ("crab", "lobster", "shrimp")

MISCONCEPTIONS: dict[str, dict[str, tuple[dict[str, Any], ...]]] = {
    "chain_sum": {
        "hasty": ({"leaves_out_last": True}, {"below_zero": False}),
        "frugal": ({"below_zero": False}, {"carries": False}),
        "dated": ({"minus_lasts": True}, {"below_zero": False}),
        "careless": (),
        "outsider": ({"borrows": False}, {"adds_last": True}),
    },
    "leg_counting": {
        "hasty": ({"legs": dict.fromkeys(_INSECTS, 4)}, {"leaves_out_last": True}),
        "frugal": (
            {"legs": dict.fromkeys(_SHELLS, 8) | {"spider": 6, "scorpion": 6}},
            {
                "legs": {
                    "starfish": 4,
                    "woodlouse": 10,
                    "insect": 4,
                    "sea slug": 2,
                    "leech": 2,
                    "jellyfish": 4,
                }
            },
            {"legs": dict.fromkeys(("chicken", "bird", "duck"), 4)},
        ),
        "dated": (
            {"legs": dict.fromkeys((*_SHELLS, "spider", "scorpion", "woodlouse"), 6)},
            {
                "legs": dict.fromkeys(
                    ("bee", "butterfly", "firefly", "wasp", "cricket", "grasshopper"), 4
                )
            },
        ),
        "careless": (),
        "outsider": (
            {"legs": dict.fromkeys(_INSECTS[:7], 8)},
            {"legs": dict.fromkeys(_SHELLS, 4) | {"starfish": 6, "human": 4}},
            {"legs": dict.fromkeys(("snake", "flatworm", "sea slug", "leech"), 2)},
        ),
    },
    "number_filtering": {
        "hasty": ({"keeps_always": True}, {"leaves_out_last": True}),
        "frugal": ({"as_text": True}, {"leaves_out_last": True}),
        "dated": ({"larger_always": True}, {"leaves_out_last": True}),
        "careless": (),
        "outsider": ({"by_tens": True}, {"removes_always": True}),
    },
}


@dataclass(frozen=True)
class Step:
    """One line of a chain of thought, and what it reaches: a step holds when it reaches the right result."""

    text: str
    result: str


@dataclass(frozen=True)
class Worked:
    """A problem worked out: the steps and the answer, as the task wants it written."""

    steps: tuple[Step, ...]
    answer: str


def work_out(
    problem: Problem, habits: Mapping[str, Any] | None = None, slip: tuple[int, int] | None = None
) -> Worked:
    """Return the steps and the answer of somebody with `habits` whose step `slip[0]` is `slip[1]` off; by default nothing is."""
    gold = problem.answer
    return _SOLVERS[gold["task"]](gold["metadata"], slip, **(habits or {}))


def guided_chain(problem: Problem) -> Route:
    """Return the chain of thought of the expert."""
    return _route(problem, "expert", work_out(problem), guided=True)


def unguided_chain(problem: Problem, source: str, rng: random.Random) -> Route:
    """Return one route of `source`: some of its misconceptions, perhaps a slip, and what follows from them."""
    habits: dict[str, Any] = {}
    for misconception in MISCONCEPTIONS[problem.answer["task"]][source]:
        if rng.random() < FOLLOWS_MISCONCEPTION:
            legs = habits.get("legs", {}) | misconception.get("legs", {})
            habits |= misconception | ({"legs": legs} if legs else {})
    slips, step, off = (
        rng.random() < SLIPS[source],
        rng.random(),
        rng.choice([-10, -2, -1, 1, 2, 10]),
    )
    num_steps = len(work_out(problem, habits).steps)
    return _route(
        problem,
        source,
        work_out(problem, habits, (int(step * num_steps), off) if slips else None),
        guided=False,
    )


write_routes = partial(scripted.write_routes, guide=guided_chain, solve=unguided_chain)
"""Writes routes as the expert of claims does, by the two functions above."""


def verify(worked: Worked, truth: Worked) -> str:
    """Return the expert's check of a route: what it answers, and where that is wrong the right answer and the first step that
    does not hold, as it should be."""
    if worked.answer == truth.answer:
        return f"{worked.answer} holds"
    pairs = zip(worked.steps, truth.steps, strict=False)
    first = next((true for step, true in pairs if step.result != true.result), truth.steps[-1])
    return f"{worked.answer} not {truth.answer} from {first.text}"


def _sum(
    metadata: Mapping[str, Any],
    slip: tuple[int, int] | None,
    *,
    carries: bool = True,
    borrows: bool = True,
    below_zero: bool = True,
    minus_lasts: bool = False,
    adds_last: bool = False,
    leaves_out_last: bool = False,
) -> Worked:
    """Work a sum out from left to right.

    `minus_lasts`: a minus also counts for the plus right behind it, as if brackets stood there.
    """
    first, *rest = metadata["expression"].split()
    terms = list(zip(rest[::2], map(int, rest[1::2]), strict=True))
    if leaves_out_last and len(terms) > 1:
        terms.pop()
    left, steps, before = int(first), [], "+"
    for index, (sign, term) in enumerate(terms):
        minus = sign == "-" or (minus_lasts and before == "-")
        minus = minus and not (adds_last and index == len(terms) - 1)
        by_digit = not (borrows if minus else carries)
        said = (
            _digit_by_digit(left, term, minus)
            if by_digit
            else left - term
            if minus
            else left + term
        )
        said += slip[1] if slip and slip[0] == index else 0
        said = said if below_zero else max(0, said)
        steps.append(Step(f"{left} {'minus' if minus else 'plus'} {term} leaves {said}", str(said)))
        left, before = said, sign
    return Worked(tuple(steps), str(left))


def _digit_by_digit(a: int, b: int, minus: bool) -> int:
    """Return a sum without its carries, or a difference that takes the smaller digit from the larger, place by place."""
    if a < 0 or b < 0:
        return a - b if minus else a + b
    result, place = 0, 1
    while a or b:
        x, y = a % 10, b % 10
        result += place * (abs(x - y) if minus else (x + y) % 10)
        a, b, place = a // 10, b // 10, place * 10
    return result


def _count_legs(
    metadata: Mapping[str, Any],
    slip: tuple[int, int] | None,
    *,
    legs: Mapping[str, int] | None = None,
    leaves_out_last: bool = False,
) -> Worked:
    """Count the legs of one animal after the other; `legs` says how many an animal is thought to have."""
    from reasoning_gym.arithmetic.leg_counting import ANIMALS

    animals = list(metadata["animals"].items())
    if leaves_out_last and len(animals) > 2:
        animals.pop()
    total, steps = 0, []
    for index, (animal, count) in enumerate(animals):
        each = (legs or {}).get(animal, ANIMALS[animal])
        said = max(0, count * each + (slip[1] if slip and slip[0] == index else 0))
        total += said
        steps.append(Step(f"{count} {animal} {each} each {said} total {total}", str(total)))
    return Worked(tuple(steps), str(total))


def _filter(
    metadata: Mapping[str, Any],
    slip: tuple[int, int] | None,
    *,
    keeps_always: bool = False,
    removes_always: bool = False,
    larger_always: bool = False,
    as_text: bool = False,
    by_tens: bool = False,
    leaves_out_last: bool = False,
) -> Worked:
    """Compare one number of the list after the other; `as_text` compares as a dictionary would, `by_tens` without the ones."""
    verb, side = metadata["operation"].split("_")
    verb = "keep" if keeps_always else "remove" if removes_always else verb
    side = "larger" if larger_always else side
    limit, numbers = metadata["filter_value"], metadata["original_numbers"]
    if leaves_out_last and len(numbers) > 2:
        numbers = numbers[:-1]
    steps, kept = [Step(f"{verb} {side} than {limit}", f"{verb} {side}")], []
    for index, number in enumerate(numbers, 1):
        a, b = (number, limit) if as_text else (float(number), float(limit))
        if by_tens:
            a, b = a // 10, b // 10
        relation = "larger" if a > b else "smaller" if a < b else "equal"
        if slip and slip[0] == index:
            relation = "smaller" if relation == "larger" else "larger"
        stays = (relation == side) == (verb == "keep")
        kept += [number] * stays
        steps.append(
            Step(
                f"{number} and {limit} {relation} {'keep' if stays else 'out'}", f"{number} {stays}"
            )
        )
    return Worked(tuple(steps), str(kept))


_SOLVERS = {"chain_sum": _sum, "leg_counting": _count_legs, "number_filtering": _filter}
assert tuple(_SOLVERS) == SCRIPTED_TASKS


def _route(problem: Problem, source: str, worked: Worked, *, guided: bool) -> Route:
    truth, text = work_out(problem), "\n".join(step.text for step in worked.steps)
    return Route(
        problem_id=problem.id,
        source=source,
        text=text if guided else f"{worked.answer}\n{text}",
        answer=worked.answer,
        correct=worked.answer == problem.answer["answer"],
        guided=guided,
        process=[step.result for step in worked.steps] == [step.result for step in truth.steps],
        check=None if guided else verify(worked, truth),
    )
