"""A teacher that is a program: the domain's own expert (`Domain.write_chain` and `write_route`)."""

from __future__ import annotations

import random
from collections.abc import Sequence

from realm.config.routes import ScriptedTeacher as Settings
from realm.core.targets import user_errors
from realm.domains import Domain, require_expert
from realm.sources import Reply, Request


class ScriptedTeacher:
    """Asks the domain. Without the guide it writes as the source that it is named after."""

    fields = None
    at_once = 1024
    price = None
    max_tokens = 0

    def __init__(self, settings: Settings, domain: Domain, seed: int) -> None:
        """Raise a ConfigError if the domain has no expert, or no source of this name."""
        asks_routes = settings.routes or settings.eval_routes
        setting = f"routes.teachers: the teacher {settings.name!r} of kind scripted"
        require_expert(domain, [settings.name] if asks_routes else [], setting)
        self.name = settings.name
        self._domain = domain
        self._seed = seed

    async def ask(self, requests: Sequence[Request]) -> list[Reply | None]:
        """Return a chain for each request."""
        with user_errors("routes.teachers: kind: scripted", self._domain.name):
            return [Reply(text=self._write(request)) for request in requests]

    async def close(self) -> None:
        """Nothing is open."""

    def _write(self, request: Request) -> str:
        problem = request.problem
        if request.kind == "unguided":
            name = f"routes:{self._seed}:{problem.id}:{self.name}:{request.sample}"
            return self._domain.write_route(problem, self.name, random.Random(name)).text
        chain = self._domain.write_chain(problem)
        # A chain need not state its answer, and a reply must.
        return f"{chain.text}\n{self._domain.verifier.render(chain.answer)}"
