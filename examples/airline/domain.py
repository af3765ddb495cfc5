"""The domain: trips to price, the verifier of totals, and an expert in a teacher's place."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import realm

from . import expert, generate
from .official import read_official

DEFAULT_SIZES = {"train": 4000, "validation": 200, "test": 1000, "test_rules": 200}


class AirlineDomain(realm.Domain):
    """What a flight with checked bags costs by rules.md, in dollars."""

    name = "airline"
    rules = Path(__file__).with_name("rules.md").read_text(encoding="utf-8")
    verifier = realm.Verifier("number")
    answer_form = "the total in dollars, a number alone"
    sources = tuple(expert.BELIEFS)

    def __init__(  # noqa: PLR0913  # one argument per setting
        self,
        sizes: Mapping[str, int] = DEFAULT_SIZES,
        bags: Sequence[int] = (1, 10),
        num_easy: int = 0,
        easy_bags: Sequence[int] = (1, 2),
        hard_bags: Sequence[int] | None = None,
        easy_kinds: Sequence[str] = tuple(generate.KINDS),
        official: str | None = None,
        level: int | None = None,
    ) -> None:
        """Keep the settings.

        Args:
            sizes: Number of problems of each split.
            bags: The least and the most checked bags of a trip.
            num_easy: Number of easy training problems, which come first. With `distill.problems`
                and `train.skip` of the same value they are taught with chains, and reinforcement
                learning gets the labels of the others.
            easy_bags: The least and the most checked bags of an easy problem.
            hard_bags: Those of the other training problems and of validation; by default `bags`.
            easy_kinds: The kinds of bags of an easy problem, of `generate.KINDS`.
            official: A file of RuleArena's problems, from the working directory. They are the
                split `test`, and there are no others.
            level: The official level to take, 0, 1 or 2; by default all of them.
        """
        self.sizes = sizes
        self.bags = (bags[0], bags[1])
        self.levels = generate.Levels(
            num_easy=num_easy,
            easy_bags=(easy_bags[0], easy_bags[1]),
            easy_kinds=easy_kinds,
            hard_bags=(hard_bags[0], hard_bags[1]) if hard_bags else None,
        )
        self.official = None if official is None else Path(official).expanduser().absolute()
        self.level = level
        if self.official:
            self.needed_splits = ("test",)
            self.files = (str(self.official),)

    def problems(self, seed: int) -> list[realm.Problem]:
        """Return the problems of every split, drawn from `seed`, or the official ones."""
        if self.official:
            return list(read_official(self.official, self.level))
        return list(generate.draw_problems(self.sizes, self.bags, seed, self.levels))

    def write_chain(self, problem: realm.Problem) -> realm.Route:
        """Return the chain of thought of the expert, who never errs."""
        return expert.write_chain(problem)

    def write_route(self, problem: realm.Problem, source: str, rng: random.Random) -> realm.Route:
        """Return a route by `source`, with its beliefs and slips."""
        return expert.write_route(problem, source, rng)

    def check_route(self, problem: realm.Problem, route: realm.Route) -> realm.Route:
        """Return a route with its process label, by the rule book."""
        return expert.check_route(problem, route)

    def make_instructor(
        self, problems: Sequence[realm.Problem]
    ) -> Callable[[realm.Problem, Any, random.Random], tuple[str, str, str] | None]:
        """Return a function that writes a new trip of the same cabin, places and size."""
        taken = {generate.trip_of(problem) for problem in problems}

        def write_exercise(
            problem: realm.Problem, answer: Any, rng: random.Random
        ) -> tuple[str, str, str] | None:
            similar = generate.draw_similar_problem(problem, rng, taken=taken)
            if similar is None:
                return None
            return similar.question, expert.write_chain(similar).text, str(similar.answer)

        return write_exercise
