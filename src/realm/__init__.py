"""ReaLM: teach a small language model to reason in a vertical domain by itself."""

from realm.config.root import Config, load_config
from realm.core.errors import ConfigError, DataError, ModelError, RealmError, RunError
from realm.core.records import Judgement, Problem, Route, RouteSet, Score
from realm.run import Run

__all__ = [
    "Config",
    "ConfigError",
    "DataError",
    "Judgement",
    "ModelError",
    "Problem",
    "RealmError",
    "Route",
    "RouteSet",
    "Run",
    "RunError",
    "Score",
    "load_config",
]
