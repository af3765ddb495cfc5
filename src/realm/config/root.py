"""The settings of a run: one model per stage. The defaults are the vetted setting."""

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
    field_validator,
    model_validator,
)

from realm.bank.draw import RouteMix
from realm.config.compare import CompareConfig
from realm.config.routes import CollectedRoutes, ImportedRoutes, ScriptedRoutes
from realm.config.yaml import describe_mistakes, put_in, read_settings
from realm.core.errors import ConfigError, find_secrets
from realm.core.settings import Section, Share
from realm.domains.domain import GivenSettings, PythonSettings
from realm.domains.files import FilesSettings
from realm.domains.reasoning_gym import GymSettings
from realm.method.fade import Fade
from realm.method.prompt import ASSISTED, AUTONOMOUS
from realm.method.rewards import RewardWeights

TrlSettings = dict[str, Any]
"""Settings that go to a class of TRL or PEFT untouched; that class says what it allows."""


class PromptConfig(Section):
    autonomous: str = AUTONOMOUS
    assisted: str = ASSISTED
    system: str | None = None
    think_end: str | None = None
    """The tag that ends private thinking, as "</think>"; what comes before it is not read."""

    @field_validator("autonomous", "assisted")
    @classmethod
    def _has_placeholders(cls, template: str, info: Any) -> str:
        needed = ["{question}"] if info.field_name == "autonomous" else ["{question}", "{routes}"]
        missing = [name for name in needed if name not in template]
        if missing:
            raise ValueError(
                f"the template lacks {' and '.join(missing)}; it needs {' and '.join(needed)}"
            )
        return template


class DistillConfig(Section):
    kind: Literal["guided", "unguided", "answer_only", "self"] = "guided"
    """guided: chains written with the rules at hand; unguided: chains written without; answer_only: no chains; self: TRL's
    on-policy self-distillation, in which the model itself with the rules in its prompt teaches the model without."""
    use_unguided_when_missing: bool = False
    """Where a problem has no right chain written with the rules, its right routes are taught in their place; kinds guided and
    answer_only."""
    select_by: Literal["likelihood", "length", "all"] = "likelihood"
    """Which chains of a problem with more than `max_chains_per_problem`: the likeliest under the student, those nearest to the median
    length, or all. The student is asked only where there is a choice."""
    max_chains_per_problem: PositiveInt = 4
    """More chains of one problem teach less than chains of another problem would."""
    drop_leaks: bool = False
    """Leave out chains that talk about a rule list, which the student never sees."""
    assisted_share: Share = 0.5
    """Share of the rows that teach the assisted format, with a check of each route shown: the teacher's, or else one by the
    route's label and the taught chain; kind guided only."""
    altered_share: Share = 0.0
    """Share of those rows in whose routes some numbers are changed, alike in all: the model cannot copy them and must work the
    problem out. Against believing routes of a source that it never met."""
    max_chain_tokens: PositiveInt | None = None
    """Longer chains are left out: long chains of a big teacher hurt a small student."""
    sft: TrlSettings = {}
    sdft: TrlSettings = {}
    """For kind self: settings of TRL's SDFTConfig, in the place of `sft`."""


class Headroom(Section):
    problems: PositiveInt = 128
    samples: Annotated[int, Field(ge=2)] = 8


class TrainConfig(Section):
    problems: PositiveInt | None = None
    """How many training problems RL uses; null: all."""
    reward: RewardWeights = RewardWeights()
    fade: Fade = Fade()
    mix: RouteMix = RouteMix()
    headroom: Headroom = Headroom()
    shared_prefix: Literal["auto", "on", "off"] = "auto"
    """Encode each prompt once for all of its completions: where the model allows it, always (else an error), never."""
    lora: TrlSettings | None = None
    grpo: TrlSettings = {}

    @field_validator("shared_prefix", mode="before")
    @classmethod
    def _words_that_yaml_reads_as_truth(cls, said: Any) -> Any:
        return {True: "on", False: "off"}.get(said, said) if isinstance(said, bool) else said


class EvaluateConfig(Section):
    routes: PositiveInt = 4
    """Routes that an assisted prompt shows, from the held-out sources."""
    limit: dict[Literal["test", "test_rules"], PositiveInt | None] = {}
    """The first so many problems of a split; a split that is not named, or null, counts in full."""
    max_new_tokens: PositiveInt = 256
    batch_tokens: PositiveInt = 16384
    """Prompt and new tokens of one generation batch together."""
    samples: NonNegativeInt = 0
    """Samples per problem at temperature 1, for mean@n beside greedy decoding."""


class ReportConfig(Section):
    transcripts: NonNegativeInt = 10


