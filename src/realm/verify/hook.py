"""A user's own answers: an object with `extract` and `same`, made by a function of theirs.

Their code runs in a process with a time limit. Run as a module, this file is that process.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any, Literal

from pydantic import PositiveFloat, PrivateAttr

from realm.core.errors import ConfigError, mask_secrets
from realm.core.targets import load_target, user_errors
from realm.core.workers import WorkerPool, serve
from realm.verify.kinds import AnswerKind

logger = logging.getLogger(__name__)
_SETTING = "domain.answer"


class PythonAnswer(AnswerKind):
    """Answers of the user's object. If it raises or hangs on model text, the answer is `None`.

    What its `extract` returns must fit into JSON, as the run folder keeps it.
    """

    kind: Literal["python"] = "python"
    hook: str
    """`module:function`; the function is called without arguments and returns an object with
    `extract(text)` and `same(answer, gold)`."""
    seconds: PositiveFloat = 10.0
    """Time limit of one call of the object."""

    _pool: WorkerPool = PrivateAttr()
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
        self._pool = WorkerPool(__name__, self.seconds, (self.hook, str(folder)))

    def read(self, span: str) -> Any | None:
        """Return what the user's `extract` finds."""
        return self._ask("extract", span)

    def find(self, text: str) -> Any | None:
        """Return what the user's `extract` finds."""
        return self._ask("extract", text)

    def same(self, answer: Any, gold: Any) -> bool | None:
        """Return what the user's `same` says of two answers."""
        verdict = self._ask("same", answer, gold)
        return None if verdict is None else bool(verdict)

    def _ask(self, name: str, *arguments: Any) -> Any | None:
        [reply] = self._pool.ask_all([[name, *arguments]])
        found = json.loads(reply) if reply else {}
        if "value" not in found and not self._has_raised:
            what = found.get("error", f"takes longer than {self.seconds:g} s, or ends its process")
            message = f"{self.hook}: {name} {what}; more is not reported"
            logger.warning(mask_secrets(message))
            self._has_raised = True
        return found.get("value")


def _serve(hook: str, folder: str) -> None:
    """Call the user's object for the process that asks."""
    theirs = load_target(hook, Path(folder), _SETTING)()

    def call(question: list[Any]) -> dict[str, Any]:
        name, *arguments = question
        try:
            value = getattr(theirs, name)(*arguments)
            value = bool(value) if name == "same" and value is not None else value
            json.dumps(value, allow_nan=False)
        except BaseException as error:  # the user's code on model text; `sys.exit` as well
            return {"error": f"raised {type(error).__name__}: {error}"}
        return {"value": value}

    serve(call)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
