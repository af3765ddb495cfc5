"""Do the cells of a comparison one after the other, or several side by side in processes of their own."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

import typer

from realm.compare.cells import Cell
from realm.errors import RunError


def each_done(cells: Sequence[Cell], left: Mapping[str, bool], *, force: bool, jobs: int) -> Iterator[Cell]:
    """Yield every cell when it is done, at once where nothing of it is `left`; none begins before the one it starts from.

    With more than one of `jobs` what cells print goes to log.txt in their folders, and each process has its share of the cores.
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
    cores = max(1, (os.cpu_count() or 1) // jobs)
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _begin, (cores,)) as pool:
        running: dict[Future[None], Cell] = {}
        try:
            while waiting or running:
                unfinished = {cell.name for cell in (*waiting, *running.values())}
                ready = [cell for cell in waiting if cell.parent is None or cell.parent.name not in unfinished]
                for cell in ready[: jobs - len(running)]:
                    typer.echo(f"{cell.name}: {', '.join(cell.left()) or 'again'}; log {cell.run.path('log.txt')}")
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


def _begin(cores: int) -> None:
    """Prepare a process: Ctrl-C is the parent's to answer, and so many threads compute."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import torch

    torch.set_num_threads(cores)


def _work(cell: Cell, force: bool) -> None:
    cell.run.folder.mkdir(parents=True, exist_ok=True)
    with open(cell.run.path("log.txt"), "a", encoding="utf-8") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    cell.work(force=force)
