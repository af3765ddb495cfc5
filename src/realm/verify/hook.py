"""A user's own answers: an object with `extract` and `same`, from a function that the config names."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from realm.core.errors import ConfigError, mask_secrets
from realm.verify.kind import AnswerKind


class HookAnswers(AnswerKind):
    """Asks the user's object. Where it raises on model text, the answer is `None`: counted, and the first time reported."""

    def __init__(self, hook: str, folder: Path) -> None:
        """Import `hook`, as `module:function`, from `folder` or the Python path; `ConfigError` says what is missing."""
        self.hook = hook
        self._theirs = _load(hook, folder)

    def extract(self, text: str) -> Any | None:
        """Return what the user's `extract` finds."""
        return self._ask(self._theirs.extract, text)

    def same(self, answer: Any, gold: Any) -> bool | None:
        """Return what the user's `same` says of two answers; `None` never means the gold answer."""
        if answer is None or gold is None:
            return False
        verdict = self._ask(self._theirs.same, answer, gold)
        return None if verdict is None else bool(verdict)

    def _ask(self, theirs: Callable[..., Any], *arguments: Any) -> Any | None:
        try:
            return theirs(*arguments)
        except Exception as error:  # code of the user's, fed with text of a model's
            if self.undecided == 0:
                message = f"{self.hook}: {theirs.__name__} raised {type(error).__name__}: {error}; more is only counted"
                print(mask_secrets(message), file=sys.stderr)
            self.undecided += 1
            return None


def _load(hook: str, folder: Path) -> Any:
    module, _, function = hook.partition(":")
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    where = f"domain.answer: the hook {hook!r}"
    try:
        made = getattr(importlib.import_module(module), function)()
    except Exception as error:  # whatever the user's module does when it is imported
        raise ConfigError(
            f"{where} cannot be used: {type(error).__name__}: {error}. It reads module:function, the module lies in {folder} "
            "or on the Python path, and the function takes no arguments."
        ) from error
    lacking = [name for name in ("extract", "same") if not callable(getattr(made, name, None))]
    if lacking:
        raise ConfigError(
            f"{where} returned {type(made).__name__}, which has no {' and no '.join(lacking)}. It returns an object with "
            "extract(text) and same(answer, gold)."
        )
    return made
