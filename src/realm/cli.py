"""The command line: one function per verb, whose docstring is its help text."""

from __future__ import annotations

import shlex
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from realm.cli_support import (
    DryRun,
    add_run_verb,
    add_verb,
    app,
    do_stage,
    name_column,
    print_line,
    print_plan,
    read_question,
    require_name,
)
from realm.core.errors import RealmError, make_printable, mask_secrets
from realm.core.settings import MAX_SEED

if TYPE_CHECKING:
    from realm.run import Run


def main() -> None:
    """Run the command line. A bug of ours shows its traceback, with all keys masked."""
    try:
        app(prog_name="realm")
    except Exception:
        sys.exit(mask_secrets(traceback.format_exc()))


@add_verb("init")
def init_domain(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            file_okay=False,
            help="Directory to create the files in.",
            show_default="this folder",
        ),
    ] = Path(),
) -> None:
    """Write a small example domain to start from.

    \b
    Reads:    nothing
    Writes:   problems.csv, rules.md, outputs.jsonl, outputs_held_out.jsonl,
              config.yaml, teacher.yaml; never over an existing file
    Costs:    nothing
    Example:  realm init my_domain
    """
    from realm.scaffold import write_scaffold

    write_scaffold(folder)
    config = shlex.quote(str(folder / "config.yaml"))
    typer.echo(
        f"Wrote an example domain to {folder}. Next:\n\n"
        f"  realm run {config}                  what the outputs are worth, in seconds\n"
        f"  realm run {config} --set model=...  train a model: a folder or a hub id"
    )


@add_verb("import")
def import_outputs(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE", help="Files or datasets; NAME=FILE names the author of the outputs."
        ),
    ],
    question: Annotated[str | None, name_column("the question")] = None,
    answer: Annotated[str | None, name_column("the gold answer")] = None,
    outputs: Annotated[str | None, name_column("a model's output, or a list of them")] = None,
    source: Annotated[
        str | None, name_column("the author of the output", "none: NAME, or the file's name")
    ] = None,
    identity: Annotated[
        str | None,
        typer.Option(
            "--id",
            metavar="COL",
            help="Column that identifies a problem, or a template such as "
            '"{table} {question}".  [default: the question]',
        ),
    ] = None,
    problems: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Questions and gold answers, if the files of outputs hold none."
        ),
    ] = None,
    kind: Annotated[
        Literal["text", "label", "number", "math", "set", "json"],
        typer.Option(
            metavar="KIND", help="Kind of the answers: text, label, number, math, set or json."
        ),
    ] = "text",
    run: Annotated[
        Path | None,
        typer.Option(
            "--run",
            metavar="DIR",
            file_okay=False,
            callback=require_name,
            help="The run folder.  [default: runs/ and what the file names have in common]",
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with code 2 if a row cannot be used.")
    ] = False,
    dry_run: DryRun = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an existing config that differs.")
    ] = False,
) -> None:
    """Import answers that models already wrote, mark each one right or wrong, and measure them.

    \b
    Reads:    JSON, CSV, Excel, Parquet, logs of evaluations, or hub:owner/name:split
    Writes:   RUN/config.yaml, RUN/problems.jsonl, RUN/routes.jsonl, RUN/bank.json
    Costs:    seconds to minutes; no model is called
    Example:  realm import gpt-4o=a.jsonl.gz llama=b.jsonl.gz --outputs answers --kind set
    """
    from realm.config import load_config
    from realm.run import Run
    from realm.scaffold.columns import ImportOptions
    from realm.scaffold.import_plan import default_folder, plan_import, write_config

    folder = run or default_folder(files)
    columns = {"question": question, "answer": answer, "outputs": outputs, "source": source}
    options = ImportOptions(**columns, id=identity, problems=problems, kind=kind, strict=strict)
    plan = plan_import(files, options, folder)
    path = folder / "config.yaml"
    print_line("columns", plan.summary)
    if dry_run:
        print_line("config", f"would write {path}:\n\n{plan.render_config()}")
        return
    is_new = write_config(plan, path, force=force)
    try:
        imported = Run(folder, load_config(path))
        print_line("config", str(path))
        imported.data()
        imported.routes()
    except RealmError:
        if is_new:
            path.unlink()  # it would stand in the way of the corrected command
        raise
    typer.echo(f"\nnext:  realm eval {shlex.quote(str(path))}")


@add_run_verb("data")
def write_problems(run: Run, dry_run: bool, force: bool) -> None:
    """Write the problems of the domain, with their splits and gold answers.

    \b
    Reads:    the config, and the files that its `domain` names
    Writes:   RUN/problems.jsonl, and RUN/rules.md if the domain has a rule book
    Costs:    seconds
    Example:  realm data configs/demo.yaml --set domain.settings.sizes.train=500
    """
    do_stage(run, "data", dry_run, force)


@add_run_verb("routes")
def collect_routes(run: Run, dry_run: bool, force: bool) -> None:
    """Collect routes (chains of thought by others) for each problem and label them.

    \b
    Reads:    RUN/problems.jsonl; `routes.files`, or the guide for teachers
    Writes:   RUN/routes.jsonl, RUN/bank.json; RUN/teacher.sqlite with all replies
    Costs:    seconds; with teachers what they charge: --dry-run estimates it, and
              routes.budget_usd caps it
    Example:  realm routes configs/demo.yaml
    """
    do_stage(run, "routes", dry_run, force)


