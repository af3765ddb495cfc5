"""Say what results.json holds: labels, sentences and the table in the terminal. The report uses the same words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from realm.core.errors import RunError

if TYPE_CHECKING:
    from realm.run import Run

if TYPE_CHECKING:
    from rich.table import Table

MODELS = ("base", "distilled", "realm")
NEAR_ZERO = 0.05
WIDE = 110
"""Columns that the widest table takes; also what is written where there is no terminal."""
NO_EVIDENCE = "no evidence of a difference"
UNSOLVED = "This model does not solve this domain; the figures show the machinery only."

Figures = Mapping[str, Any]


def read_results(run: Run) -> dict[str, Any]:
    """Return results.json; `RunError` where evaluation has not written it yet."""
    path = run.path("results.json")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(
            f"{path}: there are no results yet. Run `realm eval` first, or `realm run` for all stages."
        ) from None


def splits_of(results: Figures) -> list[str]:
    """Return the evaluated splits, `test` first."""
    return sorted({row["split"] for row in results["evaluations"]})


def ordered(results: Figures, split: str) -> list[Figures]:
    """Return the evaluations of a split as the tables show them: models, alone before assisted, then the routes."""

    def place(row: Figures) -> tuple[int, int, int]:
        model = MODELS.index(row["method"]) if row["method"] in MODELS else len(MODELS)
        return (
            row["mode"] == "routes",
            model,
            ("autonomous", "assisted", "routes").index(row["mode"]),
        )

    return sorted((row for row in results["evaluations"] if row["split"] == split), key=place)


def label(row: Figures) -> str:
    """Return what a table calls the method of an evaluation; routes with no source named are those that prompts show."""
    if row.get("decoding") == "sampled":
        return f"{row['method']} (mean@{row['samples']})"
    name = f"any of {row['k']}" if row["method"] == "any of K" else row["method"]
    name = f"majority of {row['k']}" if row["method"] == "majority" else name
    if row["mode"] == "routes":
        return f"{name} ({row['source']})" if row.get("source") else name
    return name


def find(results: Figures, method: str, mode: str, split: str = "test") -> Figures | None:
    """Return the greedy evaluation of a method in a mode, over the routes that are shown where it is about routes."""
    for row in results["evaluations"]:
        wanted = (row["method"], row["mode"], row["split"]) == (method, mode, split)
        if wanted and row.get("decoding") != "sampled" and "source" not in row:
            return row
    return None


def percent(share: float | None, signed: bool = False) -> str:
    """Return a share as points with one decimal.

    >>> percent(0.0312, signed=True)
    '+3.1'
    """
    if share is None:
        return "-"
    return f"{100 * share:+.1f}" if signed else f"{100 * share:.1f}"


def interval(bounds: Sequence[float], signed: bool = False) -> str:
    """Return an interval of shares as points."""
    return f"[{percent(bounds[0], signed)}, {percent(bounds[1], signed)}]"


def versus(comparison: Figures) -> str:
    """Return what a comparison compares, in few words.

    >>> versus({"a": "realm", "b": "realm", "mode": "assisted vs autonomous"})
    'realm: assisted - autonomous'
    """
    sampled = ", sampled" if comparison.get("decoding") == "sampled" else ""
    a, b, (a_mode, _, b_mode) = (
        comparison["a"],
        comparison["b"],
        comparison["mode"].partition(" vs "),
    )
    if a == b:
        return f"{a}: {a_mode} - {b_mode}{sampled}"
    if b_mode:
        return f"{a} {a_mode} - {b}" if b_mode == "routes" else f"{a} {a_mode} - {b} {b_mode}"
    return f"{a} - {b}, {a_mode}{sampled}"


def p_value(comparison: Figures) -> str:
    """Return the McNemar p; nothing where there is none."""
    p = comparison["p_mcnemar"]
    return "" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


def finding(comparison: Figures) -> str:
    """Return what a comparison shows, in words; an interval that holds 0 is no evidence."""
    low, high = comparison["ci95"]
    if low <= 0 <= high:
        return NO_EVIDENCE
    names = (comparison["a"], comparison["b"])
    a, b = comparison["mode"].split(" vs ") if names[0] == names[1] else names
    return f"{a if low > 0 else b} is better"


def unsolved(results: Figures) -> str | None:
    """Return a plain warning where models were asked and none of them is right on one problem in twenty."""
    best = max(
        (row["accuracy"] for row in results["evaluations"] if row["mode"] != "routes"), default=None
    )
    return UNSOLVED if best is not None and best < NEAR_ZERO else None


def left_out(results: Figures) -> str | None:
    """Return how many problems no method was asked, for want of a route to show; `None` where all were."""
    counts = [f"{count} of {split}" for split, count in results.get("left_out", {}).items()]
    return (
        f"Problems without a route to show are left out: {', '.join(counts)}." if counts else None
    )


def headline(results: Figures) -> str:
    """Return the outcome on `test`, or of the routes where there is no model, in a sentence or two."""
    if all(row["mode"] == "routes" for row in results["evaluations"]):
        return _headline_of_routes(results)
    parts = []
    for method, name in (
        ("realm", "the ReaLM model"),
        ("distilled", "the distilled model"),
        ("base", "the base model"),
    ):
        alone, assisted = find(results, method, "autonomous"), find(results, method, "assisted")
        if alone:
            parts.append(
                f"{name} answers {percent(alone['accuracy'])}% by itself"
                + (f" and {percent(assisted['accuracy'])}% with routes" if assisted else "")
            )
    if majority := find(results, "majority", "routes"):
        parts.append(
            f"the majority of the same {majority['k']} routes is right on {percent(majority['accuracy'])}%"
        )
    n = max(row["n"] for row in results["evaluations"] if row["split"] == "test")
    text = f"On {n:,} test problems, {'; '.join(parts)}."
    for comparison in results["comparisons"]:
        key = (
            comparison["a"],
            comparison["b"],
            comparison["mode"],
            comparison["split"],
            comparison["decoding"],
        )
        if key == ("realm", "distilled", "autonomous", "test", "greedy"):
            text += f" Against distilled, each alone: {percent(comparison['difference'], True)} points, {finding(comparison)}."
    return text


def _headline_of_routes(results: Figures) -> str:
    """Return what the routes of all sources together are worth: they come last."""
    last = results["evaluations"][-1]
    rows = {row["method"]: row for row in results["evaluations"] if row["source"] == last["source"]}
    text = f"On {last['n']:,} problems, one route is right in {percent(rows['one route']['accuracy'])}% of the cases"
    if "majority" in rows:
        text += f", the majority of up to {last['k']} in {percent(rows['majority']['accuracy'])}%"
        text += f", and any of them in {percent(rows['any of K']['accuracy'])}%"
    return f"{text}. No model was evaluated."


def verdicts(row: Figures) -> str:
    """Return verdict accuracy on sound and on flawed routes; nothing where no verdict was asked for."""
    if "verdict_accuracy" not in row:
        return ""
    return f"{percent(row.get('verdict_accuracy_sound'))} / {percent(row.get('verdict_accuracy_flawed'))}"


def tokens(row: Figures) -> str:
    """Return the tokens per problem; nothing where nobody counted them."""
    return "" if row["tokens_per_problem"] is None else f"{row['tokens_per_problem']:.0f}"


def print_results(run: Run) -> None:
    """Print the comparisons and the results of a run as tables, and a warning where no model solves the domain."""
    from rich.console import Console

    results, console = read_results(run), Console()
    if not console.is_terminal:
        console = Console(width=WIDE)
    for split in splits_of(results):
        if any(row["split"] == split for row in results["comparisons"]):
            console.print(_comparison_table(results, split, wide=console.width >= WIDE), "")
    for split in splits_of(results):
        console.print(_accuracy_table(results, split), "")
    for warning in (left_out(results), unsolved(results)):
        if warning:
            console.print(warning, style="yellow")


def _comparison_table(results: Figures, split: str, *, wide: bool) -> Table:
    """Return the paired differences on a split; a narrow terminal gets no p and no smallest detectable difference."""
    table = _table(f"{split}: paired differences in points, with 95% intervals", "comparison")
    more = ("p", "detectable") if wide else ()
    for name in ("difference", *more):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("finding")
    for row in results["comparisons"]:
        if row["split"] == split:
            difference = f"{percent(row['difference'], True)} {interval(row['ci95'], True)}"
            cells = [p_value(row), percent(row["smallest_detectable"])] if wide else []
            table.add_row(versus(row), difference, *cells, finding(row))
    if wide:
        table.caption = "detectable: the difference that would show with 80% power"
    return table


def _accuracy_table(results: Figures, split: str) -> Table:
    """Return the accuracies on a split; what no row has gets no column."""
    rows = ordered(results, split)
    more = {"tokens /\nproblem": tokens, "verdicts\nsound / flawed": verdicts}
    more = {name: text for name, text in more.items() if any(text(row) for row in rows)}
    table = _table(f"{split}: accuracy in percent, with 95% intervals", "method")
    for name in ("n", "accuracy", *more):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        name = label(row) if row["mode"] == "routes" else f"{label(row)}, {row['mode']}"
        accuracy = f"{percent(row['accuracy'])} {interval(row['ci95'])}"
        table.add_row(name, str(row["n"]), accuracy, *(text(row) for text in more.values()))
    return table


def _table(title: str, first: str) -> Table:
    """Return an empty table that fits into 80 columns."""
    from rich import box
    from rich.table import Table

    options = {
        "title_justify": "left",
        "caption_justify": "left",
        "pad_edge": False,
        "collapse_padding": True,
    }
    table = Table(title=title, box=box.SIMPLE_HEAD, **options)
    table.add_column(first)
    return table
