"""The sentences, labels and numbers that the terminal and the page share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from realm.bank.worth import ANY, MAJORITY, ONE
from realm.evaluate.records import NO_EVIDENCE

if TYPE_CHECKING:
    from realm.evaluate.records import Comparison, Evaluation
    from realm.evaluate.results import Results

MODELS = ("base", "distilled", "realm")  # in the order of training
PROBE_WORDS = {
    "sound": "sound route",
    "wrong": "wrong route",
    "wrong_answer": "wrong answer",
    "flawed_step": "wrong step",
    "other_problem": "foreign steps",
}
"""What the tables call the kinds of route that the probe shows."""
NEAR_ZERO = 0.05  # below this no model is said to solve the domain
UNSOLVED = "This model does not solve this domain; the figures only show that the programs work."


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A figure and a sentence that say the outcome without any terms of statistics.

    Example: `Tile(title="By itself", figure="82.0%", sentence="...", series="autonomous")`.
    """

    title: str
    figure: str
    sentence: str
    series: str
    """The mode whose colour the tile has."""


def percent(share: float | None, signed: bool = False) -> str:
    """Return a share as points with one decimal.

    >>> percent(0.0312, signed=True)
    '+3.1'
    """
    if share is None:
        return "-"
    return f"{100 * share:+.1f}" if signed else f"{100 * share:.1f}"


def with_interval(share: float, bounds: Sequence[float], signed: bool = False) -> str:
    """Return a share and its interval, such as "82.0 [76.1, 87.0]"."""
    return f"{percent(share, signed)} [{percent(bounds[0], signed)}, {percent(bounds[1], signed)}]"


def format_p(row: Comparison) -> str:
    """Return the p-value: that of one seed, or the corrected one with that of the t test."""

    def show(p: float | None) -> str:
        return "" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"

    if row.p_holm is None:
        return show(row.p_single)
    return show(row.p_holm) + (f" ({show(row.p_seeds)})" if row.p_seeds is not None else "")


def label(row: Evaluation) -> str:
    """Return what a table calls the method of a row."""
    if row.mode == "sampled":
        return f"{row.method} (mean@{row.figures.get('samples', 1)})"
    names = {ANY: f"any of {row.figures.get('k')}", MAJORITY: f"majority of {row.figures.get('k')}"}
    name = names.get(row.method, row.method) if row.mode == "routes" else row.method
    return f"{name} ({row.source})" if row.source else name


def list_sentences(results: Results) -> list[str]:
    """Return the outcome in sentences: one a family, or one for a run of one seed."""
    if results.methods:  # only those of a comparison
        return [describe_family(rows) for rows in results.families.values()]
    if all(row.mode == "routes" for row in results.evaluations):
        return [_describe_routes(results)]
    return [_describe_models(results)]


def list_tiles(results: Results) -> list[Tile]:
    """Return up to three tiles: what the model can do, what training changed, what is missing."""
    if results.methods:
        return [_make_family_tile(rows) for rows in list(results.families.values())[:3]]
    if all(row.mode == "routes" for row in results.evaluations):
        return _list_route_tiles(results)
    last = [name for name in MODELS if results.find(name, "autonomous")][-1:] or [""]
    tiles = []
    if alone := results.find(last[0], "autonomous"):
        low, high = alone.ci95
        name = "The trained model" if last[0] != "base" else "The model, untrained,"
        sentence = f"{name} answers {percent(alone.accuracy)}% of {alone.n:,} test problems right "
        sentence += f"with nothing but the question ({percent(low)} to {percent(high)}%)."
        tiles.append(_make_tile("By itself", alone, sentence))
    tiles += _list_gain_tiles(results)
    if assisted := results.find(last[0], "assisted"):
        sentence = (
            f"Shown {assisted.figures.get('k', 'some')} answers of other models, it is right "
        )
        sentence += f"on {percent(assisted.accuracy)}%."
        tiles.append(_make_tile("With routes", assisted, sentence))
    if majority := results.find(MAJORITY, "routes"):
        sentence = f"The most frequent of the same answers is right on {percent(majority.accuracy)}"
        sentence += "%: what a vote without a model reaches."
        tiles.append(_make_tile("A vote of the routes", majority, sentence))
    return tiles[:3]


def list_warnings(results: Results) -> list[str]:
    """Return what a reader must know: problems left out, undecided answers, an unsolved domain."""
    warnings = []
    if results.corrections:
        warnings.append(
            f"Labels that a person corrected (corrections.jsonl): {results.corrections:,}."
        )
    if results.left_out:
        counts = ", ".join(f"{count} of {split}" for split, count in results.left_out.items())
        warnings.append(f"Problems without a route to show are left out: {counts}.")
    missing = [
        word
        for kind, word in PROBE_WORDS.items()
        if results.probes and kind not in {row.source for row in results.probes}
    ]
    if missing:
        warnings.append(
            f"The probe lacks {', '.join(missing)}: the routes shown in evaluation give none. All "
            "but the wrong route are made from right routes whose steps hold."
        )
    # Without the rows over all seeds, which count the same answers once more.
    undecided = sum(
        row.figures.get("undecided", 0) for row in results.evaluations if row.seed is not None
    )
    if undecided:
        warnings.append(
            f"The verifier could not decide {undecided:.0f} answers in its time; they count as not "
            "right."
        )
    # A run that only measures routes has no model to judge.
    best = max((row.accuracy for row in results.evaluations if row.mode != "routes"), default=1.0)
    if best < NEAR_ZERO:
        warnings.append(UNSOLVED)
    return warnings


