"""The store of replies: each is on the disk before anything else happens with it, and is never asked for again."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from realm.core.errors import RunError
from realm.sources import Reply
from realm.sources.budget import Spent

VERSION = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS replies (
    request TEXT, sample INTEGER, reply TEXT NOT NULL, teacher TEXT NOT NULL,
    run TEXT NOT NULL, usd REAL NOT NULL, tokens INTEGER NOT NULL, PRIMARY KEY (request, sample)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lost (teacher TEXT NOT NULL, run TEXT NOT NULL, usd REAL NOT NULL, tokens INTEGER NOT NULL);
"""
_Row = tuple[str, tuple[Any, ...]]


def hash_request(fields: dict[str, Any], messages: Sequence[dict[str, str]]) -> str:
    """Return the key of a rendered request: model, sampling settings and messages, but neither address nor key.

    >>> hash_request({"model": "m", "seed": 1}, []) == hash_request({"seed": 1, "model": "m"}, [])
    True
    """
    text = json.dumps([fields, list(messages)], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


class Store:
    """A SQLite file of replies, by request and sample, with what each run paid for them. Runs may share one."""

    def __init__(self, path: Path, run: str) -> None:
        """Open `path`, made where it is missing; `run` is the name under which spending is counted."""
        self.path, self.run = path, run
        self._rows: list[_Row] = []
        self._written: asyncio.Future[None]
        self._writing: asyncio.Task[None] | None = None
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._database = sqlite3.connect(path, timeout=60, check_same_thread=False)
            # WAL appends and FULL syncs, so that a reply survives a power cut too; a writer waits for all that came meanwhile.
            self._database.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
            self._create_tables()
        except sqlite3.Error as error:
            raise RunError(
                f"{path}: cannot be opened as a store of replies: {error}. Name another file in routes.store."
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._database.close()

    def get(self, request: str, sample: int) -> Reply | None:
        """Return the reply that is stored, or `None`."""
        row = self._database.execute(
            "SELECT reply FROM replies WHERE request = ? AND sample = ?", (request, sample)
        ).fetchone()
        return Reply(**json.loads(row[0])) if row else None

    def spent(self) -> Spent:
        """Return what this run has paid for replies so far."""
        return self._sum("replies")

    def lost(self) -> Spent:
        """Return what calls of this run without a reply may have cost."""
        return self._sum("lost")

    def add(self, request: str, sample: int, reply: Reply, *, teacher: str, spent: Spent) -> None:
        """Give a reply to be stored. It needs no waiting to be safe from a caller's end; `written` says when it is."""
        text = json.dumps(
            {key: value for key, value in asdict(reply).items() if value not in (None, "")}
            | {"text": reply.text}
        )
        self._add(
            "INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?, ?, ?, ?)",
            (request, sample, text, teacher, self.run, spent.usd, spent.tokens),
        )

    def add_lost(self, teacher: str, spent: Spent) -> None:
        """Give what a call may have cost that brought no reply."""
        self._add(
            "INSERT INTO lost VALUES (?, ?, ?, ?)", (teacher, self.run, spent.usd, spent.tokens)
        )

    async def written(self) -> None:
        """Wait until all that was given so far is on the disk."""
        if self._writing is not None:
            await asyncio.shield(self._written)

    async def flush(self) -> None:
        """Wait until nothing is left to write."""
        if self._writing is not None:
            await asyncio.shield(self._writing)

    def _add(self, statement: str, values: tuple[Any, ...]) -> None:
        if not self._rows:
            self._written = asyncio.get_running_loop().create_future()
        self._rows.append((statement, values))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all())

    async def _write_all(self) -> None:
        """Commit what is waiting, again and again: all that came during one commit shares the next."""
        while self._rows:
            rows, self._rows, written = self._rows, [], self._written
            try:
                await asyncio.to_thread(self._commit, rows)
            except sqlite3.Error as error:
                written.set_exception(
                    RunError(
                        f"{self.path}: a reply cannot be stored: {error}. Make room, and run again."
                    )
                )
            else:
                written.set_result(None)
        self._writing = None

    def _commit(self, rows: list[_Row]) -> None:
        with self._database:
            for statement, values in rows:
                self._database.execute(statement, values)

    def _sum(self, table: str) -> Spent:
        query = f"SELECT coalesce(sum(usd), 0), coalesce(sum(tokens), 0) FROM {table} WHERE run = ?"
        usd, tokens = self._database.execute(query, (self.run,)).fetchone()
        return Spent(usd=usd, tokens=tokens)

    def _create_tables(self) -> None:
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            self._database.executescript(
                f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {VERSION}; COMMIT;"
            )
        elif version != VERSION:
            raise RunError(
                f"{self.path}: is a store of version {version}; this is version {VERSION}. Name another file in routes.store."
            )
