"""Do the cells of a comparison one after the other, or several side by side in processes of their own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

import typer

from realm.core.errors import RunError
from realm.evaluate.cells import Cell


def each_done(
    cells: Sequence[Cell], left: Mapping[str, bool], *, force: bool, jobs: int
) -> Iterator[Cell]:
    """Yield every cell when it is done, or at its turn where nothing of it is `left`; none begins before the one it starts from.

    With several `jobs` what cells print goes to log.txt in their folders, and the processes share the cores.
    """
    if jobs == 1:
        for cell in cells:
            if left[cell.name]:
                typer.echo(f"{cell.name}: {', '.join(cell.left()) or 'again'}")
                cell.work(force=force)
            yield cell
        return
    yield from (cell for cell in cells if not left[cell.name])
    waiting = [cell for cell in cells if left[cell.name]]
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _begin, (jobs,)) as pool:
        running: dict[Future[None], Cell] = {}
        try:
            while waiting or running:
                unfinished = {cell.name for cell in (*waiting, *running.values())}
                ready = [
                    cell
                    for cell in waiting
                    if cell.parent is None or cell.parent.name not in unfinished
                ]
                for cell in ready[: jobs - len(running)]:
                    typer.echo(
                        f"{cell.name}: {', '.join(cell.left()) or 'again'}; log {cell.run.path('log.txt')}"
                    )
                    running[pool.submit(_work, cell, force)] = cell
                    waiting.remove(cell)
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    future.result()
                    yield running.pop(future)
        except BrokenProcessPool:
            raise RunError(
                "a process that made a cell was killed, perhaps because memory ran out. Try fewer compare.jobs, or a smaller "
                "evaluate.batch_tokens; the same command continues."
            ) from None
        except BaseException:
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def _begin(jobs: int) -> None:
    """Prepare a process: Ctrl-C is its parent's to answer, it ends with its parent, and it takes its share of the threads."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(1)
    )  # so that the stage at work still notes its seconds
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(max(1, torch.get_num_threads() // jobs))


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def _work(cell: Cell, force: bool) -> None:
    cell.run.folder.mkdir(parents=True, exist_ok=True)
    with open(cell.run.path("log.txt"), "a", encoding="utf-8") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    try:
        cell.work(force=force)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
