"""Routes by the experts of the examples, for tests that need a bank of real ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from claims import ClaimsDomain
from realm.config.routes import ScriptedRoutes
from realm.core.records import Problem, Route
from realm.domains import Domain

EXAMPLES = Path(__file__).parents[1] / "examples"
CLAIMS = f"{EXAMPLES}/claims:ClaimsDomain"
"""The domain of the demo, as the target of a config in any folder."""
GYM_EXPERT = f"{EXAMPLES}/gym_expert:GymExpert"


def write_routes(
    problems: Iterable[Problem],
    *,
    sources: Sequence[str],
    per_source: int,
    guided: bool,
    seed: int,
    domain: Domain | None = None,
) -> list[Route]:
    """Return routes for all problems as if they were training problems, by default of claims."""
    train = [replace(problem, split="train") for problem in problems]
    settings = ScriptedRoutes(
        guided_problems=len(train) if guided else 0,
        sources=list(sources),
        held_out=[],
        per_source=per_source,
    )
    return list((domain or ClaimsDomain()).write_routes(train, settings, seed))
