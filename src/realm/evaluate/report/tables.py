"""The tables of an evaluation or a comparison, for the terminal and for the page."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from realm.bank.worth import MAJORITY
from realm.core.errors import make_printable
from realm.evaluate.measure import find_start
from realm.evaluate.methods import VOTES
from realm.evaluate.records import HARD
from realm.evaluate.report.words import (
    MODELS,
    PROBE_WORDS,
    format_p,
    label,
    list_sentences,
    list_warnings,
    percent,
    with_interval,
)

if TYPE_CHECKING:
    from rich.console import Console

    from realm.evaluate.records import Comparison, Evaluation
    from realm.evaluate.results import Results

WIDE = 110
"""Columns that the widest table takes. Also the width of what is written to a file."""
TEXTS = (
    "method", "mode", "comparison", "finding", "source", "what it is", "per seed", "split",
    "shown route", "hard for",
)  # fmt: skip
"""Headers of columns that hold text. All others hold numbers, aligned to the right."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of strings.

    Example: `Table(title="test", columns=["method", "n"], rows=[["realm", "200"]])`.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    is_text: bool = False
    """Whether all columns hold text, not only those of `TEXTS`."""


def make_table(
    title: str, rows: Sequence[Mapping[str, str]], caption: str = "", *, is_text: bool = False
) -> Table:
    """Return a table of rows that map a header to a cell; columns that are empty are left out."""
    headers = [name for name in rows[0] if any(row[name] for row in rows)] if rows else []
    cells = [[row[name] or "-" for name in headers] for row in rows]
    return Table(title=title, columns=headers, rows=cells, caption=caption, is_text=is_text)


def tabulate_accuracies(results: Results, split: str, *, for_page: bool = False) -> Table:
    """Return the accuracies of a split; in the narrower terminal the method includes the mode."""
    rows = []
    for row in sort_evaluations(results.list_rows(split)):
        name = label(row)
        if not for_page and row.mode not in ("routes", "sampled"):  # whose labels say it
            name += f", {row.mode}"
        rows.append(
            {
                "method": name,
                "mode": row.mode if for_page else "",
                "seeds": str(len(row.seeds)) if row.seeds else "",
                "n": f"{row.n:,}",
                "accuracy": with_interval(row.accuracy, row.ci95),
                "per seed": " ".join(map(percent, row.per_seed)) if for_page else "",
                "tokens / problem": _round(row.tokens_per_problem),
                "prompt tokens": _round(row.prompt_tokens_per_problem) if row.seeds else "",
                "verdicts sound / flawed": _format_verdicts(row),
                "undecided": str(row.figures.get("undecided") or ""),
            }
        )
    return make_table(f"{split}: accuracy in percent, with 95% intervals", rows)


def sort_evaluations(rows: Sequence[Evaluation]) -> list[Evaluation]:
    """Return rows in the order of the tables.

    The models of one run come in the order of training, each alone before assisted, and then the
    routes. The methods of a comparison come mode by mode, the best first.
    """
    modes = list(dict.fromkeys(["autonomous", *VOTES, "assisted", *(row.mode for row in rows)]))

    def rank(row: Evaluation) -> tuple[Any, ...]:
        if row.seeds:
            return (row.mode == "routes", modes.index(row.mode), -row.accuracy)
        model = MODELS.index(row.method) if row.method in MODELS else len(MODELS)
        return (row.mode == "routes", model, modes.index(row.mode))

    return sorted(rows, key=rank)


def tabulate_comparisons(
    rows: Sequence[Comparison], *, is_wide: bool = True, for_page: bool = False
) -> Table:
    """Return the paired differences of a family; a narrow table has no p and no detectable."""
    cells = [
        {
            "comparison": row.title,
            "n": f"{row.n:,}" if for_page else "",
            "difference": with_interval(row.difference, row.ci95, signed=True),
            "p": format_p(row) if is_wide else "",
            "detectable": percent(row.smallest_detectable) if is_wide else "",
            "finding": row.finding,
        }
        for row in rows
    ]
    title = f"{rows[0].family}: paired differences in points, with 95% intervals"
    caption = ""
    if is_wide and not for_page:  # The page says it once, above all families.
        caption = "detectable: the difference that would show with 80% power"
        if any(row.p_holm is not None for row in rows):
            caption += "; p: corrected (Holm), in brackets the t test over seeds"
    return make_table(title, cells, caption)


