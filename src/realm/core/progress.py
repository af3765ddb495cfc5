"""Progress on standard error: a bar on a terminal, elsewhere a line about every ten seconds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10.0
"""In a log. Work that takes less than this prints nothing there."""
_LINE = "{desc}: {n_fmt}/{total_fmt}, {elapsed_s:.0f} s{postfix}"


class _LogStream:
    """Lets tqdm write whole lines, where it would return to the start of the line."""

    def write(self, text: str) -> None:
        if line := text.strip():
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()

    def flush(self) -> None:
        """Do nothing, since each line is flushed when it is written."""


@contextmanager
def progress(description: str, total: int) -> Iterator[Callable[..., None]]:
    """Yield a function `advance(count, note="")`: `count` more of `total` are done.

    `note` says how it goes, such as the loss or the cost so far.
    """
    log = {
        "file": _LogStream(),
        "bar_format": _LINE,
        "mininterval": SECONDS_BETWEEN_LINES,
        "miniters": 1,  # else tqdm adapts it, and a line comes late when the work slows down
        "delay": SECONDS_BETWEEN_LINES,
    }
    terminal = {"leave": False, "dynamic_ncols": True}
    with tqdm(desc=description, total=total, **(terminal if sys.stderr.isatty() else log)) as bar:

        def advance(count: int, note: str = "") -> None:
            bar.set_postfix_str(note, refresh=False)  # the next line draws both
            bar.update(count)

        yield advance
