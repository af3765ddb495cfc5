"""Domains: where problems come from, what their rule book says, and how an answer is read and compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from realm.config.root import Config
from realm.core.records import Problem
from realm.verify.verifier import Verifier


class Domain(Protocol):
    """What the stages ask of a domain."""

    name: str
    rules: str | None
    """The rule book, Markdown."""
    verifier: Verifier
    """Reads, compares and writes answers."""

    def problems(self, seed: int) -> list[Problem]:
        """Return the problems of every split."""


def load_domain(config: Config) -> Domain:
    """Return the domain that the config asks for."""
    return _DOMAINS[config.domain.kind](config)


def _claims(config: Config) -> Domain:
    from realm.domains.claims import ClaimsDomain

    return ClaimsDomain(config.domain.sizes.model_dump())


def _files(config: Config) -> Domain:
    from realm.domains.files import FilesDomain

    return FilesDomain(config.domain, config.resolve)


def _gym(config: Config) -> Domain:
    from realm.domains.reasoning_gym import ReasoningGymDomain

    return ReasoningGymDomain(config.domain)


_DOMAINS: dict[str, Callable[[Config], Domain]] = {
    "claims": _claims,
    "files": _files,
    "reasoning_gym": _gym,
}
