"""The store of replies: each is on disk before it is used, and is never asked for again."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
import sqlite3
import threading
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from realm.core.errors import RunError
from realm.sources import Reply
from realm.sources.budget import Spent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realm.run import Run

VERSION = 1

# `lost` holds a row for each attempt that is under way, and keeps it if no reply comes: so a killed
# process leaves what its last attempts may have cost.
_TABLES = """
CREATE TABLE IF NOT EXISTS replies (
    request TEXT, sample INTEGER, reply TEXT NOT NULL, teacher TEXT NOT NULL,
    run TEXT NOT NULL, usd REAL NOT NULL, tokens INTEGER NOT NULL, PRIMARY KEY (request, sample)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lost (
    teacher TEXT NOT NULL, run TEXT NOT NULL, usd REAL NOT NULL, tokens INTEGER NOT NULL
);
"""

Slot = tuple[str, int]
"""The hash of a request and the number of its sample: what is stored and paid for once."""


def hash_request(fields: dict[str, Any], messages: Sequence[dict[str, str]]) -> str:
    """Return the key of a request: model, sampling settings and messages, but no address or key.

    >>> hash_request({"model": "m", "seed": 1}, []) == hash_request({"seed": 1, "model": "m"}, [])
    True
    """
    # Sorted keys: the same settings in another order are the same request.
    text = json.dumps([fields, list(messages)], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()


class Store:
    """A SQLite file of replies with what each run paid for them. Runs may share one."""

    def __init__(self, path: Path, run: str) -> None:
        """Open or create the file.

        Args:
            path: The SQLite file.
            run: The name under which spending is counted.
        """
        self.path, self.run = path, run
        self._waiting: list[tuple[str, tuple[Any, ...]]] = []
        self._turn = asyncio.Lock()
        self._connection_lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() and path.name != ":memory:":
            os.close(os.open(path, os.O_CREAT, 0o600))  # for nobody else to read
        try:
            # A minute of patience with other runs that write, and one connection for all threads.
            self._database = sqlite3.connect(path, timeout=60, check_same_thread=False)
            # With a synced write-ahead log a committed reply survives a power cut as well.
            self._database.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
            self._create_tables()
        except sqlite3.Error as error:
            raise RunError(
                f"{path}: cannot be opened as a store of replies: {error}. Name another file in "
                "routes.store."
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with self._connection_lock:
            self._database.close()

    def find_reply(self, slot: Slot) -> Reply | None:
        """Return the stored reply, or `None`."""
        query = "SELECT reply FROM replies WHERE request = ? AND sample = ?"
        try:
            row = self._database.execute(query, slot).fetchone()
            return Reply(**json.loads(row[0])) if row else None
        except (sqlite3.Error, ValueError, TypeError) as error:
            # Not asked again without a word, since that would be paid for again.
            raise RunError(
                f"{self.path}: the reply of request {slot[0]} is damaged: {error}. Name another "
                f"file in routes.store, or remove the reply, which is then paid for again: sqlite3 "
                f"{self.path} \"DELETE FROM replies WHERE request = '{slot[0]}'\""
            ) from None

    def sum_spent(self) -> Spent:
        """Return what this run has paid for replies so far."""
        return self._sum_costs("replies")

    def sum_lost(self) -> Spent:
        """Return what attempts of this run without a reply may have cost."""
        return self._sum_costs("lost")

    def add_reply(self, slot: Slot, reply: Reply, *, teacher: str, spent: Spent) -> None:
        """Queue a reply; `write_queued` puts it on disk."""
        values = {key: value for key, value in asdict(reply).items() if value not in (None, "")}
        # The text even if it is empty: nothing said is a reply as well, and is paid for.
        text = json.dumps(values | {"text": reply.text})
        # Another run may have stored the same reply in the meantime; the first one counts.
        query = "INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?, ?, ?, ?)"
        row = (*slot, text, teacher, self.run, spent.usd, spent.tokens)
        self._waiting.append((query, row))

    def add_attempt(self, teacher: str, worst: Spent) -> int:
        """Queue the worst cost of an attempt that is about to begin, and return its number."""
        # Random, because runs that share the file do not know each other's numbers; below 2**63,
        # the limit of a SQLite integer.
        number = secrets.randbits(62)
        query = "INSERT INTO lost (rowid, teacher, run, usd, tokens) VALUES (?, ?, ?, ?, ?)"
        self._waiting.append((query, (number, teacher, self.run, worst.usd, worst.tokens)))
        return number

    def remove_attempt(self, number: int) -> None:
        """Queue the removal of an attempt whose cost is known."""
        self._waiting.append(("DELETE FROM lost WHERE rowid = ?", (number,)))

    async def write_queued(self) -> None:
        """Put all that is queued on disk. Whoever comes first writes for all who wait."""
        async with self._turn:
            if self._waiting:
                await asyncio.to_thread(self._commit_queued)

    def _commit_queued(self) -> None:
        """Commit all that is queued; it stays queued until then, as a cancelled task may not."""
        try:
            # A cancelled task may leave its thread running, so the next one must wait here.
            with self._connection_lock:
                rows = list(self._waiting)
                with self._database:
                    for statement, values in rows:
                        self._database.execute(statement, values)
                del self._waiting[: len(rows)]
        except sqlite3.Error as error:
            raise RunError(
                f"{self.path}: a reply cannot be stored: {error}. Make room, and run again."
            ) from None

    def _sum_costs(self, table: str) -> Spent:
        query = f"SELECT coalesce(sum(usd), 0), coalesce(sum(tokens), 0) FROM {table} WHERE run = ?"
        usd, tokens = self._database.execute(query, (self.run,)).fetchone()
        return Spent(usd=usd, tokens=tokens)

    def _create_tables(self) -> None:
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, VERSION):
            raise RunError(
                f"{self.path}: is a store of version {version}; this is version {VERSION}. Name "
                "another file in routes.store."
            )
        if version == 0:
            self._database.executescript(
                f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {VERSION}; COMMIT;"
            )


def open_store(run: Run, *, create: bool = True) -> Store:
    """Return the store, or an empty one in memory if there is none and none is to be created."""
    assert run.config.routes.kind == "collect"
    name = run.config.routes.store
    path = run.config.resolve(name) if name else run.payer / "teacher.sqlite"
    if not name and path.is_symlink():  # it would lead paid replies to another place
        raise RunError(f"{path}: is a link. Remove it, or name the store in routes.store.")
    if not (create or path.exists()):
        return Store(Path(":memory:"), "")
    # A store knows a run by its path from the store, which survives moving both.
    return Store(path, os.path.relpath(run.payer, path.parent))
