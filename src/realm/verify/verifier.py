"""The verifier: reads an answer from text, compares it with the gold answer, and writes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realm.verify.choice import LabelAnswers
from realm.verify.hook import HookAnswers
from realm.verify.json import JsonAnswers
from realm.verify.math import MathAnswers
from realm.verify.number import NumberAnswers
from realm.verify.sets import SetAnswers
from realm.verify.text import TextAnswers

if TYPE_CHECKING:
    from realm.config.domain import AnswerSettings


class Verifier:
    """Reads, compares and writes answers of one kind. Nothing here raises on model text.

    >>> verifier = Verifier("number", tolerance=0.01)
    >>> answer = verifier.extract("So the answer is $1,250 per year.")
    >>> answer, verifier.same(answer, 1251), verifier.render(answer)
    (1250, True, '1250')
    """

    def __init__(self, kind: str, *, folder: Path = Path(), **settings: Any) -> None:
        """Make a verifier of answers of `kind`.

        Args:
            kind: text, label, number, set, math, json or python.
            folder: where the user's module is looked for (kind python).
            settings: the settings of the kind, as `domain.answer` of a config has them.
        """
        from pydantic import TypeAdapter

        from realm.config.domain import AnswerSettings

        checked = TypeAdapter(AnswerSettings).validate_python({"kind": kind, **settings})
        self.kind = kind
        self._kind = _make_kind(checked, folder)

    @property
    def num_undecided(self) -> int:
        """Number of comparisons that could not be decided so far."""
        return self._kind.undecided

    def extract(self, text: str) -> Any | None:
        """Return the final answer in `text`, or `None` if it states none."""
        return self._kind.extract(text)

    def same(self, answer: Any, gold: Any) -> bool | None:
        """Return whether two answers mean the same, or `None` if that is undecided (timed out)."""
        return self.same_all([(answer, gold)])[0]

    def same_all(self, pairs: Sequence[tuple[Any, Any]]) -> list[bool | None]:
        """Return `same` of each (answer, gold) pair; slow comparisons run in parallel."""
        return self._kind.same_all(pairs)

    def render(self, answer: Any) -> str:
        """Return the text of `answer` as a completion writes it."""
        return self._kind.show(answer)


def make_verifier(settings: AnswerSettings, folder: Path = Path()) -> Verifier:
    """Return the verifier that a config's `domain.answer` describes."""
    return Verifier(folder=folder, **settings.model_dump())


def _make_kind(settings: AnswerSettings, folder: Path) -> Any:
    match settings.kind:
        case "text":
            return TextAnswers()
        case "set":
            return SetAnswers()
        case "label":
            return LabelAnswers()
        case "number":
            return NumberAnswers(settings.tolerance)
        case "math":
            return MathAnswers(settings.seconds)
        case "json":
            return JsonAnswers(settings.fields)
        case "python":
            return HookAnswers(settings.hook, folder)
