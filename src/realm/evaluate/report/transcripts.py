"""Choose the transcripts that the report shows, and lay each one out: what was asked, what was shown, what was said."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from realm.core.records import Problem, Route
from realm.evaluate.results import MODELS


@dataclass(frozen=True, kw_only=True)
class ShownRoute:
    """A route as the report shows it: beside its text what the model said of it, and what is true."""

    route: Route
    verdict: bool | None


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """One problem, answered by one method with routes and without; the rows are those of answers.jsonl."""

    method: str
    problem: Problem
    gold: str
    routes: list[ShownRoute]
    assisted: Mapping[str, Any]
    autonomous: Mapping[str, Any] | None


def pick_transcripts(
    answers: Sequence[Mapping[str, Any]],
    problems: Mapping[str, Problem],
    routes: Sequence[Route],
    *,
    count: int,
    show: Callable[[Any], str],
) -> list[Transcript]:
    """Return up to `count` assisted answers on `test` of the furthest trained model, right and wrong ones in turn.

    `show` gives the text of a gold answer.

    Which ones is drawn by the hash of the problem's id, so that neither a good nor a bad light is chosen.
    """
    greedy = [row for row in answers if row["split"] == "test" and row["decoding"] == "greedy"]
    methods = [
        method
        for method in MODELS
        if any(row["method"] == method and row["mode"] == "assisted" for row in greedy)
    ]
    if not methods:
        return []
    mine = [row for row in greedy if row["method"] == methods[-1]]
    alone = {row["problem_id"]: row for row in mine if row["mode"] == "autonomous"}
    bank = defaultdict(list)
    for route in routes:
        bank[route.problem_id].append(route)
    transcripts = []
    for row in _in_turn([row for row in mine if row["mode"] == "assisted"], count):
        problem, verdicts = problems[row["problem_id"]], row["judgement"]["verdicts"]
        shown = [bank[problem.id][place] for place in row["routes"]]
        transcripts.append(
            Transcript(
                method=row["method"],
                problem=problem,
                gold=show(problem.answer),
                routes=[
                    ShownRoute(route=route, verdict=verdict)
                    for route, verdict in zip(shown, verdicts, strict=True)
                ],
                assisted=row,
                autonomous=alone.get(problem.id),
            )
        )
    return transcripts


def _in_turn(rows: list[Mapping[str, Any]], count: int) -> list[Mapping[str, Any]]:
    """Return `count` rows, half right and half wrong as far as there are such, in alternation."""
    drawn = sorted(
        rows, key=lambda row: hashlib.sha256(row["problem_id"].encode(errors="replace")).digest()
    )
    right, wrong = (
        [row for row in drawn if row["correct"]],
        [row for row in drawn if not row["correct"]],
    )
    num_right = min(len(right), max((count + 1) // 2, count - len(wrong)))
    right, wrong = right[:num_right], wrong[: count - num_right]
    turns = [row for pair in zip(right, wrong, strict=False) for row in pair]
    longer = right if len(right) > len(wrong) else wrong
    return turns + longer[min(len(right), len(wrong)) :]