@add_run_verb("distill")
def distill_model(run: Run, dry_run: bool, force: bool) -> None:
    """Train the model on the teacher's right chains, without the rules in the prompt.

    \b
    Reads:    RUN/problems.jsonl, RUN/routes.jsonl, the model of the config
    Writes:   RUN/sft.jsonl, RUN/distilled/
    Costs:    minutes for the bundled model on a CPU, a GPU for a real one
    Example:  realm distill configs/demo.yaml --set distill.sft.learning_rate=1e-3
    """
    do_stage(run, "distill", dry_run, force)


@add_run_verb("train")
def train_model(run: Run, dry_run: bool, force: bool) -> None:
    """Train with reinforcement learning on prompts whose routes fade out.

    \b
    Reads:    RUN/problems.jsonl, RUN/routes.jsonl, RUN/distilled/ (the config's
              model with recipe: zero)
    Writes:   RUN/model/, RUN/fade.jsonl, RUN/headroom.json, RUN/rollouts/
    Costs:    the longest stage: minutes for the bundled model on a CPU, GPU hours
              for a real one
    Example:  realm train configs/demo.yaml --set train.fade.kind=cosine
    """
    do_stage(run, "train", dry_run, force)


@add_run_verb("eval")
def evaluate_models(run: Run, dry_run: bool, force: bool) -> None:
    """Evaluate the models and the routes, and print the results.

    Each model answers with and without routes in its prompt. Without a model, only the routes are
    evaluated, on all problems.

    \b
    Reads:    RUN/problems.jsonl, RUN/routes.jsonl, the model, and RUN/distilled/
              and RUN/model/ if they exist
    Writes:   RUN/results.json, RUN/answers.jsonl
    Costs:    one answer per model, mode and problem
    Example:  realm eval configs/demo.yaml --set evaluate.limit.test=200
    """
    do_stage(run, "eval", dry_run, force)
    if not dry_run:
        _print_results(run)


@add_run_verb("report")
def write_report(run: Run, dry_run: bool, force: bool) -> None:
    """Write the results, the training curves and example answers to a page that opens offline.

    \b
    Reads:    RUN/bank.json, RUN/results.json, RUN/answers.jsonl, and RUN/fade.jsonl
              and RUN/headroom.json if they exist
    Writes:   RUN/report.html
    Costs:    seconds
    Example:  realm report configs/demo.yaml
    """
    do_stage(run, "report", dry_run, force)


@add_run_verb("run")
def run_all(run: Run, dry_run: bool, force: bool) -> None:
    """Run all stages in order, skip those that are up to date, and print the results.

    \b
    Reads:    the config and the files that it names
    Writes:   all files of the run folder
    Costs:    the sum of the stages; --dry-run shows which ones are left
    Example:  realm run configs/demo.yaml
    """
    if dry_run:
        for stage in run.stages:
            print_plan(run, stage, force)
        run.check_stages(run.stages, force=force)
        return
    run.run_all(force=force)
    made = {
        "run folder": run.folder,
        "model": run.path("model"),
        "report": run.path("report.html"),
    }
    lines = [f"{name:<11} {path}" for name, path in made.items() if path.exists()]
    typer.echo("\n" + "\n".join(lines) + "\n")
    _print_results(run)


@add_run_verb("compare")
def compare_methods(run: Run, dry_run: bool, force: bool) -> None:
    """Compare methods over several seeds with equal budgets, and test the claims.

    \b
    Reads:    the config and its section `compare`; docs/compare.md lists the methods
    Writes:   RUN/cells/METHOD-SEED/, RUN/results.json, RUN/report.html
    Costs:    seeds x methods trainings; finished ones are kept, and the remaining
              time is printed after each
    Example:  realm compare configs/compare.yaml --set compare.seeds=2
    """
    from realm.evaluate.compare import run_comparison
    from realm.evaluate.report.tables import print_results

    if not dry_run:
        run.check_folder("compare", force=force)
    results = run_comparison(run, dry_run=dry_run, force=force)
    if results is not None:
        print_results(results)
        typer.echo(f"\nresults  {run.path('results.json')}\nreport   {run.path('report.html')}")


@add_verb("ask")
def ask_model(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A run folder, a model folder, a GGUF file or a hub id."
        ),
    ],
    question: Annotated[
        str, typer.Argument(metavar="QUESTION", help="The question; - reads standard input.")
    ],
    self_routes: Annotated[
        int,
        typer.Option(
            metavar="K",
            min=0,
            help="Sample K answers first and have the model verify them before answering.",
        ),
    ] = 0,
    max_new_tokens: Annotated[
        int, typer.Option(metavar="N", min=1, help="Maximum length of a completion.")
    ] = 512,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, max=MAX_SEED, help="Seed of the sampling.")
    ] = 7,
) -> None:
    """Ask a model one question, optionally with its own samples as routes.

    \b
    Reads:    a run folder (its model/), a model folder in it, or any other model
    Writes:   nothing; the answer is printed
    Costs:    one completion, and K more with --self-routes K
    Example:  realm ask runs/demo "A gold member had a scan. ..." --self-routes 4
    """
    from realm.ask import ask_question

    reply = ask_question(
        model,
        read_question(question),
        self_routes=self_routes,
        max_new_tokens=max_new_tokens,
        seed=seed,
    )
    typer.echo(make_printable(reply.describe()))


def _print_results(run: Run) -> None:
    from realm.evaluate.report.tables import print_results
    from realm.evaluate.results import read_results

    print_results(read_results(run.folder))
