"""The domain: problems and scorers of reasoning-gym, and an expert in a teacher's place."""

from __future__ import annotations

import random
from typing import Any

import realm

from . import expert


class GymExpert(realm.ReasoningGymDomain):
    """Three tasks of reasoning-gym with an expert who writes chains and routes."""

    sources = tuple(expert.SLIPS)

    def __init__(self, **settings: Any) -> None:
        """Take the settings of `domain.kind: reasoning_gym`; only three tasks are known."""
        super().__init__(**settings)
        known = list(expert.MISCONCEPTIONS)
        unknown = [task for task in self.settings.tasks if task not in known]
        if unknown:
            raise realm.ConfigError(
                f"domain.settings.tasks: the expert does not know the task {unknown[0]}. "
                f"Allowed: {', '.join(known)}."
            )

    def write_chain(self, problem: realm.Problem) -> realm.Route:
        """Return the chain of thought of the expert, who never errs."""
        return expert.write_chain(problem)

    def write_route(self, problem: realm.Problem, source: str, rng: random.Random) -> realm.Route:
        """Return a route by `source`, with its misconceptions and slips."""
        return expert.write_route(problem, source, rng)
