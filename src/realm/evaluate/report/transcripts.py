"""Choose the transcripts that the page shows: what was asked, shown and answered."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from realm.evaluate.report.words import MODELS

if TYPE_CHECKING:
    from realm.core.records import Problem, Route
    from realm.sampling import Answer


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """One problem, answered by one method with routes and without.

    Example: `Transcript(problem=problem, routes=[(route, True)], assisted=answer,
    autonomous=None)` shows one route, which the model called sound.
    """

    problem: Problem
    routes: Sequence[tuple[Route, bool | None]]
    """Each route shown, and what the model said of it."""
    assisted: Answer
    autonomous: Answer | None


def pick_transcripts(
    answers: Sequence[Answer],
    problems: Mapping[str, Problem],
    routes: Sequence[Route],
    *,
    count: int,
) -> list[Transcript]:
    """Return up to `count` assisted answers on `test` of the furthest trained model.

    Right and wrong ones come in turn. The hash of the problem's id draws them, so that neither
    good nor bad examples are chosen by hand.
    """
    by_mode: dict[tuple[str, str], dict[str, Answer]] = defaultdict(dict)
    for answer in answers:
        if answer.split == "test":
            by_mode[answer.method, answer.mode][answer.problem_id] = answer
    methods = [method for method in MODELS if by_mode[method, "assisted"]]
    if not methods:
        return []
    alone = by_mode[methods[-1], "autonomous"]
    bank = defaultdict(list)
    for route in routes:
        bank[route.problem_id].append(route)
    transcripts = []
    for answer in _alternate(list(by_mode[methods[-1], "assisted"].values()), count):
        shown = [bank[answer.problem_id][place] for place in answer.routes]
        transcripts.append(
            Transcript(
                problem=problems[answer.problem_id],
                routes=list(zip(shown, answer.judged.verdicts, strict=True)),
                assisted=answer,
                autonomous=alone.get(answer.problem_id),
            )
        )
    return transcripts


def _alternate(answers: Sequence[Answer], count: int) -> list[Answer]:
    """Return `count` answers, right and wrong in turn, as far as there are such."""

    def rank(answer: Answer) -> bytes:
        return hashlib.sha256(answer.problem_id.encode(errors="replace")).digest()

    drawn = sorted(answers, key=rank)
    right = [answer for answer in drawn if answer.judged.correct is True]
    wrong = [answer for answer in drawn if answer.judged.correct is not True]
    # Half of each; if there are too few wrong ones, right ones fill up, and the reverse.
    num_right = min(len(right), max((count + 1) // 2, count - len(wrong)))
    turns = zip_longest(right[:num_right], wrong[: count - num_right])
    return [answer for pair in turns for answer in pair if answer is not None]
