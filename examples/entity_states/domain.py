"""The domain: procedures, the verifier of answers, and an expert in a teacher's place."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import realm

from . import expert, generate

DEFAULT_SIZES = {
    "train": 4000,
    "validation": 200,
    "test": 1000,
    "test_rules": 200,
    "test_larger": 200,
}


class EntityStatesDomain(realm.Domain):
    """What is true after each step of a procedure by rules.md: a place, a state or a step."""

    name = "entity_states"
    rules = Path(__file__).with_name("rules.md").read_text(encoding="utf-8")
    verifier = realm.Verifier("label")
    answer_form = "the place, the state or the number of the step alone"
    sources = tuple(expert.UNKNOWN)

    def __init__(
        self, sizes: Mapping[str, int] = DEFAULT_SIZES, levels: Sequence[int] = (1, 2)
    ) -> None:
        """Keep the number of problems of each split, and the levels that are drawn, 1 to 3."""
        highest = max(generate.LEVELS) - ("test_larger" in sizes)
        if not levels or not set(levels) <= set(range(1, highest + 1)):
            raise realm.ConfigError(
                f"domain.settings.levels: found {list(levels)}. Allowed: levels from 1 to 3, and "
                "below 3 where sizes has test_larger, which is one level above."
            )
        self.sizes, self.levels = sizes, tuple(levels)

    def problems(self, seed: int) -> list[realm.Problem]:
        """Return the problems of every split, drawn from `seed`."""
        return list(generate.draw_problems(self.sizes, self.levels, seed))

    def write_chain(self, problem: realm.Problem) -> realm.Route:
        """Return the chain of thought of the expert, who never errs."""
        return expert.write_chain(problem)

    def write_route(self, problem: realm.Problem, source: str, rng: random.Random) -> realm.Route:
        """Return a route by `source`, with its beliefs and slips, and its process label."""
        return self.check_route(problem, expert.write_route(problem, source, rng))
