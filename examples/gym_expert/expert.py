"""An expert for three tasks of reasoning-gym: sums, legs of animals, and number filters.

With the solution method at hand the expert never errs. As one of several *sources* it has the
misconceptions of that source. All routes of a source share them, so that a majority of routes can
be wrong. Besides, a source slips at random.
"""

from __future__ import annotations

import random
from typing import Any

import realm

from .solve import Slip, Solution, solve

FOLLOWS_MISCONCEPTION = 0.4
"""Chance that a route follows each of its source's misconceptions: a source errs now and then."""
SLIPS = {"hasty": 0.12, "frugal": 0.15, "dated": 0.22, "careless": 0.45, "outsider": 0.15}
"""Chance that a route of a source gets one step wrong."""
INSECTS = (
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
CRUSTACEANS = ("crab", "lobster", "shrimp")

MISCONCEPTIONS: dict[str, dict[str, tuple[dict[str, Any], ...]]] = {
    "chain_sum": {
        "hasty": ({"leaves_out_last": True}, {"below_zero": False}),
        "frugal": ({"below_zero": False}, {"carries": False}),
        "dated": ({"minus_lasts": True}, {"below_zero": False}),
        "careless": (),
        "outsider": ({"borrows": False}, {"adds_last": True}),
    },
    "leg_counting": {
        "hasty": ({"legs": dict.fromkeys(INSECTS, 4)}, {"leaves_out_last": True}),
        "frugal": (
            {"legs": dict.fromkeys(CRUSTACEANS, 8) | {"spider": 6, "scorpion": 6}},
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
            {"legs": dict.fromkeys((*CRUSTACEANS, "spider", "scorpion", "woodlouse"), 6)},
            {
                "legs": dict.fromkeys(
                    ("bee", "butterfly", "firefly", "wasp", "cricket", "grasshopper"), 4
                )
            },
        ),
        "careless": (),
        "outsider": (
            {"legs": dict.fromkeys(INSECTS[:7], 8)},
            {"legs": dict.fromkeys(CRUSTACEANS, 4) | {"starfish": 6, "human": 4}},
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


def write_chain(problem: realm.Problem) -> realm.Route:
    """Return the chain of thought of the expert, who never errs."""
    return _make_route(problem, "expert", solve(problem), is_guided=True)


def write_route(problem: realm.Problem, source: str, rng: random.Random) -> realm.Route:
    """Return one route of `source`: some of its misconceptions, perhaps a slip, and the result."""
    habits: dict[str, Any] = {}
    for misconception in MISCONCEPTIONS[problem.answer["task"]][source]:
        if rng.random() < FOLLOWS_MISCONCEPTION:
            legs = habits.get("legs", {}) | misconception.get("legs", {})
            habits |= misconception
            if legs:
                habits["legs"] = legs
    # All three numbers are drawn whether the source slips or not, so that each route uses the same
    # part of the random sequence.
    has_slip = rng.random() < SLIPS[source]
    place = rng.random()
    error = rng.choice([-10, -2, -1, 1, 2, 10])
    slip = None
    if has_slip:
        num_steps = len(solve(problem, habits).steps)
        slip = Slip(int(place * num_steps), error)
    return _make_route(problem, source, solve(problem, habits, slip), is_guided=False)


def _make_route(
    problem: realm.Problem, source: str, solution: Solution, *, is_guided: bool
) -> realm.Route:
    steps, true_steps = _write_steps(solution), _write_steps(solve(problem))
    pairs = zip(steps, true_steps, strict=False)
    flaw = next((number for number, (step, true) in enumerate(pairs, 1) if step != true), None)
    return realm.Route(
        problem_id=problem.id,
        source=source,
        # A chain is taught with its answer in a block of its own.
        text="\n".join(steps[:-1] if is_guided else steps),
        answer=solution.answer,
        correct=solution.answer == problem.answer["answer"],
        guided=is_guided,
        process=flaw is None,
        flaw=flaw,
        fix=true_steps[flaw - 1] if flaw else None,
    )


def _write_steps(solution: Solution) -> list[str]:
    """Return the steps of a chain of thought, the answer last."""
    return [*(step.text for step in solution.steps), str(solution.answer)]
