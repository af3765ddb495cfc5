"""The cells of a comparison: one run folder per method and seed.

What methods share, such as the routes or the distilled model, is made once per seed and linked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from realm.config.root import MODEL_SETTINGS
from realm.core.folder import Stage
from realm.core.ranks import is_main_process, run_on_main
from realm.evaluate.claims import run_pilot
from realm.evaluate.methods import BASELINE_STAGES, Method, add_starts, apply_method
from realm.evaluate.modes import TASK_OF_MODE, TASKS, EvalTask, run_task

if TYPE_CHECKING:
    from realm.run import Run

SHARED = ("problems.jsonl", "routes.jsonl", "rules.md", "sft.jsonl", "distilled")
"""What a cell takes over from the one that it starts from."""


def _make_task_stage(task: EvalTask) -> Stage:
    inputs = ("problems.jsonl", "routes.jsonl", "distilled/?", "model/?", *task.inputs)
    return Stage(
        name=task.name,
        function=partial(run_task, task),
        settings=(*MODEL_SETTINGS, "evaluate", *task.settings),
        inputs=(*inputs, *(f"answers/{name}.jsonl" for name in task.needs)),
        outputs=(f"answers/{task.name}.jsonl", f"outcomes/{task.name}.json"),
    )


MORE_STAGES: dict[str, Stage] = {
    **BASELINE_STAGES,
    "pilot": Stage(
        name="pilot",
        function=run_pilot,
        settings=(*MODEL_SETTINGS, "evaluate", "compare.pilot_problems"),
        inputs=("problems.jsonl", "routes.jsonl", "distilled/?", "model/?"),
        outputs=("answers/pilot.jsonl", "outcomes/pilot.json"),
    ),
    **{name: _make_task_stage(task) for name, task in TASKS.items()},
}
"""The stages of cells beyond those of every run."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One method with one seed.

    Example: the cell `realm-7` starts from the cell `distilled-7`, whose model it links, and has
    the stages train, autonomous and assisted.
    """

    method: Method
    seed: int
    run: Run
    parent: Cell | None
    stages: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.run.folder.name

    def find_missing_stages(self) -> list[str]:
        """Return the stages to do; all of them if the files that they start from are outdated."""
        # A parent that only lacks answers has all the files that this cell starts from.
        shared = ("data", "routes", "distill")
        if self.parent and any(stage in shared for stage in self.parent.find_missing_stages()):
            return list(self.stages)
        return [stage for stage in self.stages if not self.run.is_done(stage)]

    def run_missing_stages(self, *, force: bool = False) -> None:
        """Link the shared files, and run the stages that are not up to date."""
        for made in [self.parent.run.path(name) for name in SHARED] if self.parent else []:
            if made.exists() and is_main_process():
                self.run.adopt(made, made.name)
        for stage in self.stages:
            if force:
                self.run.drop_rounds(stage)
            if force or not run_on_main(partial(self.run.is_done, stage)):
                with self.run.recording(stage):
                    self.run.call_stage(stage)

    def count_seconds(self) -> float:
        """Return what its stages have cost so far."""
        recorded = self.run.manifest().get("stages", {})
        return sum(recorded[stage]["seconds"] for stage in self.stages if stage in recorded)

    def count_budget(self) -> dict[str, int]:
        """Return what its model was trained on, the starts that it shares included."""
        names = ("rollouts", "trained_completions", "trained_tokens")
        total = self.parent.count_budget() if self.parent else dict.fromkeys(names, 0)
        # Only stages that train record these figures; asking records none.
        for entry in self.run.manifest().get("stages", {}).values():
            for name in names:
                total[name] += entry.get("figures", {}).get(name, 0)
        return total


def plan_cells(run: Run, methods: Mapping[str, Method]) -> list[Cell]:
    """Return all cells, seed after seed, each after the one that it starts from."""
    first = run.config.seed
    seeds = range(first, first + run.config.compare.seeds)
    return [cell for seed in seeds for cell in _plan_seed(run, methods, seed)]


def _plan_seed(run: Run, methods: Mapping[str, Method], seed: int) -> Iterator[Cell]:
    data = Method(name="data", summary="problems and routes", role="start", start="", modes=())
    made: dict[str, Cell] = {}
    for method in (data, *add_starts(methods).values()):
        config = apply_method(method, run.config).with_settings({"seed": seed})
        folder = run.folder / "cells" / f"{method.name}-{seed}"
        # The pilot of the first seed speaks for all.
        is_pilot = seed == run.config.seed and method.name == "distilled"
        made[method.name] = Cell(
            method=method,
            seed=seed,
            run=run.derive(folder, config, {**run.stages, **MORE_STAGES}),
            parent=made.get(method.start),  # made before, see add_starts
            stages=("data", "routes") if method is data else list_stages(method, pilot=is_pilot),
        )
        yield made[method.name]


def list_stages(method: Method, *, pilot: bool = False) -> tuple[str, ...]:
    """Return the stages of a method's cell in their order: the training, then each task."""
    stages = [method.stage] if method.stage else []
    if pilot:
        stages.append("pilot")
    for mode in method.modes:
        task = TASK_OF_MODE[mode]
        stages += [*task.needs, task.name]
    return tuple(dict.fromkeys(stages))  # two modes of one task need it once
