"""The comparison as text: what each method reached, what it cost, and what the claims came to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from realm.evaluate.findings import finding, headline
from realm.evaluate.results import WIDE, interval, p_value, percent, tokens, versus

if TYPE_CHECKING:
    from rich.table import Table

Rows = Sequence[Mapping[str, Any]]


def over_seeds(results: Mapping[str, Any], split: str) -> list[Mapping[str, Any]]:
    """Return the rows over all seeds of a split: mode by mode, the best first."""
    rows = [row for row in results["evaluations"] if row["seed"] is None and row["split"] == split]
    modes = list(dict.fromkeys(row["mode"] for row in rows))
    return sorted(rows, key=lambda row: (modes.index(row["mode"]), -row["accuracy"]))


def splits_of(results: Mapping[str, Any]) -> list[str]:
    """Return the evaluated splits, `test` first."""
    return sorted({row["split"] for row in results["evaluations"]})


def families_of(results: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """Return the comparisons by family."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in results["comparisons"]:
        found.setdefault(row["family"], []).append(row)
    return found


def budgets(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the mean budget of each method over its seeds; what it trained on counts from the config's model on."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in results["budgets"]:
        found.setdefault(row["method"], []).append(row)
    names = ("trained_completions", "trained_tokens", "rollouts", "seconds")
    return [
        {"method": method} | {name: sum(row[name] for row in rows) / len(rows) for name in names}
        for method, rows in found.items()
    ]


def p_values(row: Mapping[str, Any]) -> str:
    """Return the corrected p and, in brackets, that of the t test over seeds."""
    corrected = p_value({"p_mcnemar": row["p_holm"]})
    return (
        corrected
        if row["p_seeds"] is None
        else f"{corrected} ({p_value({'p_mcnemar': row['p_seeds']})})"
    )


def print_comparison(results: Mapping[str, Any]) -> None:
    """Print what the claims came to, the accuracies and the budgets."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)
    for table in _tables(results):
        console.print(table, "")
    for family, rows in families_of(results).items():
        console.print(headline(family, rows), soft_wrap=True, highlight=False)


def _tables(results: Mapping[str, Any]) -> Iterator[Table]:
    for split in splits_of(results):
        table = _table(
            f"{split}: accuracy in percent over the seeds, with 95% intervals", "method", "mode"
        )
        for name in ("seeds", "n", "accuracy", "tokens /\nproblem"):
            table.add_column(name, justify="right", no_wrap=True)
        for row in over_seeds(results, split):
            accuracy = f"{percent(row['accuracy'])} {interval(row['ci95'])}"
            table.add_row(
                row["method"],
                row["mode"],
                str(len(row["seeds"])),
                str(row["n"]),
                accuracy,
                tokens(row),
            )
        yield table
    for family, rows in families_of(results).items():
        table = _table(f"{family}: paired differences in points, with 95% intervals", "comparison")
        for name in ("difference", "p Holm (t)", "detectable"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("finding")
        for row in rows:
            difference = f"{percent(row['difference'], True)} {interval(row['ci95'], True)}"
            table.add_row(
                versus(row),
                difference,
                p_values(row),
                percent(row["smallest_detectable"]),
                finding(row),
            )
        yield table
    table = _table(
        "budgets: means over the seeds; what each was trained on, its start included", "method"
    )
    for name in ("completions", "tokens", "rollouts", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in budgets(results):
        cells = [
            f"{row[name]:,.0f}"
            for name in ("trained_completions", "trained_tokens", "rollouts", "seconds")
        ]
        table.add_row(row["method"], *cells)
    yield table


def _table(title: str, *first: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(
        title=title,
        box=box.SIMPLE_HEAD,
        title_justify="left",
        pad_edge=False,
        collapse_padding=True,
    )
    for name in first:
        table.add_column(name)
    return table
