"""Answer kinds: how a final answer is read from free text, compared with the gold answer, and written."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from realm.verify import sets, text
from realm.verify.choice import LabelAnswers
from realm.verify.extract import final_answer
from realm.verify.hook import HookAnswers
from realm.verify.json import JsonAnswers
from realm.verify.kind import AnswerKind
from realm.verify.math import MathAnswers
from realm.verify.number import NumberAnswers

if TYPE_CHECKING:
    from realm.config.domain import AnswerSettings

__all__ = ["AnswerKind", "final_answer", "get_answers"]


class _PlainAnswers(AnswerKind):
    """A kind without settings: the functions of a module."""

    def __init__(self, module: ModuleType) -> None:
        self.extract, self.same, self.show = module.extract, module.same, module.show


def get_answers(settings: AnswerSettings, folder: Path = Path()) -> AnswerKind:
    """Return the kind of answers that `settings` ask for; `folder` is where a user's own code is looked for."""
    match settings.kind:
        case "text":
            return _PlainAnswers(text)
        case "set":
            return _PlainAnswers(sets)
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