def tabulate_probes(results: Results) -> Table:
    """Return how often each kind of route is called sound, and its first flaw named exactly."""
    rows = []
    for kind, word in PROBE_WORDS.items():
        for row in sort_evaluations([row for row in results.probes if row.source == kind]):
            figures = row.figures
            named = figures.get("first_flaw_named")
            rows.append(
                {
                    "shown route": word,
                    "method": row.method,
                    "n": f"{row.n:,}",
                    "called sound": with_interval(
                        figures["called_sound"], figures["called_sound_ci95"]
                    ),
                    "flaw named": ""
                    if named is None
                    else with_interval(named, figures["first_flaw_named_ci95"]),
                    "answer right": percent(row.accuracy),
                }
            )
    caption = "called sound: high is right for the sound route, low for the others; wrong step "
    caption += "and foreign steps end in the right answer"
    return make_table("probe: does the model read the steps? In percent", rows, caption)


def tabulate_hard(results: Results, *, for_page: bool = False) -> Table:
    """Return what each model reaches on hard problems, alone and with routes.

    The terminal has no room for the intervals of both.
    """
    pairs = [row for row in results.comparisons if row.family == HARD]
    start = find_start([row.a for row in pairs if row.split == "hard"])
    rows = []
    for pair in pairs:
        sides = [results.find(pair.a, mode, pair.split) for mode in ("autonomous", "assisted")]
        alone, assisted = (
            with_interval(side.accuracy, side.ci95) if for_page else percent(side.accuracy)
            for side in sides
            if side is not None
        )
        rows.append(
            {
                "hard for": start if pair.split == "hard" else "itself",
                "method": pair.a,
                "n": f"{pair.n:,}",
                "alone": alone,
                "with routes": assisted,
                "difference": with_interval(pair.difference, pair.ci95, signed=True),
                "finding": pair.finding,
            }
        )
    majority = results.find(MAJORITY, "routes", "hard")
    caption = "hard: solved in less than half of the model's own samples"
    if majority:
        caption += f"; the majority of the same routes is right on {percent(majority.accuracy)}% "
        caption += f"of those for {start}"
    return make_table("hard problems of test: accuracy in percent", rows, caption)


def tabulate_budgets(results: Results, *, for_page: bool = False) -> Table:
    """Return what each method was trained on, as means over the seeds."""
    names = {
        "completions": "trained_completions",
        "tokens": "trained_tokens",
        "rollouts": "rollouts",
        "seconds": "seconds",
    }
    rows = []
    for method in dict.fromkeys(row["method"] for row in results.budgets):
        own = [row for row in results.budgets if row["method"] == method]
        means = {title: f"{fmean(row[key] for row in own):,.0f}" for title, key in names.items()}
        summary = results.methods[method]["summary"]
        rows.append({"method": method, "what it is": summary if for_page else "", **means})
    return make_table("budgets: means over the seeds, the start of each method included", rows)


def print_results(results: Results) -> None:
    """Print all tables of results, the outcome in sentences, and warnings."""
    console = _make_console()
    is_wide = console.width >= WIDE
    families = results.families.values()
    tables = [tabulate_comparisons(rows, is_wide=is_wide) for rows in families]
    tables += [tabulate_accuracies(results, split) for split in results.splits]
    tables += [tabulate_hard(results), tabulate_probes(results)]
    if results.budgets:
        tables.append(tabulate_budgets(results))
    print_tables(tables)
    for sentence in list_sentences(results) if results.methods else []:
        console.print(sentence, soft_wrap=True, highlight=False)
    for warning in list_warnings(results):
        console.print(warning, style="yellow")


def print_tables(tables: Sequence[Table]) -> None:
    """Print tables, those without rows left out."""
    from rich import box
    from rich.table import Table as RichTable

    console = _make_console()
    for table in filter(lambda table: table.rows, tables):
        shown = RichTable(
            title=table.title,
            caption=table.caption,
            box=box.SIMPLE_HEAD,
            title_justify="left",
            caption_justify="left",
            pad_edge=False,
            collapse_padding=True,
        )
        for name in table.columns:
            is_text = table.is_text or name in TEXTS
            # Long headers wrap, numbers never do.
            header = "\n".join(textwrap.wrap(name, 14))
            shown.add_column(
                header,
                justify="left" if is_text else "right",
                no_wrap=not is_text,
                # A long word such as a setting goes on in the next line; rich would cut its value.
                overflow="fold" if is_text else "ellipsis",
            )
        for row in table.rows:
            shown.add_row(*map(make_printable, row))
        console.print(shown, "")


def _make_console() -> Console:
    from rich.console import Console

    # Without markup: a name such as [red] is a name.
    console = Console(markup=False)
    # rich takes 80 columns for a file
    return console if console.is_terminal else Console(width=WIDE, markup=False)


def _round(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _format_verdicts(row: Evaluation) -> str:
    if "verdict_accuracy" not in row.figures:
        return ""
    names = ("verdict_accuracy_sound", "verdict_accuracy_flawed")
    return " / ".join(percent(row.figures.get(name)) for name in names)
