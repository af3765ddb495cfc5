"""The stages of ReaLM, and a run of them: one folder, one config."""

from __future__ import annotations

import hashlib
import inspect
import logging
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realm.config.root import Config
from realm.core.errors import DataError, RunError
from realm.core.folder import RunFolder, hash_of
from realm.core.stages import Stage
from realm.core.tables import local_path

if TYPE_CHECKING:
    from realm.domains import Domain

logger = logging.getLogger(__name__)

RewardTerms = Mapping[str, tuple[float, Callable[[Any], float | None]]]
"""Name of a further reward term to (weight, function of a `Judged`)."""


def _run_data(run: Run) -> None:
    from realm.domains.data import run_data

    run_data(run)


def _run_routes(run: Run) -> None:
    from realm.sources.routes import run_routes

    run_routes(run)


def _estimate_routes(run: Run) -> str | None:
    from realm.sources.routes import estimate

    return estimate(run)


def _run_distill(run: Run) -> None:
    from realm.train.sft import run_distill

    run_distill(run)


def _check_distill(run: Run) -> None:
    from realm.train.sft import check_distill

    check_distill(run)


def _run_train(run: Run) -> None:
    from realm.train.rl import run_train

    run_train(run)


def _check_train(run: Run) -> None:
    from realm.train.rl import check_train

    check_train(run)


def _run_evaluate(run: Run) -> None:
    from realm.evaluate.exam import run_evaluate

    run_evaluate(run)


def _run_report(run: Run) -> None:
    from realm.evaluate.report import run_report

    run_report(run)


def _domain_files(run: Run) -> list[str]:
    return list(run.domain.files)


def _route_files(run: Run) -> list[str]:
    """Return the files and the model folders that the stage `routes` reads.

    A model that is a hub id is assumed not to change.
    """
    config = run.config
    if config.routes.kind == "import":
        return [file.path for file in config.routes.files]
    if config.routes.kind != "collect":
        return []
    names = [config.routes.guide.path] if config.routes.guide.path else []
    for teacher in config.routes.teachers:
        if teacher.kind == "replay":
            names.append(teacher.path)
        if teacher.kind == "local" and config.resolve(teacher.model).is_dir():
            names.append(teacher.model)
    return names


_VERIFIER = ("domain.kind", "domain.answer", "domain.target", "domain.settings")
_MODEL = ("seed", "model", "recipe", *_VERIFIER, "prompt", "routes.held_out")

STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage(
            name="data",
            function=_run_data,
            settings=("seed", "domain"),
            outputs=("problems.jsonl", "rules.md?"),
            files=_domain_files,
        ),
        Stage(
            name="routes",
            function=_run_routes,
            estimate=_estimate_routes,
            settings=("seed", "domain", "routes"),
            inputs=("problems.jsonl", "rules.md?"),
            outputs=("routes.jsonl", "bank.json"),
            files=_route_files,
        ),
        Stage(
            name="distill",
            function=_run_distill,
            check=_check_distill,
            settings=(*_MODEL, "distill", "train.lora", "train.fade.routes", "train.mix"),
            inputs=("problems.jsonl", "routes.jsonl", "rules.md?"),
            outputs=("sft.jsonl", "sft_stats.json?", "distilled/"),
        ),
        Stage(
            name="train",
            function=_run_train,
            check=_check_train,
            settings=(*_MODEL, "train"),
            inputs=("problems.jsonl", "routes.jsonl", "distilled/"),
            outputs=("model/", "fade.jsonl", "headroom.json", "rollouts/?"),
        ),
        Stage(
            name="eval",
            function=_run_evaluate,
            settings=(*_MODEL, "evaluate"),
            inputs=("problems.jsonl", "routes.jsonl", "distilled/?", "model/?"),
            outputs=("results.json", "answers.jsonl"),
        ),
        Stage(
            name="report",
            function=_run_report,
            settings=("report",),
            inputs=(
                "problems.jsonl",
                "routes.jsonl",
                "bank.json",
                "results.json",
                "answers.jsonl",
                "fade.jsonl?",
                "headroom.json?",
            ),
            outputs=("report.html",),
        ),
    )
}


