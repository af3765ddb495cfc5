"""Run a comparison: each cell once, with the time left, and the results after each seed."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from realm.bank.worth import MAJORITY, ONE
from realm.core.errors import ConfigError, RunError
from realm.core.jsonl import explain_damage, read_json, write_json
from realm.core.ranks import count_processes, is_main_process, run_on_main
from realm.evaluate import check_evaluate
from realm.evaluate.cells import Cell, plan_cells
from realm.evaluate.claims import describe_pilot, list_families, list_hard_families
from realm.evaluate.eval_set import load_eval_set, measure_routes
from realm.evaluate.methods import Method, choose_methods
from realm.evaluate.modes import TASK_OF_MODE
from realm.evaluate.records import Measurement
from realm.evaluate.results import Results, build_results

if TYPE_CHECKING:
    from realm.config.root import Config
    from realm.run import Run

logger = logging.getLogger(__name__)

FEWEST_SEEDS = 3
"""Seeds below which a comparison warns."""


def run_comparison(run: Run, *, dry_run: bool = False, force: bool = False) -> Results | None:
    """Run the missing cells; write results.json and report.html after each seed.

    Several processes run the stages of each cell together. Only the main one returns the results.

    Args:
        run: The folder and the config of the comparison.
        dry_run: Only log which stages are missing, and return `None`.
        force: Run all cells again.
    """
    config = run.config
    _require_settings(config)
    methods = choose_methods(run)
    cells = plan_cells(run, methods)
    list_families(config, methods)  # raises the user's mistakes before anything is trained
    todo = run_on_main(
        lambda: {cell.name: force or bool(cell.find_missing_stages()) for cell in cells}
    )
    logger.info(
        "%d cells: %d methods and their starts, %d seeds; %d to do.",
        len(cells), len(methods), config.compare.seeds, sum(todo.values()),
    )  # fmt: skip
    _warn_of_few_seeds(config.compare.seeds)
    for cell in cells:
        if cell.seed == config.seed and todo[cell.name]:  # other seeds have the same settings
            _check_stages(cell)
    if dry_run:
        for cell in cells:
            missing = ", ".join(cell.find_missing_stages())
            state = f"would run: {missing}" if todo[cell.name] else "up to date"
            logger.info("%-28s %s", cell.name, state)
        return None
    # So that the folder can be given in place of the config.
    run_on_main(partial(run.write_manifest, {}))
    results, num_seeds = None, 0
    for number, cell in enumerate(run_cells(cells, todo, force=force, jobs=config.compare.jobs), 1):
        if not is_main_process():
            continue
        if todo[cell.name]:
            todo[cell.name] = False
            rest = estimate_time_left(cells, todo, config.compare.jobs)
            done = f"{_describe_accuracy(cell)}{cell.count_seconds():.0f} s"
            logger.info("[%d/%d] %s: %s; %s", number, len(cells), cell.name, done, rest)
        if "pilot" in cell.stages:
            _log_pilot(cell, methods)
        unfinished = {cell.seed for cell in cells if todo[cell.name]}
        finished = [cell for cell in cells if cell.seed not in unfinished]
        # Results are written with whole seeds only, so that methods stay paired.
        if len({cell.seed for cell in finished}) > num_seeds:
            num_seeds = len({cell.seed for cell in finished})
            results = _write_results(run, finished, methods)
    return results


def require_methods(run: Run, given: Path) -> None:
    """Raise `ConfigError` for a comparison that nobody has planned: of all methods, by default.

    Args:
        run: The comparison. One that has begun goes on.
        given: The config file or the run folder that the user has named.
    """
    if run.path("cells").is_dir():
        return
    if (given / "manifest.json").exists():
        raise ConfigError(
            f"{given}: is the folder of one run. Name the runs to compare it with: `realm compare "
            f"{given} RUN`. To compare methods give a config with a section `compare`."
        )
    if "compare" not in run.config.model_fields_set:
        methods, num_seeds = choose_methods(run), run.config.compare.seeds
        raise ConfigError(
            f"{run.config.source}: has no section `compare`, and all {len(methods)} methods with "
            f"{num_seeds} seeds would be {len(methods) * num_seeds} trainings. To compare finished "
            "runs name their folders: `realm compare RUN RUN`. To compare methods name those that "
            "you want: --set 'compare.methods=[distilled, realm]' --set compare.seeds=3, or write "
            "a section `compare` as in configs/claims-services.yaml."
        )


def _require_settings(config: Config) -> None:
    if config.recipe != "r1":
        raise ConfigError(
            f"{config.source}: recipe: found {config.recipe}; a comparison starts from "
            "distillation. Set recipe: r1."
        )
    if config.evaluate.routes == 0:
        raise ConfigError(
            f"{config.source}: evaluate.routes: found 0; a comparison shows routes, and samples as "
            "many answers. Set at least 1. To ask alone: --set compare.modes=[autonomous]"
        )
    for name in config.evaluate.endpoints:
        if name != "base":
            raise ConfigError(
                f"{config.source}: evaluate.endpoints.{name}: a comparison trains such a model for "
                "each seed, and asks it before anybody could serve it. Allowed: base, which "
                "all seeds share. Leave it out: --set evaluate.endpoints={}"
            )
    jobs = config.compare.jobs
    if jobs > 1 and count_processes() > 1:
        raise ConfigError(
            f"compare.jobs: found {jobs} with {count_processes()} processes, which share the work "
            "of each cell. Set compare.jobs: 1, or start one process."
        )


def _warn_of_few_seeds(num_seeds: int) -> None:
    if num_seeds < FEWEST_SEEDS:
        logger.warning(
            "compare.seeds: %d. Fewer than %d seeds do not tell how much trainings vary: the "
            "interval of one seed is for this training only, and that of two is very wide.",
            num_seeds, FEWEST_SEEDS,
        )  # fmt: skip


def _write_results(run: Run, cells: Sequence[Cell], methods: Mapping[str, Method]) -> Results:
    from realm.evaluate.report import write_comparison_page

    results = build_results(
        collect_measurements(cells),
        list_families(run.config, methods) + list_hard_families(methods),
        seed=run.config.seed,
        is_nested=True,
        budgets=[_summarize_budget(cell) for cell in cells if cell.method.name in methods],
        methods={
            name: {"summary": method.summary, "role": method.role}
            for name, method in methods.items()
        },
    )
    write_json(run.path("results.json"), results.to_json())
    write_comparison_page(run, results)
    return results


def collect_measurements(cells: Sequence[Cell]) -> list[Measurement]:
    """Return what finished cells have measured, and the majority of the routes of each seed."""
    measurements = []
    for cell in cells:
        if cell.method.name == "data":
            for one in measure_routes(load_eval_set(cell.run), cell.run, every_source=False):
                # The majority of a single route is that route.
                if one.method == MAJORITY or (one.method == ONE and one.figures["k"] == 1):
                    measurements.append(replace(one, method=MAJORITY))
        for task in dict.fromkeys(TASK_OF_MODE[mode].name for mode in cell.method.modes):
            path = cell.run.path(f"outcomes/{task}.json")
            for row in read_json(path, "compare"):
                with explain_damage(path, "compare"):
                    one = Measurement(**row)
                if one.mode in cell.method.modes:
                    measurements.append(replace(one, method=cell.method.name, seed=cell.seed))
    return measurements


def _summarize_budget(cell: Cell) -> dict[str, object]:
    seconds = round(cell.count_seconds(), 1)
    budget = cell.count_budget()
    return {"method": cell.method.name, "seed": cell.seed, **budget, "seconds": seconds}


def _check_stages(cell: Cell) -> None:
    """Check the settings of a cell before any cell spends time."""
    for stage in cell.stages:
        check = cell.run.stages[stage].check
        if check is not None:
            check(cell.run)
    if cell.method.name == "base":  # which a server may answer for
        check_evaluate(cell.run)


def _describe_accuracy(cell: Cell) -> str:
    """Return the accuracy of a cell on `test` in the modes that every method has."""
    rows = collect_measurements([cell]) if cell.method.name != "data" else []
    return "".join(
        f"{row.mode} {fmean(row.outcomes.values()):.1%}, "
        for row in rows
        if row.split == "test" and row.mode in ("autonomous", "assisted")
    )


def _log_pilot(cell: Cell, methods: Mapping[str, Method]) -> None:
    config = cell.run.config
    families = list_families(config, methods)
    num_claims = sum(len(family.against) for family in families if family.split == "test")
    n = len(load_eval_set(cell.run).splits["test"])
    for line in describe_pilot(cell.run, n=n, seeds=config.compare.seeds, num_claims=num_claims):
        logger.info(line)


def estimate_time_left(cells: Sequence[Cell], todo: Mapping[str, bool], jobs: int = 1) -> str:
    """Return how long the rest takes, by the mean time of finished cells of the same method.

    A method without a finished cell counts as the mean of all methods. Before the first method has
    finished, the time is not known: that of problems and routes says nothing about it.
    """
    times: dict[str, list[float]] = {}
    for cell in cells:
        if not todo[cell.name]:
            times.setdefault(cell.method.name, []).append(cell.count_seconds())
    waiting = [cell for cell in cells if todo[cell.name]]
    if not waiting:
        return "all cells done"
    known = [time for name, group in times.items() if name != "data" for time in group]
    if not known:
        return f"{len(waiting)} cells left"
    seconds = sum(fmean(times.get(cell.method.name, known)) for cell in waiting)
    minutes = max(1, round(seconds / min(jobs, len(waiting)) / 60))
    return f"{len(waiting)} cells left, about {minutes} min"


def run_cells(
    cells: Sequence[Cell], todo: Mapping[str, bool], *, force: bool, jobs: int
) -> Iterator[Cell]:
    """Yield each cell when it is done. No cell begins before the one that it starts from is done.

    With several `jobs` the cells run side by side in processes that share the cores. What they
    print goes to log.txt in their folders.
    """
    if jobs > 1:
        yield from (cell for cell in cells if not todo[cell.name])
        yield from _run_side_by_side([cell for cell in cells if todo[cell.name]], force, jobs)
        return
    for cell in cells:
        if todo[cell.name]:
            logger.info("%s: %s", cell.name, _describe_missing(cell))
            cell.run_missing_stages(force=force)
        yield cell


def _describe_missing(cell: Cell) -> str:
    return ", ".join(cell.find_missing_stages()) or "again"


def _run_side_by_side(waiting: list[Cell], force: bool, jobs: int) -> Iterator[Cell]:
    context = multiprocessing.get_context("spawn")  # forked threads of torch would hang
    with ProcessPoolExecutor(jobs, context, _set_up_process, (jobs,)) as pool:
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
                    log = cell.run.path("log.txt")
                    logger.info("%s: %s; log %s", cell.name, _describe_missing(cell), log)
                    running[pool.submit(_run_logged, cell, force)] = cell
                    waiting.remove(cell)
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    # Raises here what the cell has raised in its process.
                    future.result()
                    yield running.pop(future)
        except BrokenProcessPool:
            raise RunError(
                "a process that ran a cell was killed, perhaps because memory ran out. Try fewer "
                "compare.jobs, or a smaller evaluate.batch_tokens; the same command continues."
            ) from None
        except BaseException:
            # Ctrl-C or a failed cell: the pool would wait hours for the other cells.
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def _set_up_process(jobs: int) -> None:
    """Leave Ctrl-C to the parent, end when the parent ends, and take a share of the threads."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # An ordinary exit, so that the running stage still records its seconds.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
    logging.getLogger("realm").setLevel(logging.INFO)
    import torch  # not needed by a dry run

    torch.set_num_threads(max(1, torch.get_num_threads() // jobs))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)  # sys.exit would only end this thread


def _run_logged(cell: Cell, force: bool) -> None:
    """Run a cell in this process; what it prints goes to log.txt in its folder."""
    cell.run.folder.mkdir(parents=True, exist_ok=True)
    with cell.run.path("log.txt").open("a", encoding="utf-8") as log:
        # Libraries in C write to the file descriptors, not to sys.stdout.
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    try:
        cell.run_missing_stages(force=force)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
