"""Domains: where problems come from, what their rule book says, and how an answer is read and compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from realm.config.root import Config
from realm.core.errors import ConfigError
from realm.core.targets import find_source, load_target, user_errors
from realm.domains.domain import Domain, require_expert

__all__ = ["Domain", "find_code", "load_domain", "require_expert"]


def load_domain(config: Config) -> Domain:
    """Return the domain that the config asks for."""
    return _DOMAINS[config.domain.kind](config)


def find_code(config: Config) -> Path | None:
    """Return the file or package of the user's code in the domain; None if it has none."""
    target = None
    if config.domain.kind == "python":
        target = config.domain.target
    elif config.domain.kind == "files" and config.domain.answer.kind == "python":
        target = config.domain.answer.hook
    return None if target is None else find_source(target, config.resolve("."))


def _files(config: Config) -> Domain:
    from realm.domains.files import FilesDomain

    return FilesDomain(config.domain, config.resolve)


def _gym(config: Config) -> Domain:
    from realm.domains.reasoning_gym import ReasoningGymDomain

    return ReasoningGymDomain(**config.domain.model_dump(exclude={"kind"}))


def _python(config: Config) -> Domain:
    target, setting = config.domain.target, f"{config.source}: domain.target"
    make = load_target(target, config.resolve("."), setting)
    with user_errors(setting, target):
        domain = make(**config.domain.settings)
    if not isinstance(domain, Domain):
        raise ConfigError(
            f"{setting}: {target} gives a {type(domain).__name__}. It must name a subclass of "
            "realm.Domain."
        )
    if getattr(domain, "verifier", None) is None:
        raise ConfigError(
            f'{setting}: {target} has no verifier. Give the class one: verifier = realm.Verifier("text")'
        )
    return domain


_DOMAINS: dict[str, Callable[[Config], Domain]] = {
    "files": _files,
    "reasoning_gym": _gym,
    "python": _python,
}
