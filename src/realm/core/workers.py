"""Ask processes of our own, each question with a time limit: what hangs there is killed there."""

from __future__ import annotations

import json
import logging
import os
import queue
import resource
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import wait
from typing import IO, Any

from realm.core.errors import RunError

_MOST_WORKERS = 8
_MEMORY = 4 * 2**30
"""Bytes of address space of a process; a question that wants more gets no answer."""
_STARTUP_SECONDS = 120.0
"""Time that a process may take to load its libraries."""


class WorkerPool:
    """Processes that answer questions side by side, started when they are needed.

    A process runs a module, which writes a line when it is ready, and then one for each line that
    it reads. One that takes too long is killed, and the next question gets a new one. All end with
    this object.
    """

    def __init__(self, module: str, seconds: float, arguments: Sequence[str] = ()) -> None:
        """Give each question to `module`, started with `arguments`, so many `seconds`."""
        self._module, self._seconds, self._arguments = module, seconds, arguments
        self._reset()

    def ask_all(self, questions: Sequence[Any]) -> list[str | None]:
        """Return the answer to each question, which JSON can hold; `None` if there came none."""
        if not questions:
            return []
        if self._owner != os.getpid():
            self._reset()  # after a fork the processes are the parent's
        num_workers = min(len(questions), os.cpu_count() or 1, _MOST_WORKERS)
        threads = ThreadPoolExecutor(num_workers)
        try:
            return list(threads.map(self._ask, questions))
        except BaseException:
            _kill(self._processes)
            threads.shutdown(cancel_futures=True)
            self._reset()
            raise
        finally:
            threads.shutdown(cancel_futures=True)

    def _ask(self, question: Any) -> str | None:
        try:
            process = self._idle.get_nowait()
        except queue.Empty:
            process = self._start()
        reply = ""
        with suppress(OSError, ValueError):  # the process has died, or its pipes are closed
            questions = _get_pipe(process.stdin)
            questions.write(json.dumps(question) + "\n")
            questions.flush()
            reply = _read_reply(process, self._seconds)
        if reply:
            self._idle.put(process)
            return reply
        self._processes.remove(process)
        _kill([process])
        return None

    def _start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", self._module, *self._arguments],
            # So that it finds what a script or a notebook has put on sys.path.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        self._processes.append(process)
        if not _read_reply(process, _STARTUP_SECONDS):
            raise RunError(
                f"{sys.executable} -m {self._module}: this process of ours does not start. Run the "
                "command by hand to see why; a library may be missing."
            )
        return process

    def _reset(self) -> None:
        self._owner = os.getpid()
        self._idle: queue.SimpleQueue[subprocess.Popen[str]] = queue.SimpleQueue()
        self._processes: list[subprocess.Popen[str]] = []
        weakref.finalize(self, _kill, self._processes, self._owner)


def serve(answer: Callable[[Any], Any]) -> None:
    """Be such a process: answer each line of the standard input, JSON to JSON, until it ends."""
    replies = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    sys.stdout = sys.stderr  # what a library prints is no reply
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    logging.disable()
    replies.write("ready\n")
    for line in sys.stdin:
        replies.write(json.dumps(answer(json.loads(line))) + "\n")


def _read_reply(process: subprocess.Popen[str], seconds: float) -> str:
    """Return the line that a process writes; "" if it died, or wrote none in `seconds`."""
    replies = _get_pipe(process.stdout)
    return replies.readline().strip() if wait([replies.fileno()], seconds) else ""


def _get_pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None  # all processes are started with pipes
    return pipe


def _kill(processes: list[subprocess.Popen[str]], owner: int | None = None) -> None:
    if owner is not None and owner != os.getpid():
        return  # a forked child leaves the processes of its parent alone
    for process in processes:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):  # what a dead process did not take any more
                _get_pipe(pipe).close()
