"""The page report.html: one file that opens offline, for a run or for a comparison.

Each section of page.html appears if what it shows was measured. To add one, write it there and
give it its values here.
"""

from __future__ import annotations

import hashlib
import shlex
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from realm.core.jsonl import (
    explain_damage,
    read_json,
    read_jsonl,
    read_problems,
    read_routes,
    write_text,
)
from realm.evaluate.results import Results, read_results
from realm.sampling import Answer

if TYPE_CHECKING:
    from realm.run import Run


def run_report(run: Run) -> None:
    """Write report.html of a run: results, training curves, every problem with its answers."""
    from realm.evaluate.report import charts
    from realm.evaluate.report.browse import make_browser

    results = read_results(run.folder)
    with explain_damage(path := run.path("bank.json"), "routes"):
        bank = read_json(path, "routes")["sources"]
        lengths = charts.draw_lengths(bank) if bank else None
    # This and headroom.json: only where there was training.
    with explain_damage(path := run.path("fade.jsonl"), "train"):
        rows = read_jsonl(path) if path.exists() else []
        fade = charts.draw_fade(rows) if rows else None
        alarms = [(row["step"], alarm) for row in rows for alarm in row.get("alarms", [])]
    with explain_damage(path := run.path("headroom.json"), "train"):
        measured = dict(read_json(path, "train").items()) if path.exists() else {}
        forecast = measured.pop("forecast", None)
        headroom = list(_list_figures(measured))
    problems = {problem.id: problem for problem in read_problems(run.path("problems.jsonl"))}
    routes = read_routes(run.path("routes.jsonl"))
    with explain_damage(path := run.path("answers.jsonl"), "eval"):
        answers = [Answer.from_row(row) for row in read_jsonl(path)]
        browser = make_browser(
            answers,
            problems,
            routes,
            held_out=run.config.routes.held_out,
            render=run.domain.verifier.render,
        )
    _write_page(
        run,
        results,
        bank=bank,
        lengths=lengths,
        fade=fade,
        alarms=alarms,
        headroom=headroom,
        forecast=forecast,
        browser=browser,
    )


def write_comparison_page(run: Run, results: Results) -> None:
    """Write report.html of a comparison."""
    from realm.evaluate.report import charts

    tokens, ablations = charts.draw_tokens(results), charts.draw_ablations(results)
    _write_page(run, results, tokens=tokens, ablations=ablations)


def _write_page(run: Run, results: Results, **sections: Any) -> None:
    """Render the template. It escapes all values, since models and users wrote most of them."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from realm.evaluate.report import charts, tables, words
    from realm.evaluate.report.browse import TAGS
    from realm.evaluate.report.plots import name_colour

    environment = Environment(
        loader=PackageLoader("realm.evaluate", "report"),
        autoescape=True,
        undefined=StrictUndefined,  # a misspelt name in the template is an error
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # All sections are named, since StrictUndefined refuses one that is merely absent.
    optional = ("bank", "lengths", "fade", "alarms", "headroom", "forecast", "browser", "tokens",
                "ablations")  # fmt: skip
    # Rows of methods that were asked for verdicts on the routes.
    judged = [row for split in results.splits for row in results.list_rows(split)]
    judged = [row for row in judged if "verdict_accuracy" in row.figures]
    assert environment.loader is not None
    script, _, _ = environment.loader.get_source(environment, "page.js")
    script_hash = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = environment.get_template("page.html").render(
        {name: None for name in optional} | sections,
        words=words,
        tables=tables,
        results=results,
        has_model=run.config.model is not None,
        accuracy=charts.draw_accuracies(results),
        judged=judged,
        verdicts=charts.draw_verdicts(results) if judged else None,
        probe=charts.draw_probes(results) if results.probes else None,
        held_out=run.config.routes.held_out,
        settings=_list_settings(run, results),
        colour=name_colour,
        tags=TAGS,
        page_size=run.config.report.transcripts,
        script=script,
        # The only script that a browser may run on this page, whatever models and users wrote.
        script_hash=f"sha256-{script_hash}",
    )
    write_text(run.path("report.html"), page)


def _list_figures(headroom: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (name, value) of every figure in headroom.json; shares as percent."""
    for name, value in headroom.items():
        title = f"{prefix}{name}".replace("_", " ")
        if isinstance(value, dict):
            yield from _list_figures(value, f"{prefix}{name} ")
        elif name.endswith(("loss", "variance")) and value is not None:
            yield title, f"{value:.3f}"
        elif isinstance(value, float) and 0 <= value <= 1:  # counts are integers
            yield title, f"{100 * value:.1f}%"
        elif isinstance(value, int | float | str) and not isinstance(value, bool):
            # The forecast says in words whether gains are likely.
            yield title, f"{value}"


def write_command(run: Run, verb: str) -> str:
    """Return the command that repeats a run, as a shell reads it in any folder."""
    config = run.config
    places = [str(config.source.absolute()), "--run", str(run.folder.absolute())]
    overrides = [part for override in config.overrides for part in ("--set", override)]
    return shlex.join(["realm", verb, *places, *overrides])


def _list_settings(run: Run, results: Results) -> list[tuple[str, str]]:
    """Return what leads from a figure back to a command."""
    config, manifest = run.config, run.manifest()
    seeds = dict.fromkeys(str(row.seed) for row in results.evaluations if row.seed is not None)
    verb = "compare" if results.methods else "run"
    versions = manifest.get("versions", {})
    rows = {
        "run": run.folder.resolve().name,
        "command": write_command(run, verb),
        "model": config.model or "none",
        "recipe": config.recipe,
        "domain": config.domain.kind,
        "seed": ", ".join(seeds),
        "decoding": f"greedy, up to {config.evaluate.max_new_tokens} new tokens; samples at "
        "temperature 1",
        "commit": (manifest.get("commit") or "")[:12],
        **{name: versions.get(name, "") for name in ("torch", "transformers", "trl")},
    }
    if config.model is None:
        del rows["decoding"]
    return [(name, value) for name, value in rows.items() if value]
