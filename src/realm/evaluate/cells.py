"""The cells of a comparison: one run folder per method and seed, each with the shared earlier stages linked in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from realm.config.root import Config
from realm.core.stages import Stage
from realm.evaluate.methods import Method, chosen_methods, settings_of, with_starts

if TYPE_CHECKING:
    from realm.run import Run

SHARED = ("problems.jsonl", "routes.jsonl", "rules.md", "sft.jsonl", "distilled")
"""What a cell takes over from the one that it starts from."""
STAGES_OF_MODE: dict[str, tuple[str, ...]] = {
    "autonomous": ("autonomous",),
    "assisted": ("assisted",),
    "rules": ("rules",),
    "sampled": ("samples",),
    "self_consistency": ("samples",),
    "self_routes": ("samples", "self_routes"),
    "best_of_n": ("samples", "self_routes"),
    "universal": ("samples", "universal"),
    "best_of_routes": ("assisted",),
    "universal_routes": ("universal_routes",),
}
"""What must be asked for a mode; the last of its stages tells the outcome."""

_VERIFIER = ("domain.kind", "domain.answer", "domain.target", "domain.settings")
_MODEL = ("seed", "model", "recipe", *_VERIFIER, "prompt", "routes.held_out")
_START = ("problems.jsonl", "routes.jsonl", "distilled/")


def _run_further(run: Run) -> None:
    from realm.baselines.further import run_further

    run_further(run)


def _run_rft(run: Run) -> None:
    from realm.baselines.rft import run_rft

    run_rft(run)


def _run_instructors(run: Run) -> None:
    from realm.baselines.instructors import run_instructors

    run_instructors(run)


def _check_instructors(run: Run) -> None:
    from realm.baselines.instructors import check_instructors

    check_instructors(run)


def _run_cot_synthesizer(run: Run) -> None:
    from realm.baselines.cot_synthesizer import run_cot_synthesizer

    run_cot_synthesizer(run)


def _run_pilot(run: Run) -> None:
    from realm.evaluate.pilot import run_pilot

    run_pilot(run)


def _ask_autonomous(run: Run) -> None:
    from realm.evaluate.modes import ask_autonomous

    ask_autonomous(run)


def _ask_assisted(run: Run) -> None:
    from realm.evaluate.modes import ask_assisted

    ask_assisted(run)


def _ask_with_rules(run: Run) -> None:
    from realm.evaluate.modes import ask_with_rules

    ask_with_rules(run)


def _ask_samples(run: Run) -> None:
    from realm.evaluate.modes import ask_samples

    ask_samples(run)


def _ask_self_routes(run: Run) -> None:
    from realm.evaluate.modes import ask_self_routes

    ask_self_routes(run)


def _ask_universal(run: Run) -> None:
    from realm.evaluate.modes import ask_universal

    ask_universal(run)


def _ask_universal_routes(run: Run) -> None:
    from realm.evaluate.modes import ask_universal_routes

    ask_universal_routes(run)


def _further(
    name: str,
    function: Callable[[Run], None],
    *more: str,
    inputs: tuple[str, ...] = _START,
    check: Callable[[Run], None] | None = None,
) -> Stage:
    settings = (
        *_MODEL,
        "distill.sft",
        "compare.further_sft",
        "train.problems",
        "train.grpo",
        "train.lora",
        *more,
    )
    return Stage(
        name=name,
        function=function,
        check=check,
        settings=settings,
        inputs=inputs,
        outputs=("model/", "taught.jsonl"),
    )


def _asking(
    name: str, function: Callable[[Run], None], *more: str, inputs: tuple[str, ...] = ()
) -> Stage:
    return Stage(
        name=name,
        function=function,
        settings=(*_MODEL, "evaluate", *more),
        inputs=("problems.jsonl", "routes.jsonl", "distilled/?", "model/?", *inputs),
        outputs=(f"answers/{name}.jsonl", f"outcomes/{name}.json"),
    )


CELL_STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        _further("further", _run_further, inputs=(*_START, "sft.jsonl")),
        _further("rft", _run_rft, "evaluate.max_new_tokens", "evaluate.batch_tokens"),
        _further(
            "instructors",
            _run_instructors,
            "evaluate.max_new_tokens",
            "evaluate.batch_tokens",
            "compare.instructor",
            check=_check_instructors,
        ),
        _further(
            "cot_synthesizer",
            _run_cot_synthesizer,
            "train.fade.routes",
            "train.mix",
            "distill.use_unguided_when_missing",
            "distill.altered_share",
        ),
        _asking("pilot", _run_pilot, "compare.pilot_problems"),
        _asking("autonomous", _ask_autonomous),
        _asking("assisted", _ask_assisted),
        _asking("rules", _ask_with_rules, "compare.prompts.rules", inputs=("rules.md",)),
        _asking("samples", _ask_samples),
        _asking("self_routes", _ask_self_routes, inputs=("answers/samples.jsonl",)),
        _asking(
            "universal", _ask_universal, "compare.prompts.choose", inputs=("answers/samples.jsonl",)
        ),
        _asking("universal_routes", _ask_universal_routes, "compare.prompts.choose"),
    )
}
"""The stages of a cell, beside the first four of every run."""
_MAKES_SHARED = ("data", "routes", "distill")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One method with one seed: its run folder, the folder that it starts from, and the stages that make it whole."""

    method: Method
    seed: int
    run: Run
    parent: Cell | None
    stages: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.run.folder.name

    def left(self) -> list[str]:
        """Return the stages that are not done: all of them where what they start from is not."""
        if self.parent is not None and any(stage in _MAKES_SHARED for stage in self.parent.left()):
            return list(self.stages)
        return [stage for stage in self.stages if not self.run.is_done(stage)]

    def work(self, *, force: bool = False) -> None:
        """Do what is left."""
        for name in SHARED if self.parent is not None else ():
            if self.parent.run.path(name).exists():
                self.run.adopt(self.parent.run.path(name), name)
        for stage in self.stages:
            if force or not self.run.is_done(stage):
                with self.run.recording(stage):
                    self.run.stages[stage].function(self.run)

    def seconds(self) -> float:
        """Return what its stages have cost so far."""
        recorded = self.run.manifest().get("stages", {})
        return sum(recorded[stage]["seconds"] for stage in self.stages if stage in recorded)

    def budget(self) -> dict[str, int]:
        """Return what its model was trained on, from the config's model on: the starts that it shares are counted in."""
        total = self.parent.budget() if self.parent is not None else {}
        for entry in self.run.manifest().get("stages", {}).values():
            for name in ("rollouts", "trained_completions", "trained_tokens"):
                total[name] = total.get(name, 0) + entry.get("figures", {}).get(name, 0)
        return total


