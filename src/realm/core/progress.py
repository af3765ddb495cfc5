"""Progress on standard error: a bar on a terminal, elsewhere a line every ten seconds or so."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def progress(description: str, total: int) -> Iterator[Callable[..., None]]:
    """Give a function that tells the user that so many more of `total` are done, and how it goes: `advance(count, note)`."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(description, total=total, note="")
            yield lambda count, note="": bar.update(task, advance=count, note=note)
        return
    lines = _Lines(description, total)
    yield lines.advance
    lines.end()


class _Lines:
    """Progress as lines of a log; work that is over in a moment prints nothing."""

    def __init__(self, description: str, total: int) -> None:
        self.description, self.total, self.done, self.note = description, total, 0, ""
        self.started = self.printed = time.monotonic()

    def advance(self, count: int, note: str = "") -> None:
        self.done += count
        self.note = note and f", {note}"
        if time.monotonic() - self.printed >= SECONDS_BETWEEN_LINES:
            self._print()

    def end(self) -> None:
        if self.printed > self.started:
            self._print()

    def _print(self) -> None:
        self.printed = time.monotonic()
        seconds = f"{self.printed - self.started:.0f} s"
        print(
            f"{self.description}: {self.done}/{self.total}, {seconds}{self.note}",
            file=sys.stderr,
            flush=True,
        )
