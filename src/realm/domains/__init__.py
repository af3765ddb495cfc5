"""Domains: where problems come from, what their rule book says, and how an answer is read and compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from realm.config.root import Config
from realm.core.records import Problem


class Domain(Protocol):
    """What the stages ask of a domain. `extract`, `same` and `show` never raise on model text."""

    name: str
    rules: str | None
    """The rule book, Markdown."""

    def problems(self, seed: int) -> list[Problem]:
        """Return the problems of every split."""

    def extract(self, text: str) -> Any | None:
        """Return the final answer in `text`; `None` when it is not said."""

    def same(self, answer: Any, gold: Any) -> bool | None:
        """Tell whether an extracted answer is the gold answer, which `None` never is; `None` where it could not be told."""

    def same_all(self, pairs: Sequence[tuple[Any, Any]]) -> list[bool | None]:
        """Return `same` of many pairs, side by side where one takes long."""

    def show(self, answer: Any) -> str:
        """Return the canonical text of an answer, as a completion writes it."""


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
