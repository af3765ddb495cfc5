"""The settings of a run, a section for each stage. The defaults are those that were tested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveInt,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from realm.config.compare import CompareConfig
from realm.config.endpoint import Endpoint, ModelName
from realm.config.gguf import find_gguf, resolve_gguf
from realm.config.routes import CollectedRoutes, ImportedRoutes, NoRoutes, ScriptedRoutes
from realm.config.training import DistillConfig, PromptConfig, TrainConfig
from realm.config.yaml import (
    apply_override,
    describe_errors,
    format_override,
    put_in,
    read_run,
    read_settings,
    refuse_secrets,
    require_plain_values,
)
from realm.core.errors import ConfigError
from realm.core.settings import MAX_SEED, Section
from realm.domains.domain import GivenSettings, PythonSettings
from realm.domains.files import FilesSettings
from realm.domains.reasoning_gym import GymSettings

# Without the columns, shares and sizes of `domain`: what they change shows in problems.jsonl.
VERIFIER_SETTINGS = ("domain.kind", "domain.answer", "domain.target", "domain.settings")
MODEL_SETTINGS = (
    "seed", "model", "recipe", *VERIFIER_SETTINGS, "prompt", "routes.kind", "routes.held_out",
)  # fmt: skip
"""What decides which model answers, how it is asked, and how it is judged."""
BUNDLED_MODEL = Path(__file__).parents[1] / "scaffold/claims/models/base-1m"
"""The model that the package holds; its name alone stands for it, as in `model: base-1m`."""


class EvaluateConfig(Section):
    """The stage `eval`."""

    routes: NonNegativeInt = 4
    """Number of routes that an assisted prompt shows, from the held-out sources. 0: models are
    asked alone, without routes and without the probe."""
    limit: dict[Literal["test", "test_rules", "test_larger"], PositiveInt | None] = {}
    """Evaluate the first N problems of a split only. Missing or null: all of them."""
    max_new_tokens: PositiveInt = 256
    """Maximum length of a completion."""
    batch_tokens: PositiveInt = 16384
    """Maximum number of tokens in a batch, prompts and completions together."""
    samples: NonNegativeInt = 4
    """Samples per problem at temperature 1, besides greedy decoding: for mean@n and the majority,
    and to find the hard problems, solved in less than half of the samples. 0: none."""
    sampled_models: Literal["start", "all"] = "start"
    """Which models are sampled. `start`: the one where reinforcement learning starts."""
    # With 100 the 95% interval of a share reaches at most 10 points to either side.
    probe: NonNegativeInt = 100
    """Problems for each kind of route in the probe of process verification. 0: no probe."""
    endpoints: dict[ModelName, Endpoint] = {}
    """Servers that answer in place of a model on this machine, by the model's name in results.json:
    base, distilled, realm, round-1. Each must serve that very model. That of round-1 also writes
    the routes of round 2; `realm compare` takes base only."""


class ReportConfig(Section):
    """The stage `report`."""

    transcripts: PositiveInt = 10
    """Number of problems that the report lists at a time. It holds all of them."""


# Pydantic calls a default factory that takes an argument with the fields validated so far.
def _default_routes(settings: dict[str, Any]) -> ScriptedRoutes | NoRoutes:
    """Return the section `routes` of a config without one."""
    return NoRoutes() if _is_plain_grpo(**settings) else ScriptedRoutes()


def _is_plain_grpo(*, model: str | None, recipe: str, train: TrainConfig, **_: Any) -> bool:
    """Return whether the run is GRPO on the model as it is, which needs no routes."""
    return model is not None and recipe == "zero" and train.fade.kind == "none"


class Config(Section):
    """All settings of a run. Paths are relative to the config file."""

    run: str | None = None
    """The run folder. null: runs/NAME in the working directory, NAME being the config file's, or
    that of its folder if the file is called config.yaml."""
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = 7
    """Seed of the data, the splits, the routes and both trainings."""
    model: str | None = None
    """A folder, a GGUF file or a hub id of a causal language model, or base-1m, the bundled one.
    null: evaluate the routes only."""
    recipe: Literal["r1", "zero"] = "r1"
    """`r1`: distillation, then reinforcement learning. `zero`: the latter only, on `model`."""
    rounds: PositiveInt = 1
    """Number of rounds of reinforcement learning. From the second round on the policy's own
    samples are the routes. RUN/model is the last round's model, RUN/round-n/model round n's."""
    domain: FilesSettings | GymSettings | PythonSettings | GivenSettings = Field(
        default=GivenSettings(), discriminator="kind"
    )
    """The problems and the verifier."""
    prompt: PromptConfig = PromptConfig()
    distill: DistillConfig = DistillConfig()
    train: TrainConfig = TrainConfig()
    # After `recipe` and `train`, which its default depends on.
    routes: ScriptedRoutes | ImportedRoutes | CollectedRoutes | NoRoutes = Field(
        default_factory=_default_routes, discriminator="kind"
    )
    """The sources of routes. Without this section: `scripted`, and `none` for plain GRPO."""
    evaluate: EvaluateConfig = EvaluateConfig()
    report: ReportConfig = ReportConfig()
    compare: CompareConfig = CompareConfig()
    _source: Path = PrivateAttr(default=Path("config.yaml"))
    _overrides: list[str] = PrivateAttr(default=[])

    @model_validator(mode="after")
    def _check_rounds(self) -> Self:
        if self.rounds > 1 and self.train.fade.kind == "none":
            raise ValueError(
                f"rounds = {self.rounds}: further rounds show the policy's own samples as routes, "
                "and train.fade.kind: none shows no routes. Set rounds: 1 and train for longer "
                "(train.grpo.max_steps), or choose another train.fade.kind"
            )
        return self

    @model_validator(mode="after")
    def _check_routes_suit_domain(self) -> Self:
        writes_routes = self.domain.kind in ("python", "given")
        if self.routes.kind == "none" and not _is_plain_grpo(**dict(self)):
            raise ValueError(
                "routes.kind: none is for plain GRPO only, a run with a model, recipe: zero and "
                f"train.fade.kind: none; found model: {self.model}, recipe: {self.recipe} and "
                f"train.fade.kind: {self.train.fade.kind}"
            )
        if self.routes.kind == "scripted" and not writes_routes:
            raise ValueError(
                "routes.kind: scripted asks the domain to write routes, and domain.kind = "
                f"{self.domain.kind} writes none; set routes.kind: import and name the files that "
                "hold your models' answers in routes.files, or routes.kind: collect to ask "
                "teachers; plain GRPO (recipe: zero, train.fade.kind: none) needs no routes"
            )
        if self.routes.kind != "collect":
            return self
        # Whether a domain in Python has a rule book is known when it is loaded.
        has_guide = self.domain.kind != "files" or self.domain.rules or self.routes.guide.path
        for teacher in self.routes.teachers:
            if teacher.kind == "scripted" and not writes_routes:
                raise ValueError(
                    f"the teacher {teacher.name!r} of kind scripted is the domain itself, and "
                    f"domain.kind = {self.domain.kind} writes no routes; take a teacher of kind "
                    "api, local or replay"
                )
            if teacher.guided and not has_guide:
                raise ValueError(
                    f"the teacher {teacher.name!r} is asked for guided chains, and there is no "
                    "guide; name a rule book in domain.rules or a reference text in "
                    "routes.guide.path, or set its guided: 0"
                )
        return self

    @property
    def source(self) -> Path:
        """Return the config file's path."""
        return self._source

    @property
    def overrides(self) -> list[str]:
        """Return the settings that were given beside the config file, as KEY=VALUE."""
        return self._overrides

    def resolve(self, path: str) -> Path:
        """Return a path of the config file, which is relative to that file, as a path from here."""
        return self._source.parent / Path(path).expanduser()

    def find_model_path(self, model: str) -> Path:
        """Return where a model would be on this machine; for a hub id nothing is there."""
        path = self.resolve(model)
        return BUNDLED_MODEL if model == BUNDLED_MODEL.name and not path.exists() else path

    def resolve_model(self) -> str:
        """Return the folder of the model, or its hub id. A GGUF file is converted to a folder.

        Raises:
            ConfigError: There is no model, or it names a folder that does not exist.
            ModelError: A GGUF file cannot be converted.
        """
        if self.model is None:
            raise ConfigError(
                f"{self._source}: model: there is none, and this needs one. Name any causal "
                "language model of Transformers, a folder or a hub id, in the config or by "
                "--set model=Qwen/Qwen2.5-1.5B-Instruct"
            )
        path = self.find_model_path(self.model)
        if path.is_dir() or find_gguf(path):
            return resolve_gguf(path)
        # A hub id is NAME or OWNER/NAME. All else can only be meant as a path.
        is_path = self.model.startswith((".", "/", "~")) or self.model.count("/") > 1
        if is_path or path.suffix == ".gguf":
            raise ConfigError(
                f"{self._source}: model: there is no folder or GGUF file {path}. Allowed: one of "
                "them (relative to the config file) or a hub id such as "
                "Qwen/Qwen2.5-1.5B-Instruct."
            )
        return self.model

    def run_folder(self) -> Path:
        """Return the run folder: that of the config, else runs/NAME in the working directory."""
        is_named = self._source.name not in ("config.yaml", "config.yml")
        name = self._source.stem if is_named else self._source.absolute().parent.name
        # Without dots: the stem of ...yaml would be the folder above.
        name = name.strip(".") or "run"
        return self.resolve(self.run) if self.run else Path("runs") / name

    def dump(self) -> dict[str, Any]:
        """Return all settings, defaults included, as a JSON-ready dict."""
        return self.model_dump(mode="json")

    def with_settings(self, settings: Mapping[str, Any]) -> Config:
        """Return a copy with other values of the settings that are named as `train.fade.kind`.

        Raises:
            ConfigError: A setting is unknown, or its value is out of range.
        """
        # Without defaults: those of one `kind` would be unknown keys after a change of the kind.
        changed = self.model_dump(mode="json", exclude_unset=True)
        for dotted, value in settings.items():
            put_in(changed, dotted.split("."), value, f"{dotted}: {value}")
        given = [format_override(dotted, value) for dotted, value in settings.items()]
        return _validate(changed, self._source, [*self._overrides, *given])


