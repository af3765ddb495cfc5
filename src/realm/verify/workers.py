"""Symbolic comparison in processes of its own: what hangs or crashes there costs its time limit and nothing else."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from realm.core.errors import RunError

_MOST = 8
"""Workers at one time."""
_PATIENCE = 120.0
"""Seconds that a worker may take to load, and past its own alarm until it is given up."""


class Workers:
    """Compares pairs of LaTeX answers side by side.

    No process is started before there is a pair to compare. They end with this object, and at exit.
    """

    def __init__(self, seconds: float) -> None:
        """Give each pair `seconds`."""
        self.seconds = seconds
        self._start_anew()

    def compare(self, pairs: Sequence[tuple[str, str]]) -> list[bool | None]:
        """Return for each (answer, gold) whether they are equal; `None` where it took too long, or its worker crashed."""
        if self._owner != os.getpid():
            self._start_anew()  # after a fork, the workers and the lock are the parent's
        verdicts: list[bool | None] = [None] * len(pairs)
        side_by_side = min(len(pairs), os.cpu_count() or 1, _MOST)
        if side_by_side == 0:
            return verdicts
        with self._lock, ThreadPoolExecutor(side_by_side) as threads:
            self._workers += [
                _Worker(self.seconds) for _ in range(side_by_side - len(self._workers))
            ]
            waiting = iter(list(enumerate(pairs)))
            served = [
                threads.submit(_serve, worker, waiting, verdicts)
                for worker in self._workers[:side_by_side]
            ]
            try:
                for one in served:
                    one.result()
            except BaseException:
                for _ in waiting:  # nobody takes another pair
                    pass
                _stop(self._workers)
                raise
        return verdicts

    def _start_anew(self) -> None:
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._workers: list[_Worker] = []
        self._at_end = weakref.finalize(self, _stop, self._workers)


class _Worker:
    """One process, started when it is first asked and again after it died."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._owner = os.getpid()
        self._process: subprocess.Popen[str] | None = None

    def ask(self, answer: str, gold: str) -> bool | None:
        """Return the verdict on one pair."""
        if self._process is None:
            self._process = self._start()
        try:
            self._process.stdin.write(json.dumps([answer, gold]) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            reply = ""
        else:
            reply = _reply(self._process, self.seconds + _PATIENCE)
        if not reply:
            self.stop()
        return bool(int(reply)) if reply else None

    def stop(self) -> None:
        """End the process; a child of the process that started it leaves it alone."""
        process, self._process = self._process, None
        if process is not None and self._owner == os.getpid():
            process.kill()
            process.wait()
            process.stdout.close()
            with suppress(BrokenPipeError):  # of a pair that it did not take any more
                process.stdin.close()

    def _start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("symbolic.py")), str(self.seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        if not _reply(process, _PATIENCE):
            process.kill()
            process.wait()
            raise RunError(
                f"{' '.join(process.args)}: the process that compares mathematical answers does not start. Run this command by "
                "hand to see why; `pip install math-verify` mends a missing library."
            )
        return process


def _serve(
    worker: _Worker, waiting: Iterator[tuple[int, tuple[str, str]]], verdicts: list[bool | None]
) -> None:
    for index, (answer, gold) in waiting:
        verdicts[index] = worker.ask(answer, gold)


def _reply(process: subprocess.Popen[str], seconds: float) -> str:
    """Return the line that the process writes; "" where it died, or wrote none in `seconds`."""
    with selectors.DefaultSelector() as written:
        written.register(process.stdout, selectors.EVENT_READ)
        return process.stdout.readline().strip() if written.select(seconds) else ""


def _stop(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.stop()
