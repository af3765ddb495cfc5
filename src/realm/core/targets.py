"""Load the user's own code: a class or a function that a config names as `module:name`."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import json
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from realm.core.errors import ConfigError, RealmError


def load_target(target: str, folder: Path, setting: str) -> Any:
    """Return the object that `target` names.

    Args:
        target: `module:name`. The module is a dotted name, or the path of a .py file or a package.
        folder: The folder of the config file. The module is looked for here first, then on
            sys.path; a path is relative to this folder.
        setting: The setting that holds the target, for error messages.

    Raises:
        ConfigError: The target cannot be found, or its module fails when it is imported.
    """
    module_name, colon, name = target.rpartition(":")
    if not (module_name and colon and name.isidentifier()):
        raise ConfigError(f"{setting}: found {target!r}; write module:name, as my_domain:Triage.")
    source = find_source(target, folder)
    if source is None and _is_path(module_name):
        raise ConfigError(
            f"{setting}: {target}: there is no file or package {folder / module_name}. A path is "
            "relative to the config file; a package has an __init__.py."
        )
    with user_errors(setting, target):
        if source is not None:
            module = _import_file(source)
        else:
            try:
                module = importlib.import_module(module_name)
            except ModuleNotFoundError as error:
                if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
                    raise  # the module is there, and imports another one that is not
                raise ConfigError(
                    f"{setting}: {target}: there is no module {module_name!r} in "
                    f"{folder.resolve()} or on Python's path. Put the .py file beside the "
                    "config file, or install it."
                ) from None
    if not hasattr(module, name):
        raise ConfigError(f"{setting}: {target}: {module.__file__} defines no {name!r}.")
    return getattr(module, name)


def find_source(target: str, folder: Path) -> Path | None:
    """Return the .py file or the package folder of `target` below `folder`; None for others.

    A module of sys.path has no source here: like any installed package, it is taken to stay as
    it is.
    """
    module = target.rpartition(":")[0]
    path = folder / (module if _is_path(module) else module.replace(".", "/"))
    if (path / "__init__.py").is_file():
        return path
    file = path if path.suffix == ".py" else path.with_name(f"{path.name}.py")
    return file if file.is_file() else None


def _is_path(module: str) -> bool:
    return "/" in module or module.endswith(".py")


def fingerprint(value: Any) -> str:
    """Return a hash by which a stage notices that the user's domain or function has changed.

    It covers the source code of the class or function (its qualified name if there is no source,
    as for lambdas typed into a shell), the rule book of a domain, and those attributes of an
    object that are plain text, numbers or lists of them. What other functions it calls is not
    covered: use `force` after a change there.
    """
    code = value if inspect.isroutine(value) or inspect.isclass(value) else type(value)
    parts: list[Any] = [f"{code.__module__}.{code.__qualname__}", getattr(value, "rules", None)]
    with suppress(OSError, TypeError):
        parts.append(inspect.getsource(code))
    attributes = vars(value) if hasattr(value, "__dict__") and code is not value else {}
    for name, attribute in sorted(attributes.items()):
        if attribute in ([], {}, None):
            continue  # a stage may set such an attribute, as `Domain.bad_rows`
        with suppress(TypeError, ValueError):
            parts.append([name, json.dumps(attribute, sort_keys=True)])
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@contextmanager
def user_errors(setting: str, target: str) -> Iterator[None]:
    """Turn whatever the user's code raises in this block into a ConfigError that names it.

    This includes `sys.exit`, which would otherwise end the run with exit code 0 and no output.
    Ctrl-C passes, and so do the errors of this package, which already say what to do.
    """
    try:
        yield
    except (KeyboardInterrupt, RealmError):
        raise
    except BaseException as error:
        said = str(error)
        if isinstance(error, ValidationError):
            said = "; ".join(one["msg"] for one in error.errors())
        raise ConfigError(
            f"{setting}: {target} raised {type(error).__name__}: {said}{_where(error)}. "
            "Correct the code or its settings, or name another target."
        ) from error


def _where(error: BaseException) -> str:
    """Return the file and line of the user's code that raised `error`, as far as they are known."""
    # Code of Python, of its packages and of this package is not where the mistake is.
    installed = ("<frozen ", sys.prefix, sys.base_prefix, str(Path(__file__).parents[1]))
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not frame.filename.startswith(installed)]
    return f" (in {theirs[-1].filename}, line {theirs[-1].lineno})" if theirs else ""


def _import_file(path: Path) -> ModuleType:
    """Return the module at `path`, a .py file or a package folder, imported once per process.

    The module gets its plain name where that is free. Two configs may each have a `domain.py`
    beside them: the second one gets a name of its own.
    """
    path = path.resolve()
    file = path / "__init__.py" if path.is_dir() else path
    plain_name = path.stem
    unique_name = f"{plain_name}_{hashlib.sha256(bytes(path)).hexdigest()[:8]}"
    for name in (plain_name, unique_name):
        known = sys.modules.get(name)
        if known is not None and getattr(known, "__file__", None) == str(file):
            return known
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # the module may import its neighbours
    spec = importlib.util.find_spec(plain_name) if plain_name not in sys.modules else None
    is_free = spec is not None and spec.origin == str(file)
    name = plain_name if is_free else unique_name
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]  # a module that failed half-way must not count as imported
        raise
    return module