def _find_closest(rows: Sequence[Comparison]) -> Comparison:
    """Return the comparison with the smallest lead, or of drops the one that loses most."""
    return min(rows, key=lambda one: -one.difference if one.split == "drop" else one.difference)


def describe_family(rows: Sequence[Comparison]) -> str:
    """Return the lead over the best other, and whether it is the claimed one."""
    row = _find_closest(rows)
    text = f"{row.family}: {row.a} {row.a_mode} against the best other, {row.b} {row.b_mode}: "
    text += f"{with_interval(row.difference, row.ci95, True)} points"
    if row.split == "drop":
        text += " more lost from test to test_rules"
    text += f", {row.finding}"
    if row.margin:
        reached = "reached" if row.difference >= row.margin and row.ci95[0] > 0 else "not reached"
        text += f"; the claimed lead of {100 * row.margin:.1f} is {reached}"
    return text + "."


def _make_tile(title: str, row: Evaluation, sentence: str) -> Tile:
    figure = f"{percent(row.accuracy)}%"
    return Tile(title=title, figure=figure, sentence=sentence, series=row.mode)


def _list_gain_tiles(results: Results) -> list[Tile]:
    """Return what training changed, and what reinforcement learning added after distillation."""
    tiles = []
    for title, b, what in (
        ("Gain by training", "base", "Training as a whole"),
        (
            "Gain by reinforcement learning",
            "distilled",
            "Reinforcement learning after distillation",
        ),
    ):
        rows = [
            row
            for row in results.comparisons
            if (row.title, row.split) == (f"realm - {b}, autonomous", "test")
        ]
        for row in rows:
            low, high = row.ci95
            is_more = row.difference > 0
            words = "more answers are right than before" if is_more else "fewer answers are right"
            outcome = row.finding if row.finding == NO_EVIDENCE else words
            sentence = f"{what}: {outcome} ({percent(low, True)} to {percent(high, True)} points)."
            figure = f"{percent(row.difference, True)} points"
            tiles.append(Tile(title=title, figure=figure, sentence=sentence, series="autonomous"))
    return tiles


def _list_route_tiles(results: Results) -> list[Tile]:
    """Return what one route, the majority and the best of the routes of all sources are worth."""
    last = results.evaluations[-1]
    rows = {row.method: row for row in results.evaluations if row.source == last.source}
    sentences = {
        ONE: ("One answer", "So often is a single answer right."),
        MAJORITY: ("The majority", "So often is the answer right that most of them give."),
        ANY: ("Any of them", "So often is at least one right: what a perfect judge could reach."),
    }
    return [
        _make_tile(title, rows[method], sentence)
        for method, (title, sentence) in sentences.items()
        if method in rows
    ]


def _make_family_tile(rows: Sequence[Comparison]) -> Tile:
    row = _find_closest(rows)
    figure = f"{percent(row.difference, True)} points"
    # The title names the family.
    sentence = describe_family(rows).removeprefix(f"{row.family}: ")
    title = row.family[:1].upper() + row.family[1:]
    return Tile(title=title, figure=figure, sentence=sentence, series=row.a_mode)


def _describe_models(results: Results) -> str:
    parts = []
    for method, name in (("realm", "ReaLM"), ("distilled", "distilled"), ("base", "base")):
        alone, assisted = (results.find(method, mode) for mode in ("autonomous", "assisted"))
        if alone:
            with_routes = f" and {percent(assisted.accuracy)}% with routes" if assisted else ""
            parts.append(
                f"the {name} model answers {percent(alone.accuracy)}% by itself{with_routes}"
            )
    if majority := results.find(MAJORITY, "routes"):
        parts.append(
            f"the majority of the same {majority.figures['k']} routes is right on "
            f"{percent(majority.accuracy)}%"
        )
    n = max(row.n for row in results.evaluations if row.split == "test")
    text = f"On {n:,} test problems, {'; '.join(parts)}."
    for row in results.comparisons:
        if (row.title, row.split) == ("realm - distilled, autonomous", "test"):
            text += f" Against distilled, each alone: {percent(row.difference, True)} points, "
            text += f"{row.finding}."
    return text


def _describe_routes(results: Results) -> str:
    """Return what the routes of all sources together are worth: their rows come last."""
    last = results.evaluations[-1]
    rows = {row.method: row for row in results.evaluations if row.source == last.source}
    text = f"On {last.n:,} problems, one route is right in {percent(rows[ONE].accuracy)}% of the "
    text += "cases"
    if MAJORITY in rows:
        text += f", the majority of up to {last.figures['k']} in {percent(rows[MAJORITY].accuracy)}"
        text += f"%, and any of them in {percent(rows[ANY].accuracy)}%"
    return f"{text}. No model was evaluated."
