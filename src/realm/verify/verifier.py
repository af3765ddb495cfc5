"""The verifier: reads an answer from text, compares it with the gold answer, and writes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from realm.method.thoughts import split_thoughts
from realm.verify.extract import find_tagged
from realm.verify.hook import PythonAnswer
from realm.verify.json import JsonAnswer
from realm.verify.kinds import LabelAnswer, TextAnswer
from realm.verify.math import MathAnswer
from realm.verify.normal import repair_text
from realm.verify.number import NumberAnswer
from realm.verify.sets import SetAnswer

AnswerSettings = Annotated[
    TextAnswer | LabelAnswer | NumberAnswer | SetAnswer | MathAnswer | JsonAnswer | PythonAnswer,
    Field(discriminator="kind"),
]
"""The settings of an answer kind, as `domain.answer` of a config has them."""
_SETTINGS: TypeAdapter[AnswerSettings] = TypeAdapter(AnswerSettings)


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
        self.kind = kind
        self._kind = _SETTINGS.validate_python({"kind": kind, **settings})
        self._kind.prepare(folder)
        self.num_undecided = 0
        """Comparisons that could not be decided so far."""

    def extract(self, text: str) -> Any | None:
        """Return the final answer in `text`, or `None` if it states none.

        Thoughts are no answers. What stands in the last <answer> tag is the answer, exactly as it
        stands there; without a tag the answer is looked for in the text.
        """
        _, said = split_thoughts(repair_text(text))
        tagged = find_tagged(said)
        return self._kind.find(said) if tagged is None else self._kind.read(tagged)

    def same(self, answer: Any, gold: Any) -> bool | None:
        """Return whether two answers mean the same, or `None` if that is undecided (timed out)."""
        return self.same_all([(answer, gold)])[0]

    def same_all(self, pairs: Sequence[tuple[Any, Any]]) -> list[bool | None]:
        """Return `same` of each (answer, gold) pair; slow comparisons run in parallel."""
        verdicts = self._kind.same_all(pairs)
        self.num_undecided += verdicts.count(None)
        return verdicts

    def render(self, answer: Any) -> str:
        """Return the text of `answer`, as a completion writes it."""
        return self._kind.render(answer)


def make_verifier(settings: AnswerSettings, folder: Path = Path()) -> Verifier:
    """Return the verifier that a config's `domain.answer` describes."""
    return Verifier(folder=folder, **settings.model_dump())
