"""Teachers whose replies are free: read from a file, or written by the domain's own expert."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import TYPE_CHECKING

from realm.core.errors import DataError
from realm.core.jsonl import read_numbered_rows
from realm.core.targets import user_errors
from realm.domains import Domain, require_expert
from realm.sources import Attempts, Reply, Request, Teacher

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from realm.config import teachers as config
    from realm.core.records import Route


class ReplayTeacher(Teacher):
    """Replies with the rows of a file in order: the first row of a problem and kind is sample 0."""

    def __init__(self, settings: config.ReplayTeacher, path: Path) -> None:
        """Keep the path of the file."""
        self.name, self._path = settings.name, path
        self._replies: dict[tuple[str, str], list[Reply]] = defaultdict(list)

    def open(self) -> None:
        """Read the rows of the file that name no source, or this teacher's name."""
        path = self._path
        for number, row in read_numbered_rows(path):
            identity, text = row.get("problem_id"), row.get("text")
            if not isinstance(identity, str) or not isinstance(text, str):
                raise DataError(
                    f"{path}:{number}: a row to replay needs the texts `problem_id` and `text`. "
                    f"Found: {', '.join(row)}."
                )
            if row.get("source", self.name) == self.name:
                guided = "guided" if row.get("guided") else "unguided"
                kind = row.get("kind") or ("rationalized" if row.get("rationalized") else guided)
                if "route" in row:
                    kind += f" {row['route']}"  # as in `Request.key`
                self._replies[identity, kind].append(Reply(text=text))
        if not self._replies:
            raise DataError(
                f"{path}: no row is of the teacher {self.name!r}. Where rows name a source, name "
                "the teacher after one of them."
            )

    async def ask(self, requests: Sequence[Request], attempts: Attempts) -> list[Reply | None]:
        """Return what the file holds for each request."""
        rows = [self._replies.get(one.key[:2], []) for one in requests]
        return [
            replies[request.sample] if request.sample < len(replies) else None
            for request, replies in zip(requests, rows, strict=True)
        ]


class ScriptedTeacher(Teacher):
    """Asks the domain. Without the guide it writes as the source that it is named after."""

    def __init__(self, settings: config.ScriptedTeacher, domain: Domain, seed: int) -> None:
        """Keep the domain."""
        self.name, self._settings = settings.name, settings
        self._domain, self._seed = domain, seed

    def open(self) -> None:
        """Raise a `ConfigError` if the domain has no expert, or no source of this name."""
        asks_routes = self._settings.routes or self._settings.eval_routes
        setting = f"routes.teachers: the teacher {self.name!r} of kind scripted"
        require_expert(self._domain, [self.name] if asks_routes else [], setting)

    async def ask(self, requests: Sequence[Request], attempts: Attempts) -> list[Reply | None]:
        """Return a chain for each request."""
        with user_errors("routes.teachers: kind: scripted", self._domain.name):
            return [Reply(text=self._write_text(request)) for request in requests]

    def _write_text(self, request: Request) -> str:
        problem = request.problem
        if request.route is not None:
            return _render_check(self._domain.check_route(problem, request.route))
        if request.kind == "unguided":
            # A generator per sample: what one sample says does not depend on the others.
            name = f"routes:{self._seed}:{problem.id}:{self.name}:{request.sample}"
            return self._domain.write_route(problem, self.name, random.Random(name)).text
        chain = self._domain.write_chain(problem)
        # A chain need not state its answer, and a reply must.
        return f"{chain.text}\n{self._domain.verifier.render(chain.answer)}"


def _render_check(route: Route) -> str:
    """Return the process label of a route in the words of a teacher."""
    if route.process is None:
        return ""
    if route.process:
        return "Check: every step holds"
    return f"Check: [{route.flaw}] should be: {route.fix or ''}"
