"""A user's own answers: an object with `extract` and `same`, made by a function of theirs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import PrivateAttr

from realm.core.errors import ConfigError, mask_secrets
from realm.core.targets import load_target, user_errors
from realm.verify.kinds import AnswerKind

logger = logging.getLogger(__name__)
_SETTING = "domain.answer"


class PythonAnswer(AnswerKind):
    """Answers of the user's object. If it raises on model text, the answer is `None`."""

    kind: Literal["python"] = "python"
    hook: str
    """`module:function`; the function is called without arguments and returns an object with
    `extract(text)` and `same(answer, gold)`."""

    _theirs: Any = PrivateAttr(None)
    _has_raised: bool = PrivateAttr(False)

    def prepare(self, folder: Path) -> None:
        """Import the hook from `folder` or the Python path, and call it.

        Raises:
            ConfigError: it cannot be imported, it fails, or it returns another kind of object.
        """
        with user_errors(_SETTING, self.hook):
            theirs = load_target(self.hook, folder, _SETTING)()
        lacking = [
            name for name in ("extract", "same") if not callable(getattr(theirs, name, None))
        ]
        if lacking:
            raise ConfigError(
                f"{_SETTING}: the hook {self.hook!r} returned {type(theirs).__name__}, which has "
                f"no {' and no '.join(lacking)}. It returns an object with extract(text) and "
                "same(answer, gold)."
            )
        self._theirs = theirs

    def read(self, span: str) -> Any | None:
        """Return what the user's `extract` finds."""
        return self._ask(self._theirs.extract, span)

    def find(self, text: str) -> Any | None:
        """Return what the user's `extract` finds."""
        return self._ask(self._theirs.extract, text)

    def same(self, answer: Any, gold: Any) -> bool | None:
        """Return what the user's `same` says of two answers."""
        verdict = self._ask(self._theirs.same, answer, gold)
        return None if verdict is None else bool(verdict)

    def _ask(self, theirs: Callable[..., Any], *arguments: Any) -> Any | None:
        try:
            return theirs(*arguments)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # the user's code on model text; `sys.exit` as well
            if not self._has_raised:
                message = (
                    f"{self.hook}: {theirs.__name__} raised {type(error).__name__}: {error}; "
                    "more is not reported"
                )
                logger.warning(mask_secrets(message))
                self._has_raised = True
            return None
