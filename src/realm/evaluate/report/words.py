"""The sentences, labels and numbers that the terminal and the page share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from realm.bank.worth import ANY, MAJORITY, ONE

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
    """Return the p-value: exact McNemar, or the corrected one with that of the t test."""

    def show(p: float | None) -> str:
        return "" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"

    if row.p_holm is None:
        return show(row.p_mcnemar)
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


def list_warnings(results: Results) -> list[str]:
    """Return what a reader must know: problems left out, undecided answers, an unsolved domain."""
    warnings = []
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


def describe_family(rows: Sequence[Comparison]) -> str:
    """Return the lead over the best other, and whether it is the claimed one."""
    # The smallest lead. Of drops it is the other way round: less lost is better.
    row = min(rows, key=lambda one: -one.difference if one.split == "drop" else one.difference)
    text = f"{row.family}: {row.a} {row.a_mode} against the best other, {row.b} {row.b_mode}: "
    text += f"{with_interval(row.difference, row.ci95, True)} points"
    if row.split == "drop":
        text += " more lost from test to test_rules"
    text += f", {row.finding}"
    if row.margin:
        reached = "reached" if row.difference >= row.margin and row.ci95[0] > 0 else "not reached"
        text += f"; the claimed lead of {100 * row.margin:.1f} is {reached}"
    return text + "."


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