class Config(Section):
    """All settings of a run. Paths are relative to the config file, `run` to the working directory."""

    run: str | None = None
    """The run folder; null: runs/<name of the config file>."""
    seed: NonNegativeInt = 7
    model: str | None = None
    """A folder or a hub id: any causal language model of Transformers; null: none, the route bank is all there is to evaluate."""
    recipe: Literal["r1", "zero"] = "r1"
    """r1: distil, then reinforcement learning; zero: reinforcement learning straight on `model`."""
    rounds: PositiveInt = 1
    """How often the recipe's reinforcement learning is done; from the second time on with routes that the policy wrote itself."""
    domain: FilesSettings | GymSettings | PythonSettings | GivenSettings = Field(
        default=GivenSettings(), discriminator="kind"
    )
    prompt: PromptConfig = PromptConfig()
    routes: ScriptedRoutes | ImportedRoutes | CollectedRoutes = Field(
        default=ScriptedRoutes(), discriminator="kind"
    )
    distill: DistillConfig = DistillConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    report: ReportConfig = ReportConfig()
    compare: CompareConfig = CompareConfig()
    _source: Path = PrivateAttr(default=Path("config.yaml"))

    @model_validator(mode="after")
    def _domain_can_write_routes(self) -> Self:
        if self.routes.kind == "scripted" and self.domain.kind != "python":
            raise ValueError(
                f"routes.kind: scripted asks the domain to write routes, and domain.kind = "
                f"{self.domain.kind} writes none; set routes.kind: import and name the files that hold "
                "your models' answers in routes.files, or routes.kind: collect to ask teachers"
            )
        return self

    @model_validator(mode="after")
    def _teachers_suit_the_domain(self) -> Self:
        for teacher in self.routes.teachers if self.routes.kind == "collect" else ():
            if teacher.kind == "scripted" and self.domain.kind != "python":
                raise ValueError(
                    f"the teacher {teacher.name!r} of kind scripted is the domain itself, and domain.kind = "
                    f"{self.domain.kind} writes no routes; take a teacher of kind api, local or replay"
                )
            if (
                teacher.guided
                and self.domain.kind == "files"
                and not (self.domain.rules or self.routes.guide.path)
            ):
                raise ValueError(
                    f"the teacher {teacher.name!r} is asked for guided chains, and there is no guide; name a rule book in "
                    "domain.rules or a reference text in routes.guide.path, or set its guided: 0"
                )
        return self

    @property
    def source(self) -> Path:
        """Return the config file's path."""
        return self._source

    def resolve(self, path: str) -> Path:
        """Return `path`, as the config file writes it, as a path from here."""
        return self._source.parent / Path(path).expanduser()

    def resolve_model(self) -> str:
        """Return the model's folder where there is one, else the hub id; an error where there is neither."""
        if self.model is None:
            raise ConfigError(
                f"{self._source}: model: there is none, and this needs one. Name any causal language model of Transformers, a "
                "folder or a hub id, in the config or by --set model=Qwen/Qwen2.5-1.5B-Instruct"
            )
        folder = self.resolve(self.model)
        if folder.is_dir():
            return str(folder)
        if self.model.startswith((".", "/", "~")) or self.model.count("/") > 1:
            raise ConfigError(
                f"{self._source}: model: there is no folder {folder}. Allowed: a folder (relative to the config file) or a "
                "hub id such as Qwen/Qwen2.5-1.5B-Instruct."
            )
        return self.model

    def run_folder(self) -> Path:
        """Return the run folder that the config asks for."""
        return Path(self.run) if self.run else Path("runs") / self._source.stem

    def dump(self) -> dict[str, Any]:
        """Return all settings, defaults included, as a JSON-ready dict."""
        return self.model_dump(mode="json")

    def with_settings(self, settings: Mapping[str, Any]) -> Config:
        """Return this config with each `a.b: value` put in; `ConfigError` where it does not fit."""
        said = self.model_dump(mode="json", exclude_unset=True)
        for dotted, value in settings.items():
            put_in(said, dotted.split("."), value, f"{dotted}: {value}")
        return _validated(
            said, self._source, [f"{dotted}={value}" for dotted, value in settings.items()]
        )


def load_config(
    path: str | Path, overrides: Mapping[str, Any] | Sequence[str] | None = None
) -> Config:
    """Return the settings of a YAML file.

    Args:
        path: The YAML file. Paths inside it are relative to it.
        overrides: Settings that replace those of the file, as `{"train.fade.kind": "cosine"}`, or
            as the command line writes them: `["train.fade.kind=cosine"]`.

    Raises:
        ConfigError: The file cannot be read, or a setting is unknown, missing or out of range.
    """
    path = Path(path)
    if isinstance(overrides, Mapping):
        return _validated(read_settings(path, []), path, []).with_settings(overrides)
    return _validated(read_settings(path, list(overrides or [])), path, list(overrides or []))


def _validated(settings: Mapping[str, Any], path: Path, overrides: list[str]) -> Config:
    try:
        config = Config.model_validate(settings)
    except ValidationError as error:
        raise ConfigError(describe_mistakes(error, Config, path, overrides)) from None
    config._source = path
    _refuse_secrets(config.dump(), path, "")
    return config


def _refuse_secrets(value: Any, path: Path, name: str) -> None:
    """Raise `ConfigError` for a setting that holds a secret of the environment.

    The settings go to files of the run folder, which people share.
    """
    if isinstance(value, dict):
        for key, part in value.items():
            _refuse_secrets(part, path, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for part in value:
            _refuse_secrets(part, path, name)
    elif isinstance(value, str) and any(secret in value for secret in find_secrets()):
        raise ConfigError(
            f"{path}: {name} holds a secret of the environment, which would be written to files. "
            "Leave it in the environment; a teacher names its variable in key_env."
        )
