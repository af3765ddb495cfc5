"""The verifier: reads an answer from text, compares it with the gold answer, and writes it.

Below it: the majority of several answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

    def make_exact(self, answer: Any) -> Any:
        """Return `answer`, extracted from prose, as an answer tag would state it.

        Kind `set`: a sentence such as "Ann won 7 games." no longer stands for each of its items.
        """
        return self._kind.make_exact(answer)

    def render(self, answer: Any) -> str:
        """Return the text of `answer`, as a completion writes it."""
        return self._kind.render(answer)


def make_verifier(settings: AnswerSettings, folder: Path = Path()) -> Verifier:
    """Return the verifier that a config's `domain.answer` describes."""
    return Verifier(folder=folder, **settings.model_dump())


def majority(answers: Sequence[Any], same: Callable[[Any, Any], bool | None]) -> Any | None:
    """Return the answer given most often, of equals the earlier; `None` if nobody gives one.

    >>> majority(["7", None, "8", "8"], str.__eq__)
    '8'
    """
    return majorities([answers], lambda pairs: [same(*pair) for pair in pairs])[0]


def majorities(
    sets: Sequence[Sequence[Any]],
    same_all: Callable[[Sequence[tuple[Any, Any]]], Sequence[bool | None]],
) -> list[Any | None]:
    """Return the majority of each set; the comparisons of all sets are asked for together.

    >>> majorities([["7", "8", "8"], ["9"]], lambda pairs: [a == b for a, b in pairs])
    ['8', '9']
    """
    groups: list[list[list[Any]]] = [[] for _ in sets]
    waiting = [[answer for answer in answers if answer is not None] for answers in sets]
    while any(waiting):
        # One answer of each set in a round: it is compared with the first answer of each group.
        asked = [(index, answers.pop(0)) for index, answers in enumerate(waiting) if answers]
        pairs = [(answer, group[0]) for index, answer in asked for group in groups[index]]
        verdicts = iter(same_all(pairs) if pairs else [])
        for index, answer in asked:
            told = [next(verdicts) for _ in groups[index]]
            same = [group for group, verdict in zip(groups[index], told, strict=True) if verdict]
            if same:
                same[0].append(answer)
            else:
                groups[index].append([answer])
    return [max(found, key=len)[0] if found else None for found in groups]
