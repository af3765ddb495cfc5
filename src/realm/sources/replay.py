"""A teacher whose replies were written before: it reads them from a file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from realm.config.routes import ReplayTeacher as Settings
from realm.core.errors import DataError
from realm.core.jsonl import numbered_rows
from realm.sources import Reply, Request


class ReplayTeacher:
    """Gives the rows of a file in their order: the first row of a problem and kind is its sample 0."""

    fields = None
    at_once = 1024
    price = None
    max_tokens = 0

    def __init__(self, settings: Settings, path: Path) -> None:
        """Read the rows of `path` that name no source, or this teacher's name."""
        self.name = settings.name
        self._replies: dict[tuple[str, str], list[Reply]] = defaultdict(list)
        for number, row in numbered_rows(path):
            identity, text = row.get("problem_id"), row.get("text")
            if not isinstance(identity, str) or not isinstance(text, str):
                raise DataError(
                    f"{path}:{number}: a row to replay needs the texts `problem_id` and `text`. Found: {', '.join(row)}."
                )
            if row.get("source", self.name) == self.name:
                kind = (
                    "rationalized"
                    if row.get("rationalized")
                    else "guided"
                    if row.get("guided")
                    else "unguided"
                )
                self._replies[identity, kind].append(Reply(text=text))
        if not self._replies:
            raise DataError(
                f"{path}: no row is of the teacher {self.name!r}. Where rows name a source, call the teacher by one of them."
            )

    async def ask(self, requests: Sequence[Request]) -> list[Reply | None]:
        """Return what the file holds for each request."""
        found = [
            (self._replies.get((request.problem.id, request.kind), []), request.sample)
            for request in requests
        ]
        return [replies[sample] if sample < len(replies) else None for replies, sample in found]

    async def close(self) -> None:
        """Nothing is open."""
