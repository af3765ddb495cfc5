"""Domains: the problems, the rule book and the verifier of what the student learns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realm.core.errors import ConfigError
from realm.core.targets import find_source, load_target, user_errors
from realm.domains.domain import Domain, require_expert
from realm.domains.files import FilesDomain
from realm.domains.reasoning_gym import ReasoningGymDomain
from realm.verify.verifier import Verifier

if TYPE_CHECKING:
    from pathlib import Path

    from realm.config.root import Config
    from realm.domains.domain import PythonSettings

__all__ = ["Domain", "find_code", "load_domain", "require_expert"]


def load_domain(config: Config) -> Domain:
    """Return the domain that the config describes."""
    settings = config.domain
    if settings.kind == "files":
        return FilesDomain(settings, config.resolve)
    if settings.kind == "reasoning_gym":
        return ReasoningGymDomain(**settings.model_dump(exclude={"kind"}))
    assert settings.kind == "python", "a given domain is not loaded from the config"
    return _load_user_domain(settings, config)


# A change of the code makes the stages that read `domain` run again (`Run.find_settings`).
def find_code(config: Config) -> Path | None:
    """Return the file or package of the user's code in the domain; None if it has none."""
    settings = config.domain
    target = None
    if settings.kind == "python":
        target = settings.target
    elif settings.kind == "files" and settings.answer.kind == "python":
        target = settings.answer.hook
    return None if target is None else find_source(target, config.resolve("."))


def _load_user_domain(settings: PythonSettings, config: Config) -> Domain:
    target = settings.target
    setting = f"{config.source}: domain.target"
    make_domain = load_target(target, config.resolve("."), setting)
    with user_errors(setting, target):
        domain = make_domain(**settings.settings)
    if not isinstance(domain, Domain):
        raise ConfigError(
            f"{setting}: {target} gives a {type(domain).__name__}. "
            "It must name a subclass of realm.Domain."
        )
    if not isinstance(getattr(domain, "verifier", None), Verifier):
        raise ConfigError(
            f"{setting}: {target} has no realm.Verifier as its verifier. Give the class one, such "
            'as verifier = realm.Verifier("text").'
        )
    if not isinstance(domain.rules, str | None):
        raise ConfigError(
            f"{setting}: {target}: its rules are a {type(domain.rules).__name__}; they must be the "
            'text of the rule book, such as Path("rules.md").read_text(), or None.'
        )
    return domain
