"""Run a comparison: every cell once, with the time that is left, and the results after each seed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

import typer

from realm.config.root import Config
from realm.core.errors import ConfigError
from realm.core.jsonl import write_json
from realm.evaluate.cells import Cell, plan
from realm.evaluate.findings import families, results
from realm.evaluate.jobs import each_done
from realm.evaluate.methods import chosen_methods
from realm.evaluate.page import write_page
from realm.evaluate.pilot import sentences
from realm.evaluate.tables import print_comparison

if TYPE_CHECKING:
    from realm.run import Run


def compare(run: Run, *, dry_run: bool, force: bool) -> None:
    """Do the cells that are left, and write results.json and report.html after each seed."""
    config, folder = run.config, run.folder
    if config.recipe != "r1":
        raise ConfigError(
            f"{config.source}: recipe: found {config.recipe}; a comparison starts from distillation. Set recipe: r1."
        )
    methods, cells = chosen_methods(config), plan(run)
    known = families(config, methods)
    left = {cell.name: force or bool(cell.left()) for cell in cells}
    typer.echo(
        f"{len(cells)} cells: {len(methods)} methods and their starts, {config.compare.seeds} seeds; {sum(left.values())} to do."
    )
    if dry_run:
        for cell in cells:
            typer.echo(
                f"{cell.name:<28} {'would do: ' + ', '.join(cell.left()) if left[cell.name] else 'up to date'}"
            )
        return
    _check(config, cells)
    shown: set[int] = set()
    for number, cell in enumerate(each_done(cells, left, force=force, jobs=config.compare.jobs), 1):
        if left[cell.name]:
            left[cell.name] = False
            rest = time_left(cells, left, config.compare.jobs)
            typer.echo(
                f"[{number}/{len(cells)}] {cell.name}: {_told(cell)}{cell.seconds():.0f} s; {rest}"
            )
        if "pilot" in cell.stages:
            found = json.loads(cell.run.path("outcomes/pilot.json").read_text(encoding="utf-8"))
            num_claims = sum(len(family.against) for family in known if family.split == "test")
            for line in sentences(
                found, n=_num_problems(cell), seeds=config.compare.seeds, claims=num_claims
            ):
                typer.echo(line)
        whole = {cell.seed for cell in cells} - {cell.seed for cell in cells if left[cell.name]}
        if whole > shown:
            outcome, shown = (
                results(config, [cell for cell in cells if cell.seed in whole], methods),
                whole,
            )
            write_json(folder / "results.json", outcome)
            write_page(config, folder, outcome)
    print_comparison(outcome)
    typer.echo(f"\nresults  {folder / 'results.json'}\nreport   {folder / 'report.html'}")


def time_left(cells: Sequence[Cell], left: Mapping[str, bool], jobs: int = 1) -> str:
    """Return how long the rest takes, by what cells of the same method took, or of any where there is none yet."""
    done: dict[str, list[float]] = {}
    for cell in cells:
        if not left[cell.name]:
            done.setdefault(cell.method.name, []).append(cell.seconds())
    waiting = [cell for cell in cells if left[cell.name]]
    if not waiting:
        return "all cells done"
    any_cell = fmean(seconds for times in done.values() for seconds in times) if done else 0.0
    seconds = sum(
        fmean(done[cell.method.name]) if cell.method.name in done else any_cell for cell in waiting
    )
    return f"{len(waiting)} cells left, about {max(1, round(seconds / min(jobs, len(waiting)) / 60))} min"


def _check(config: Config, cells: Sequence[Cell]) -> None:
    """Let each kind of cell look at its settings before the first has spent time."""
    for cell in cells:
        if cell.seed == config.seed:
            for stage in cell.stages:
                if check := cell.run.stages[stage].check:
                    check(cell.run)


def _told(cell: Cell) -> str:
    """Return the accuracy of a cell on `test` in the modes that every method has."""
    parts: list[str] = []
    for mode in ("autonomous", "assisted"):
        path = cell.run.path(f"outcomes/{mode}.json")
        if mode in cell.method.modes and path.exists():
            entries: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
            here = next(
                entry for entry in entries if (entry["mode"], entry["split"]) == (mode, "test")
            )
            parts.append(f"{mode} {100 * fmean(here['outcomes'].values()):.1f}%, ")
    return "".join(parts)


def _num_problems(cell: Cell) -> int:
    """Return how many problems of `test` each method is asked."""
    from realm.evaluate.exam import set_exam

    return len(set_exam(cell.run).splits["test"])
