"""report.html of a comparison: one file that opens offline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from realm.config.root import Config
from realm.core.jsonl import write_text
from realm.evaluate import findings, tables
from realm.evaluate import results as words
from realm.evaluate.figures import ablation_figure, accuracy_figure, token_figure
from realm.evaluate.report.figures import plotly_script


def write_page(config: Config, folder: Path, results: Mapping[str, Any]) -> None:
    """Write FOLDER/report.html from the results; parts that were not measured are left out."""
    environment = Environment(
        loader=PackageLoader("realm.evaluate", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    figures = {
        "accuracy": accuracy_figure(results),
        "tokens": token_figure(results),
        "ablations": ablation_figure(results),
    }
    page = environment.get_template("compare.html").render(
        words=words,
        tables=tables,
        findings=findings,
        results=results,
        figures={name: figure and Markup(figure) for name, figure in figures.items()},
        families=tables.families_of(results),
        settings=[
            ("command", f"realm compare {config.source}"),
            ("model", config.model),
            ("domain", config.domain.kind),
            ("seeds", ", ".join(map(str, sorted({row["seed"] for row in results["budgets"]})))),
            (
                "decoding",
                f"greedy, up to {config.evaluate.max_new_tokens} new tokens; samples at temperature 1",
            ),
        ],
        plotly=Markup(plotly_script()),
    )
    write_text(folder / "report.html", page)
