"""Run a stage, print what it would do, and print results."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from realm.core.errors import make_printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from realm.config import Config
    from realm.run import Run
    from realm.study.search import Search

logger = logging.getLogger(__name__)


def do_stage(run: Run, stage: str, dry_run: bool, force: bool) -> None:
    """Run one stage, or print what it would do."""
    if stage in ("distill", "train"):
        run.config.resolve_model()  # as a part of `realm run` it is skipped without a model
    if outdated := run.find_outdated(stage):
        logger.warning(
            "realm: %s: made with other settings or inputs, or changed since; `realm run` brings "
            "all up to date.",
            ", ".join(outdated),
        )
    if dry_run:
        print_plan(run, stage, force)
    run.check_stages([stage], force=force)
    if not dry_run:
        run.do(stage, force=force)


def print_plan(run: Run, stage: str, force: bool) -> None:
    """Print what `stage` would do, and what it would cost."""
    from realm.domains.corrections import CORRECTIONS

    outdated = [] if force else run.find_outdated(stage)
    if not run.has_stage(stage) or (not force and not outdated and run.is_done(stage)):
        run.do(stage)  # only logs that there is nothing to do
        return
    if not force and run.is_done(stage):
        print_line(stage, f"will run again if its inputs change: {', '.join(outdated)} will run")
        return
    # A person makes the corrections, so they are named only if there are any.
    is_corrected = run.path(CORRECTIONS).exists()
    names = [one for one in run.input_names(stage) if is_corrected or CORRECTIONS not in one]
    inputs = _list_names(names) or "the config"
    print_line(stage, f"would run: {inputs} -> {_list_names(run.stages[stage].outputs)}")
    estimate = run.stages[stage].estimate
    if estimate and (cost := estimate(run)):
        typer.echo(cost)


def print_line(name: str, text: str) -> None:
    typer.echo(make_printable(f"{name:<8} {text}"))


def _list_names(names: tuple[str, ...] | list[str]) -> str:
    """Return names of the run folder in one line, optional ones in brackets."""
    return ", ".join(f"[{name.rstrip('?')}]" if name.endswith("?") else name for name in names)


def show_problems(run: Run) -> None:
    """Print what the problems of a run are, and how many rows were left out or repeat one."""
    from realm.core.jsonl import read_problems
    from realm.domains.corrections import CORRECTIONS
    from realm.domains.summary import summarize_problems

    path = run.path("problems.jsonl")
    figures = run.manifest()["stages"]["data"].get("figures", {})
    names = {
        "rows_left_out": "rows left out",
        "rows_repeated": "rows that repeat a problem",
        "corrections": f"problems corrected or left out ({CORRECTIONS})",
    }
    for name, words in names.items():
        if figures.get(name):
            print_line("data", f"{words}: {figures[name]:,}")
    summary = summarize_problems(
        read_problems(path), run.domain.verifier, load_token_counter(run.config)
    )
    typer.echo(f"\n{summary}")


def load_token_counter(config: Config) -> Callable[[Sequence[str]], list[int]] | None:
    """Return a function that counts tokens; None if the model is not a folder with a tokenizer.

    It loads no model library.
    """
    path = config.find_model_path(config.model) / "tokenizer.json" if config.model else None
    if path is None or not path.is_file():
        return None
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception:  # it raises no narrower one; the stages with a model explain a broken folder
        return None
    return lambda texts: [len(one) for one in tokenizer.encode_batch(list(texts))]


def show_results(run: Run) -> None:
    from realm.evaluate.report.tables import print_results
    from realm.evaluate.results import read_results

    print_results(read_results(run.folder))


def show_run_comparison(folders: Sequence[Path], model: str | None) -> None:
    """Print how finished runs differ: in accuracy, tokens and settings."""
    from realm.evaluate.report.tables import make_table, print_results, print_tables
    from realm.study.finished import compare_runs

    comparison = compare_runs(folders, model)
    for run in comparison.runs:
        trained = f", trained in {run.seconds / 60:,.1f} min" if run.seconds else ""
        print_line(run.name, f"{run.model} of {run.folder}{trained}")
    typer.echo()
    print_results(comparison.results)
    names = [run.name for run in comparison.runs]
    rows = [
        {"setting": setting, **dict(zip(names, values, strict=True))}
        for setting, values in comparison.differing.items()
    ]
    print_tables([make_table("settings that differ", rows, is_text=True)])
    if not rows:
        typer.echo("All settings are the same.")
    for note in comparison.notes:
        typer.echo(make_printable(f"note: {note}"))


def show_search(search: Search, run: Run) -> None:
    """Print what a search has tried, whether anything beats the config, and how to run that."""
    from realm.evaluate.report.tables import make_table, print_tables
    from realm.evaluate.report.words import format_p, with_interval

    start, gain = search.trials[0], search.gain
    rows = []
    for number, trial in sorted(enumerate(search.trials, 1), key=lambda one: -one[1].accuracy):
        compared = search.comparisons[number - 2] if number > 1 else None
        interval = with_interval(compared.difference, compared.ci95, True) if compared else ""
        rows.append(
            {
                "trial": str(number),
                "accuracy": with_interval(trial.accuracy, trial.ci95),
                "difference": interval,
                "p": format_p(compared) if compared else "",
                "settings": trial.error or trial.describe(start),
            }
        )
    title = f"{len(start.right):,} validation problems, alone, in percent with 95% intervals"
    caption = "difference: from trial 1, the config as it is; p: corrected for the number of trials"
    print_tables([make_table(title, rows, caption, is_text=True)])
    typer.echo(f"{len(search.trials)} trials took {search.seconds / 60:.1f} min.")
    if gain is None:
        typer.echo("No trial was better than the config as it is. Keep it.")
        return
    found = f"{with_interval(gain.difference, gain.ci95, True)} points"
    if search.is_better:
        typer.echo(
            f"The best settings beat the config by {found}. They are the best of "
            f"{len(search.trials)} and owe a part of that to luck: `realm run` tells on the test "
            "problems."
        )
    else:
        typer.echo(
            f"Nothing beat the config beyond chance. Keep it: the best trial is {found} from it, "
            f"{gain.finding}. More --minutes or more validation problems may tell."
        )
    typer.echo("\nThe best trial differs in:\n")
    for name, value in search.changed.items():
        typer.echo(f"  {name}: {start.settings[name]} -> {value}")
    command = ["realm", "run", str(run.config.source)]
    if run.folder != run.config.run_folder():
        command += ["--run", str(run.folder)]
    for override in (*run.config.overrides, *search.best.list_overrides(start)):
        command += ["--set", override]
    typer.echo(make_printable(f"\n  {shlex.join(command)}"))
