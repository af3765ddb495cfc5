"""ReaLM: teach a small language model to reason in a vertical domain by itself.

Names are imported when they are first used, so that `import realm` is fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# For type checkers and editors, which do not run `__getattr__`.
if TYPE_CHECKING:
    __version__: str

    from realm.config import Config, load_config
    from realm.core.errors import ConfigError, DataError, ModelError, RealmError, RunError
    from realm.core.records import Judged, Problem, Route, RouteSet
    from realm.domains.domain import Domain
    from realm.domains.files import read_problems
    from realm.domains.reasoning_gym import ReasoningGymDomain
    from realm.evaluate.results import Results
    from realm.run import Run
    from realm.verify.judge import judge, render_completion
    from realm.verify.verifier import Verifier

_MODULES = {
    "Config": "realm.config",
    "ConfigError": "realm.core.errors",
    "DataError": "realm.core.errors",
    "Domain": "realm.domains.domain",
    "Judged": "realm.core.records",
    "ModelError": "realm.core.errors",
    "Problem": "realm.core.records",
    "RealmError": "realm.core.errors",
    "ReasoningGymDomain": "realm.domains.reasoning_gym",
    "Results": "realm.evaluate.results",
    "Route": "realm.core.records",
    "RouteSet": "realm.core.records",
    "Run": "realm.run",
    "RunError": "realm.core.errors",
    "Verifier": "realm.verify.verifier",
    "judge": "realm.verify.judge",
    "load_config": "realm.config",
    "read_problems": "realm.domains.files",
    "render_completion": "realm.verify.judge",
}

__all__ = [
    "Config",
    "ConfigError",
    "DataError",
    "Domain",
    "Judged",
    "ModelError",
    "Problem",
    "RealmError",
    "ReasoningGymDomain",
    "Results",
    "Route",
    "RouteSet",
    "Run",
    "RunError",
    "Verifier",
    "__version__",
    "judge",
    "load_config",
    "read_problems",
    "render_completion",
]


# Python calls it for a name that the module does not hold yet (PEP 562).
def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib import metadata  # takes a tenth of a second, which --help need not wait

        return metadata.version("realm-slm")
    if name not in _MODULES:
        raise AttributeError(f"module 'realm' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


# Else completion in a shell would offer only the names that were used already.
def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
