"""The pilot: how far two samples of the same model differ, and so which difference the comparison will be able to see."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from realm.bank.draw import draw_evaluation_sets
from realm.core.jsonl import read_problems, read_routes, write_json, write_jsonl
from realm.core.records import Problem
from realm.evaluate.ask import Asked, ask_about, ask_all
from realm.evaluate.stats import smallest_detectable

if TYPE_CHECKING:
    from realm.run import Run

SAMPLES = 4


def run_pilot(run: Run) -> None:
    """Sample the start on validation problems, alone and with routes, and write how often two samples differ in being right."""
    config = run.config
    problems = [
        problem
        for problem in read_problems(run.path("problems.jsonl"))
        if problem.split == "validation"
    ]
    problems = problems[: config.compare.pilot_problems]
    sets = draw_evaluation_sets(
        [problem.id for problem in problems],
        read_routes(run.path("routes.jsonl")),
        held_out=config.routes.held_out,
        count=config.evaluate.routes,
        seed=config.seed,
    )

    def asked(problem: Problem) -> list[Asked]:
        shown = sets[problem.id]
        return [ask_about(problem, config)] + (
            [ask_about(problem, config, shown)] if shown.routes else []
        )

    both = [one for problem in problems for one in asked(problem)]
    rows: list[dict[str, Any]] = []
    if both:
        rows = ask_all(
            str(run.path("distilled")),
            both,
            run.work("pilot") / "answers.jsonl",
            config=config,
            domain=run.domain,
            description="pilot",
            num_samples=SAMPLES,
            temperature=1.0,
        )
    found = {}
    for mode, assisted in (("autonomous", False), ("assisted", True)):
        numbers = [number for number, one in enumerate(both) if bool(one.routes.routes) == assisted]
        right = [[row["correct"] for row in rows if row["number"] == number] for number in numbers]
        if right:
            accuracy, discordant = fmean(fmean(hits) for hits in right), disagreement(right)
            found[mode] = {"problems": len(right), "accuracy": accuracy, "discordant": discordant}
    write_jsonl(run.path("answers/pilot.jsonl"), rows)
    write_json(run.path("outcomes/pilot.json"), found)


def disagreement(right: Sequence[Sequence[bool]]) -> float:
    """Return how often one of two samples of a problem is right and the other wrong, without bias by the number of samples.

    >>> disagreement([[True, True], [True, False]])
    0.5
    """
    shares = []
    for hits in right:
        count, good = len(hits), sum(hits)
        shares.append(2 * good * (count - good) / (count * (count - 1)))
    return fmean(shares)


def sentences(found: dict[str, Any], *, n: int, seeds: int, claims: int) -> list[str]:
    """Return what `n` test problems with each of `seeds` seeds will show, in a sentence per mode.

    Two methods are taken to differ as often as two samples of one model do, and seeds to add nothing of their own.
    """
    lines = []
    for mode, pilot in found.items():
        pairs = n * seeds
        alone = smallest_detectable(pairs, pilot["discordant"])
        corrected = smallest_detectable(pairs, pilot["discordant"], level=0.05 / max(1, claims))
        shown = [
            f"one of {100 * value:.1f} points" if value is not None else "none"
            for value in (alone, corrected)
        ]
        lines.append(
            f"Pilot, {mode}: on {pilot['problems']} validation problems the start is right in {pilot['accuracy']:.1%} of its "
            f"samples, and two samples differ on {pilot['discordant']:.1%}. The smallest difference that {seeds} x {n} test "
            f"problems show with 80% power: {shown[0]}; as the first of {claims} claims: {shown[1]}. Seeds may add to that."
        )
    return lines
