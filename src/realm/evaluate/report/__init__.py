"""Write report.html: one file that opens offline and shows what a run found, and how the model answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from realm.core.jsonl import read_jsonl, read_problems, read_routes, write_text
from realm.evaluate import results as words
from realm.evaluate.report.figures import (
    accuracy_figure,
    fade_figure,
    length_figure,
    plotly_script,
    verdict_figure,
)
from realm.evaluate.report.transcripts import pick_transcripts

if TYPE_CHECKING:
    from realm.run import Run

__all__ = ["run_report"]


def run_report(run: Run) -> None:
    """Render results, training curves and transcripts of `run` to report.html; parts that the run does not have are left out."""
    config = run.config
    results = words.read_results(run)
    bank = json.loads(run.path("bank.json").read_text(encoding="utf-8"))["sources"]
    fade = read_jsonl(run.path("fade.jsonl")) if run.path("fade.jsonl").exists() else []
    headroom = (
        json.loads(run.path("headroom.json").read_text(encoding="utf-8"))
        if run.path("headroom.json").exists()
        else {}
    )
    transcripts = pick_transcripts(
        read_jsonl(run.path("answers.jsonl")),
        {problem.id: problem for problem in read_problems(run.path("problems.jsonl"))},
        read_routes(run.path("routes.jsonl")),
        count=config.report.transcripts,
        show=run.domain.verifier.render,
    )
    page = _template().render(
        words=words,
        results=results,
        warnings=[
            warning for warning in (words.unsolved(results), words.left_out(results)) if warning
        ],
        tables=[(split, words.ordered(results, split)) for split in words.splits_of(results)],
        assisted=[row for row in results["evaluations"] if row["mode"] == "assisted"],
        figures={
            "accuracy": Markup(accuracy_figure(results)),
            "fade": Markup(fade_figure(fade)) if fade else None,
            "verdicts": Markup(verdict_figure(results)),
            "lengths": Markup(length_figure(bank)),
        },
        has_model=config.model is not None,
        bank=bank,
        held_out=config.routes.held_out,
        alarms=[(row["step"], alarm) for row in fade for alarm in row.get("alarms", [])],
        headroom=list(_headroom_rows(headroom)),
        transcripts=transcripts,
        settings=_settings(run),
        plotly=Markup(plotly_script()),
    )
    write_text(run.path("report.html"), page)


def _template() -> Any:
    """Return the page's template; everything put into it is escaped, since most of it was written by models."""
    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html")


def _headroom_rows(headroom: dict[str, Any], prefix: str = "") -> Any:
    """Yield (name, value) of every figure in headroom.json; shares as percent."""
    for name, value in headroom.items():
        if isinstance(value, dict):
            yield from _headroom_rows(value, f"{prefix}{name} ")
        elif isinstance(value, float) and 0 <= value <= 1:
            yield f"{prefix}{name}".replace("_", " "), f"{100 * value:.1f}%"
        elif isinstance(value, int | float | str):
            yield f"{prefix}{name}".replace("_", " "), f"{value}"


def _settings(run: Run) -> list[tuple[str, str]]:
    """Return what leads from a figure back to a command: run, config, model, seed, commit."""
    config, manifest = run.config, run.manifest()
    versions = manifest.get("versions", {})
    rows = [
        ("run", run.folder.resolve().name),
        ("command", f"realm run {config.source}"),
        ("model", config.model or "none"),
        ("recipe", config.recipe),
        ("domain", config.domain.kind),
        ("seed", str(config.seed)),
    ]
    if config.model:
        rows.append(("decoding", f"greedy, up to {config.evaluate.max_new_tokens} new tokens"))
    if manifest.get("commit"):
        rows.append(("commit", manifest["commit"][:12]))
    rows += [
        (name, versions[name]) for name in ("torch", "transformers", "trl") if name in versions
    ]
    return rows