def load_config(
    path: str | Path, overrides: Mapping[str, Any] | Sequence[str] | None = None
) -> Config:
    """Return the settings of a YAML file, or those that a run folder was made with.

    Args:
        path: The YAML file, a run folder, or a folder with a config.yaml. Paths inside a file are
            relative to it.
        overrides: Settings that replace those of the file, as `{"train.fade.kind": "cosine"}`, or
            as the command line writes them: `["train.fade.kind=cosine"]`.

    Raises:
        ConfigError: The file cannot be read, or a setting is unknown, missing or out of range.
    """
    path = Path(path)
    earlier: list[str] = []
    # A run folder may hold a config.yaml too, which its manifest outdates.
    if not (path / "manifest.json").exists() and (path / "config.yaml").is_file():
        path /= "config.yaml"
    if path.is_dir():
        settings, path, earlier = read_run(path)
    else:
        settings = read_settings(path)
    # Values of a mapping are taken as they are: only the command line's are read as YAML.
    if isinstance(overrides, Mapping):
        return _validate(settings, path, earlier).with_settings(overrides)
    written = [apply_override(settings, override, path.parent) for override in overrides or []]
    return _validate(settings, path, [*earlier, *written])


def _validate(settings: dict[str, Any], path: Path, overrides: list[str]) -> Config:
    require_plain_values(settings, path)
    try:
        config = Config.model_validate(settings)
    except ValidationError as error:
        raise ConfigError(describe_errors(error, Config, settings, path, overrides)) from None
    # Not fields: moving a config file must not make its stages run again.
    config._source = path
    config._overrides = overrides
    # All of the settings, since the manifest holds all of them.
    refuse_secrets(config.dump(), path, "")
    return config
