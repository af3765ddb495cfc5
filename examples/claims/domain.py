"""The domain: claims to decide, the verifier of decisions, and an expert in a teacher's place."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import realm

from . import expert, generate
from .sources import SOURCES

CODES = ("lapsed", "excluded", "late", "approval", "network")
DEFAULT_SIZES = {"train": 8000, "validation": 400, "test": 2000, "test_rules": 500}

# A decision anywhere in a text: "pay 19", "pay $19" or "deny late".
_DECISION = re.compile(rf"\b(?:pay\s+\$?(\d+)|deny\s+({'|'.join(CODES)}))\b", re.IGNORECASE)


class ClaimsVerifier(realm.Verifier):
    """Reads the last decision in a text. Two decisions are equal if their texts are."""

    def __init__(self) -> None:
        super().__init__("label")

    def extract(self, text: str) -> str | None:
        """Return the last decision, such as `pay 19` or `deny late`; None if there is none."""
        found = _DECISION.findall(text)
        if not found:
            return None
        amount, code = found[-1]
        return f"pay {int(amount)}" if amount else f"deny {code.lower()}"

    def same_all(self, pairs: Sequence[tuple[Any, Any]]) -> list[bool | None]:
        """Return whether each answer is its gold answer."""
        return [answer == gold for answer, gold in pairs]


class ClaimsDomain(realm.Domain):
    """Claims to decide by rules.md: the answer is `pay N` or `deny CODE`."""

    name = "claims"
    rules = Path(__file__).with_name("rules.md").read_text(encoding="utf-8")
    verifier = ClaimsVerifier()
    answer_form = "the decision alone, as `pay N` or `deny CODE`"
    sources = tuple(SOURCES)

    def __init__(
        self,
        sizes: Mapping[str, int] = DEFAULT_SIZES,
        num_easy: int | None = None,
        hard: generate.Kind = "visits",
    ) -> None:
        """Keep the number of problems of each split, and what `draw_problems` says of the rest."""
        self.sizes, self.num_easy, self.hard = sizes, num_easy, hard

    def problems(self, seed: int) -> list[realm.Problem]:
        """Return the problems of every split, drawn from `seed`."""
        return list(generate.draw_problems(self.sizes, seed, self.num_easy, self.hard))

    def write_chain(self, problem: realm.Problem) -> realm.Route:
        """Return the chain of thought of the expert, who never errs."""
        return expert.write_chain(problem)

    def write_route(self, problem: realm.Problem, source: str, rng: random.Random) -> realm.Route:
        """Return a route by `source`, with its misconceptions and slips."""
        return expert.write_route(problem, source, rng)

    def make_instructor(
        self, problems: Sequence[realm.Problem]
    ) -> Callable[[realm.Problem, Any, random.Random], tuple[str, str, str] | None]:
        """Return a function that writes a new claim which is decided by the same rules."""
        taken = {generate.case_of(problem) for problem in problems}

        def write_exercise(
            problem: realm.Problem, answer: Any, rng: random.Random
        ) -> tuple[str, str, str] | None:
            similar = generate.draw_similar_problem(problem, rng, taken=taken)
            if similar is None:
                return None
            return similar.question, expert.write_chain(similar).text, similar.answer

        return write_exercise
