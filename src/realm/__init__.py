"""ReaLM: teach a small language model to reason in a vertical domain by itself."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from realm.config.root import Config, load_config
from realm.core.errors import ConfigError, DataError, ModelError, RealmError, RunError
from realm.core.records import Judgement, Problem, Route, RouteSet, Score
from realm.run import Run

if TYPE_CHECKING:
    from realm.domains.domain import Domain
    from realm.domains.reasoning_gym import ReasoningGymDomain
    from realm.verify.verifier import Verifier

_LAZY = {
    "Domain": "realm.domains.domain",
    "ReasoningGymDomain": "realm.domains.reasoning_gym",
    "Verifier": "realm.verify.verifier",
}
"""Names that are imported when they are first used: public name to module."""

__all__ = [
    "Config",
    "ConfigError",
    "DataError",
    "Domain",
    "Judgement",
    "ModelError",
    "Problem",
    "RealmError",
    "ReasoningGymDomain",
    "Route",
    "RouteSet",
    "Run",
    "RunError",
    "Score",
    "Verifier",
    "load_config",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'realm' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