class Run(RunFolder):
    """A run: a folder, a config, and what the caller gives beyond the config.

    Args:
        folder: The run folder; created by the first stage.
        config: The settings, from `load_config`.
        domain: A domain to use in place of the one that `config.domain` describes.
        reward_terms: Further reward terms, name to (weight, function of a `Judged`).
        stages: The stages of the run; by default those of `realm run`.
    """

    def __init__(
        self,
        folder: Path | str,
        config: Config,
        domain: Domain | None = None,
        reward_terms: RewardTerms | None = None,
        *,
        stages: Mapping[str, Stage] = STAGES,
    ) -> None:
        super().__init__(folder, stages)
        self.config = config
        self.reward_terms: RewardTerms = reward_terms or {}
        self._given_domain = domain

    @cached_property
    def domain(self) -> Domain:
        """Return the domain: the one given, or else the one that the config describes."""
        from realm.domains import load_domain

        return self._given_domain or load_domain(self.config)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the loaded domain out of a pickle: it may hold processes, and is loaded again."""
        return {name: value for name, value in vars(self).items() if name != "domain"}

    def derive(self, folder: Path, config: Config, stages: Mapping[str, Stage]) -> Run:
        """Return a run in another folder with the same domain and reward terms."""
        return Run(folder, config, self._given_domain, self.reward_terms, stages=stages)

    def data(self, *, force: bool = False) -> None:
        """Write the domain's problems, unless that is up to date."""
        self.do("data", force=force)

    def routes(self, *, force: bool = False) -> None:
        """Collect and label routes, unless that is up to date."""
        self.do("routes", force=force)

    def distill(self, *, force: bool = False) -> None:
        """Distil the teacher's chains into the model, unless that is up to date."""
        self.do("distill", force=force)

    def train(self, *, force: bool = False) -> None:
        """Train with reinforcement learning on fading routes, unless that is up to date."""
        self.do("train", force=force)

    def evaluate(self, *, force: bool = False) -> None:
        """Evaluate all models and the routes, unless that is up to date."""
        self.do("eval", force=force)

    def report(self, *, force: bool = False) -> Path:
        """Write report.html, unless that is up to date, and return its path."""
        self.do("report", force=force)
        return self.path("report.html")

    def do(self, stage: str, *, force: bool = False) -> None:
        """Run one stage, unless it is up to date or not part of this run, and log what happened."""
        if not self.has_stage(stage):
            without = f"the recipe {self.config.recipe!r}"
            if self.config.model is None:
                without = "a run without a model"
            logger.info("%-8s not part of %s", stage, without)
        elif not force and self.is_done(stage):
            logger.info("%-8s up to date", stage)
        else:
            started = time.monotonic()
            with self.recording(stage):
                logger.info("%-8s running", stage)
                self.stages[stage].function(self)
            outputs = ", ".join(self.manifest()["stages"][stage]["outputs"])
            seconds = time.monotonic() - started
            logger.info("%-8s done in %.0f s: %s", stage, seconds, outputs)

    def has_stage(self, stage: str) -> bool:
        """Return whether `stage` is part of this run.

        Without a model nothing is trained, and the recipe `zero` does not distil.
        """
        if self.config.model is None:
            return stage not in ("distill", "train")
        return not (stage == "distill" and self.config.recipe == "zero")

    def input_names(self, stage: str) -> list[str]:
        """Return the names of what `stage` reads in the run folder; `zero` has no distilled model."""
        return [
            name
            for name in self.stages[stage].inputs
            if self.config.recipe == "r1" or not name.startswith("distilled/")
        ]

    def describe_config(self) -> dict[str, Any]:
        """Return all settings of the run as a JSON-ready dict."""
        return self.config.dump()

    def find_settings(self, stage: str) -> dict[str, Any]:
        """Return the settings that `stage` declares, by their dotted names.

        A stage that depends on the domain also depends on the code of a domain that a user wrote.
        """
        dump = self.config.dump()
        found = {name: _look_up(dump, name) for name in self.stages[stage].settings}
        if any(name.split(".")[0] == "domain" for name in found):
            found["code of the domain"] = self._hash_domain_code()
        return found

    def _hash_domain_code(self) -> str | None:
        """Return a hash of the user's code in the domain, or None if there is none."""
        from realm.domains import find_code

        if self._given_domain is None:
            source = find_code(self.config)
            return None if source is None else hash_of(source)
        kind = type(self._given_domain)
        try:
            return hashlib.sha256(inspect.getsource(kind).encode()).hexdigest()
        except (OSError, TypeError):  # a class that was defined at a prompt has no source
            return kind.__qualname__

    def find_inputs(self, stage: str) -> dict[str, Path]:
        """Return the existing inputs of `stage`, by their names in the manifest.

        Raises:
            RunError: An input in the run folder is missing.
            DataError: A file that the config names is missing.
        """
        found = {}
        for name in self.input_names(stage):
            path = self.path(name.rstrip("?/"))
            if path.exists():
                found[name.rstrip("?")] = path
            elif not name.endswith("?"):
                maker = next(other.name for other in self.stages.values() if name in other.outputs)
                raise RunError(
                    f"{path}: `realm {stage}` reads it, and it is not there. "
                    f"Run `realm {maker}` first, or `realm run` for all stages in order."
                )
        return found | self._config_files(stage)

    def _config_files(self, stage: str) -> dict[str, Path]:
        """Return the existing files and folders that the config names and `stage` reads.

        A dataset or a model of the hub is left out: it is assumed not to change.
        """
        declared, config = self.stages[stage], self.config
        names = declared.files(self) if declared.files else []
        if "model" in declared.settings and config.model and Path(config.resolve_model()).is_dir():
            names = [config.model]
        paths = {name: path for name in names if (path := local_path(name, config.resolve))}
        for path in paths.values():
            if not path.exists():
                raise DataError(
                    f"{path}: there is no such file, but {config.source} names it. "
                    "Paths in a config are relative to the config file."
                )
        return {f"config:{name}": path for name, path in paths.items()}


def _look_up(settings: dict[str, Any], dotted: str) -> Any:
    value: Any = settings
    for name in dotted.split("."):
        value = value.get(name)
    return value
