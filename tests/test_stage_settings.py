"""Each stage declares the settings that it reads, or it would count as up to date too long."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from realm import Config, Run, load_config
from realm.core.settings import Section
from realm.evaluate.cells import plan_cells
from realm.evaluate.methods import choose_methods
from realm.rounds import HARVEST, ROUNDS, make_round
from realm.stages import STAGES
from test_pipeline import write_config

SDFT = {
    "max_steps": 1,
    "per_device_train_batch_size": 2,
    "num_generations": 2,
    "max_completion_length": 8,
}


class Recorder:
    """Records which settings are read, by their dotted names, while a stage runs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: dict[int, str] = {}
        self.kept: list[Section] = []  # an id is unique only as long as its object lives
        self.stage: str | None = None
        self.read: dict[str, set[str]] = {}
        plain_get, plain_copy = Section.__getattribute__, Section.model_copy
        plain_change = Config.with_settings

        def get(section: Section, name: str) -> object:
            value = plain_get(section, name)
            self.record(section, name, value)
            return value

        def copy(section: Section, **update: object) -> Section:
            copied = plain_copy(section, **update)
            if id(section) in self.names:
                self.register(copied, self.names[id(section)])
            return copied

        def change(config: Config, settings: Mapping[str, object]) -> Config:
            stage, self.stage = self.stage, None  # it reads everything only to copy it
            changed = plain_change(config, settings)
            self.register(changed)
            self.stage = stage
            return changed

        monkeypatch.setattr(Config, "with_settings", change)
        monkeypatch.setattr(Section, "__getattribute__", get)
        monkeypatch.setattr(Section, "model_copy", copy)

    def register(self, section: Section, name: str = "") -> None:
        """Give a section, and those inside it, the dotted names under which reads are recorded."""
        self.names[id(section)] = name
        self.kept.append(section)
        for key, value in vars(section).items():
            if isinstance(value, Section):
                self.register(value, f"{name}.{key}".lstrip("."))

    def record(self, section: Section, key: str, value: object) -> None:
        name = self.names.get(id(section))
        if self.stage is None or name is None:
            return
        if key in ("model_dump", "model_fields_set"):
            self.read[self.stage].add(name)
        elif key in type(section).model_fields and not isinstance(value, Section):
            self.read[self.stage].add(f"{name}.{key}".lstrip("."))

    @contextmanager
    def recording(self, stage: str) -> Iterator[None]:
        self.stage = stage
        self.read.setdefault(stage, set())
        try:
            yield
        finally:
            self.stage = None

    def watch(self, run: Run) -> Run:
        """Return the run with stages whose reads are recorded."""
        self.register(run.config)

        def watched(stage):
            def function(of_run):
                with self.recording(stage.name):
                    stage.function(of_run)

            return replace(stage, function=function)

        run.stages = {name: watched(stage) for name, stage in run.stages.items()}
        return run


@pytest.fixture
def recorder(monkeypatch) -> Recorder:
    return Recorder(monkeypatch)


CHECKED_ONLY = ("train.fade.mode", "train.fade.transfer", "train.reward")
"""What the baselines read only to check the arguments of TRL; it changes none of their outputs."""
ALLOWED = {
    "data": ("model",),  # whether there is one: then the splits for training must not be empty
    # How many samples of the headroom are drawn at once, and what the forecast advises.
    "train": ("evaluate.batch_tokens", "distill.every_round"),
    "harvest": ("evaluate.endpoints",),  # where the model is, not what it is asked
    "further": CHECKED_ONLY,
    "rft": CHECKED_ONLY,
    "rft_routes": CHECKED_ONLY,
    "instructors": CHECKED_ONLY,
    "cot_synthesizer": CHECKED_ONLY,
}


def find_undeclared(run: Run, recorder: Recorder) -> dict[str, list[str]]:
    """Return the settings that each stage has read and does not declare."""
    undeclared = {}
    for stage, read in recorder.read.items():
        declared = (*run.stages[stage].settings, *ALLOWED.get(stage, ()))
        rest = [
            name
            for name in sorted(read)
            if not any(name == one or name.startswith(f"{one}.") for one in declared)
        ]
        if rest:
            undeclared[stage] = rest
    return undeclared


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["guided", "self"])
def test_the_stages_of_a_run_declare_what_they_read(tmp_path: Path, recorder, kind) -> None:
    settings = {"distill.kind": kind, "distill.sdft": SDFT}
    config = load_config(write_config(tmp_path), settings)
    run = recorder.watch(Run(tmp_path / "run", config))
    stages = STAGES if kind == "guided" else ("data", "routes", "distill")
    for stage in stages:
        run.do(stage)
    assert set(recorder.read) == set(stages)
    assert find_undeclared(run, recorder) == {}


@pytest.mark.slow
def test_the_stages_of_a_further_round_declare_what_they_read(tmp_path: Path, recorder) -> None:
    config = load_config(write_config(tmp_path), ["rounds=2"])
    run = Run(tmp_path / "run", config)
    for stage in ("data", "routes", "distill"):
        run.do(stage)
    first = make_round(run, 1, None)
    first.do("train")
    second = recorder.watch(make_round(run, 2, first))
    second.do("harvest")
    assert recorder.read["harvest"] and find_undeclared(second, recorder) == {}
    assert set(HARVEST.settings) | set(STAGES["train"].settings) <= set(ROUNDS.settings)


@pytest.mark.slow
def test_the_stages_of_a_comparison_declare_what_they_read(tmp_path: Path, recorder) -> None:
    methods = "[distilled, further, rft, rft_routes, instructors, cot_synthesizer]"
    settings = [
        f"compare.methods={methods}",
        "compare.seeds=1",
        "compare.pilot_problems=2",
        "evaluate.max_new_tokens=4",
    ]
    config = load_config(write_config(tmp_path), settings)
    run = Run(tmp_path / "run", config)
    cells = plan_cells(run, choose_methods(run))
    for cell in cells:
        recorder.watch(cell.run)
        cell.run_missing_stages()
    found = {stage for cell in cells for stage in cell.stages}
    assert found <= set(recorder.read)
    assert find_undeclared(cells[0].run, recorder) == {}
