"""Answer kinds: how a final answer is read from free text, compared with the gold answer, and written."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from realm.answers import sets, text
from realm.answers.choice import LabelAnswers
from realm.answers.fields import JsonAnswers
from realm.answers.final import final_answer
from realm.answers.hook import HookAnswers
from realm.answers.kind import AnswerKind
from realm.answers.math import MathAnswers
from realm.answers.number import NumberAnswers

if TYPE_CHECKING:
    from realm.config_domain import AnswerSettings

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
