"""A run: the stages of ReaLM in one folder, with one config."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realm.config.gguf import find_gguf
from realm.core.errors import ConfigError, DataError, RealmError, RunError
from realm.core.folder import RunFolder, hash_path, remove_path
from realm.core.manifest import MADE_BY_CONFIG, check_source
from realm.core.ranks import is_main_process, run_on_main
from realm.core.tables import local_path
from realm.core.targets import fingerprint
from realm.domains.domain import GivenSettings
from realm.evaluate.results import Results, read_results
from realm.rounds import ROUNDS
from realm.stages import STAGES

if TYPE_CHECKING:
    from realm.config.root import Config
    from realm.core.folder import Stage
    from realm.domains import Domain

logger = logging.getLogger(__name__)

RewardTerms = Mapping[str, tuple[float, Callable[[Any], float | None]]]
"""Name of a further reward term to (weight, function of a `Judged`)."""

_OWN_FILES = {
    "work", "cells", "tune", "config.yaml", "config.schema.json", "log.txt", "manifest.json",
    "teacher.sqlite", "round-1", "corrections.jsonl", "reviewed.jsonl",
}  # fmt: skip
"""What may lie in a run folder beside the outputs of stages."""


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
        if config.rounds > 1 and "train" in stages:
            stages = {**stages, "train": ROUNDS}
        super().__init__(folder, stages)
        if domain is None and config.domain.kind == "given":
            raise ConfigError(
                f"{config.source}: domain: this key is needed and missing, since no domain was "
                "passed to realm.Run either."
            )
        if domain is not None:
            # The manifest must not name a domain that the run does not use.
            config = config.model_copy(update={"domain": GivenSettings()})
        self.config = config
        self.reward_terms: RewardTerms = reward_terms or {}
        self._given_domain = domain
        self._is_derived = False
        self.payer = self.folder
        """The run whose store and budget teachers use: of a derived run, the one it is of."""

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
        run = Run(folder, config, self._given_domain, self.reward_terms, stages=stages)
        run._is_derived = True  # its folder already holds links to what it starts from
        run.payer = self.payer
        return run

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

    def evaluate(self, *, force: bool = False) -> Results:
        """Evaluate all models and the routes, unless that is up to date, and return the results."""
        self.do("eval", force=force)
        return read_results(self.folder)

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
        elif not force and run_on_main(partial(self.is_done, stage)):
            logger.info("%-8s up to date", stage)
        else:
            # Before `recording`, which gives up the old outputs of the stage.
            self.check_folder(stage, force=force)
            if force:
                self.drop_rounds(stage)
            started = time.monotonic()
            with self.recording(stage):
                logger.info("%-8s running", stage)
                self.call_stage(stage)
            outputs = ", ".join(run_on_main(self.manifest)["stages"][stage]["outputs"])
            seconds = time.monotonic() - started
            logger.info("%-8s done in %.0f s: %s", stage, seconds, outputs)

    def drop_rounds(self, stage: str) -> None:
        """Remove the rounds that earlier calls of `stage` have trained."""
        for folder in self.folder.glob("round-*") if stage == "train" and is_main_process() else ():
            remove_path(folder)

    def run_all(self, *, force: bool = False) -> None:
        """Run all stages in order.

        All settings are checked before the first stage begins, since a mistake must not show after
        hours, or after teachers were paid.
        """
        from realm.sources.routes import require_routes

        if not force and self._find_left(("data", "routes", "distill", "train"), force=False):
            self._check_source("run")  # before any file of another run is written over
        self.check_stages(self.stages, force=force)
        for stage in self.stages:
            if stage == "distill" and self._find_left(("distill", "train"), force=force):
                logger.info("check    routes")
                require_routes(self)
            self.do(stage, force=force)

    def check_stages(self, stages: Iterable[str], *, force: bool = False) -> None:
        """Raise the user's mistakes in the settings of those of `stages` that are left."""
        checked = [stage for stage in stages if self.stages[stage].check]
        for stage in self._find_left(checked, force=force):
            # These read the model's files, which takes seconds.
            if self.config.model is not None and "model" in self.stages[stage].settings:
                logger.info("check    model and settings of %s", stage)
            if check := self.stages[stage].check:
                check(self)

    def _find_left(self, stages: Iterable[str], *, force: bool) -> list[str]:
        parts = [stage for stage in stages if self.has_stage(stage)]
        return run_on_main(lambda: [one for one in parts if force or not self.is_done(one)])

    def find_outdated(self, stage: str) -> list[str]:
        """Return the earlier stages that were done, but with other settings or inputs."""
        earlier = list(self.stages)[: list(self.stages).index(stage)]
        recorded = self.manifest().get("stages", {})
        return [
            name
            for name in earlier
            if name in recorded and self.has_stage(name) and not self.is_done(name)
        ]

    def check_folder(self, stage: str, *, force: bool = False) -> None:
        """Raise an error if `stage` would replace something that this run did not make.

        Raises:
            RunError: An output is also an input, the folder belongs to something else, or results
                with a model would be replaced by results without one. With `force` only the first.
        """
        # Of all stages, and not of this one only: a later one would write over the file as well.
        outputs = {
            self.path(name.rstrip("?/")).resolve(): name
            for one in self.stages.values()
            for name in one.outputs
        }
        for name in self.stages:
            files: dict[str, Path] = {}
            with suppress(RealmError):  # a missing file matters when its stage runs
                files = self._config_files(name)
            for path in files.values():
                if path.resolve() in outputs:
                    raise RunError(
                        f"{path}: the config names this file as an input, and the run would write "
                        "over it. Choose another run folder with --run."
                    )
        if force:
            return
        # The first stage writes the manifest: a folder without one is new, or somebody else's.
        if not self.path("manifest.json").exists() and self.folder.is_dir():
            known = {name.split("/")[0].rstrip("?") for name in outputs.values()} | _OWN_FILES
            foreign = sorted({path.name for path in self.folder.iterdir()} - known)
            if foreign and not self._is_derived:
                raise RunError(
                    f"{self.folder}: is no run folder and holds other files, such as {foreign[0]}. "
                    "Choose another folder with --run, or use it all the same with --force."
                )
        if stage in ("data", "routes", "distill", "train"):
            self._check_source(stage)
        if stage == "eval" and self.config.model is None and self.path("results.json").exists():
            evaluations: Sequence[Any] = ()
            with suppress(RunError):  # a damaged file has no results to lose
                evaluations = read_results(self.folder).evaluations
            if any(row.mode != "routes" for row in evaluations):
                raise RunError(
                    f"{self.path('results.json')}: holds results of models, and a run without a "
                    "model would replace them. Name the model, choose another folder with --run, "
                    "or replace them with --force."
                )

    def _check_source(self, stage: str) -> None:
        if not self._is_derived:
            check_source(self.folder, self.config.source, stage)

    def has_stage(self, stage: str) -> bool:
        """Return whether `stage` is part of this run.

        Without a model nothing is trained, and the recipe `zero` does not distil.
        """
        if self.config.model is None:
            return stage not in ("distill", "train")
        return not (stage == "distill" and self.config.recipe == "zero")

    def input_names(self, stage: str) -> list[str]:
        """Return what `stage` reads in the run folder; `zero` has nothing of distillation."""
        return [
            name
            for name in self.stages[stage].inputs
            if self.config.recipe == "r1" or not name.startswith(("distilled/", "sft.jsonl"))
        ]

    def describe(self) -> dict[str, Any]:
        """Return what `load_config` needs to continue the run, and the seed."""
        config = self.config
        made_by = MADE_BY_CONFIG
        # What was passed in Python stands in no config, so `load_config` could not continue it.
        if config.domain.kind == "given" or self.reward_terms:
            made_by = "a Python program"
        if self._is_derived:
            made_by = "another run"
        return {
            "made_by": made_by,
            "source": str(config.source.absolute()),
            "config": config.dump(),
            "overrides": config.overrides,
            "seed": config.seed,
        }

    def find_settings(self, stage: str) -> dict[str, Any]:
        """Return the settings that `stage` declares, by their dotted names.

        A user's own domain and reward terms count as settings as well: by the source code of the
        class or function (see `fingerprint`). Servers do not count: they are asked the same.
        """
        dump, declared = self.config.dump(), self.stages[stage].settings
        dump["evaluate"]["endpoints"] = {}
        settings = {name: _look_up(dump, name) for name in declared}
        if any(name.split(".")[0] == "domain" for name in declared):
            settings["code of the domain"] = self._hash_domain_code()
        if self.reward_terms and "train" in declared:
            settings["code of the reward terms"] = {
                name: [weight, fingerprint(function)]
                for name, (weight, function) in self.reward_terms.items()
            }
        return settings

    def _hash_domain_code(self) -> str | None:
        """Return a hash of the user's code in the domain, or None if there is none."""
        from realm.domains import find_code

        if self._given_domain is not None:
            return fingerprint(self._given_domain)
        source = find_code(self.config)
        return None if source is None else hash_path(source)

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

        What the hub or the package itself holds is left out: it is assumed not to change.
        """
        declared, config = self.stages[stage], self.config
        names = declared.files(self) if declared.files else []
        if "model" in declared.settings and config.model and Path(config.resolve_model()).is_dir():
            names = [config.model] if config.resolve(config.model).exists() else []
        found = {name: path for name in names if (path := local_path(name, config.resolve))}
        # Of a model the GGUF file, not the copy that is converted from it beside it.
        paths = {name: find_gguf(path) or path for name, path in found.items()}
        for path in paths.values():
            if not path.exists():
                raise DataError(
                    f"{path}: there is no such file, but {config.source} names it. "
                    "Paths in a config are relative to the config file."
                )
        return {f"config:{name}": path for name, path in paths.items()}


def _look_up(settings: dict[str, Any], dotted: str) -> Any:
    # None where a section of another `kind` lacks the key, as `python` lacks domain.answer.
    value: Any = settings
    for name in dotted.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value
