"""Progress on standard error: a bar on a terminal, elsewhere a line every ten seconds or so."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def progress(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """Give a function that tells the user that so many more of `total` are done."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(description, total=total)
            yield lambda count: bar.advance(task, count)
        return
    lines = _Lines(description, total)
    yield lines.advance
    lines.end()


class _Lines:
    """Progress as lines of a log; work that is over in a moment prints nothing."""

    def __init__(self, description: str, total: int) -> None:
        self.description, self.total, self.done = description, total, 0
        self.started = self.printed = time.monotonic()

    def advance(self, count: int) -> None:
        self.done += count
        if time.monotonic() - self.printed >= SECONDS_BETWEEN_LINES:
            self._print()

    def end(self) -> None:
        if self.printed > self.started:
            self._print()

    def _print(self) -> None:
        self.printed = time.monotonic()
        print(f"{self.description}: {self.done}/{self.total}, {self.printed - self.started:.0f} s", file=sys.stderr, flush=True)