def plan(comparison: Run) -> list[Cell]:
    """Return all cells, seed after seed, each behind the one that it starts from."""
    methods = chosen_methods(comparison.config)
    return [
        cell
        for seed in seeds_of(comparison.config)
        for cell in _cells_of_seed(comparison, methods, seed)
    ]


def seeds_of(config: Config) -> range:
    """Return the seeds of the comparison."""
    return range(config.seed, config.seed + config.compare.seeds)


def _cells_of_seed(comparison: Run, methods: Mapping[str, Method], seed: int) -> Iterator[Cell]:
    config, stages_of_run = comparison.config, {**comparison.stages, **CELL_STAGES}
    data = Method(
        name="data", what="problems and routes", role="start", after="", stage=None, modes=()
    )
    first = seed == config.seed
    made: dict[str, Cell] = {}
    for method in (data, *with_starts(methods).values()):
        settings = settings_of(method, config).with_settings({"seed": seed})
        stages = (
            ("data", "routes")
            if method is data
            else stages_of(method, pilot=first and method.name == "distilled")
        )
        made[method.name] = Cell(
            method=method,
            seed=seed,
            run=comparison.derive(
                comparison.path(f"cells/{method.name}-{seed}"), settings, stages_of_run
            ),
            parent=made.get(method.after),
            stages=stages,
        )
        yield made[method.name]


def stages_of(method: Method, *, pilot: bool = False) -> tuple[str, ...]:
    """Return the stages of a method's cell in their order: what makes the model, and what it is asked."""
    asked = [stage for mode in method.modes for stage in STAGES_OF_MODE[mode]]
    made = [method.stage] if method.stage else []
    return tuple(dict.fromkeys([*made, *(["pilot"] if pilot else []), *asked]))
