"""The verbs to start with: `init` and `import` write a config, `doctor` checks it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from realm.cli.app import add_verb
from realm.cli.options import DryRun, Overrides, RunFolder, name_column, require_name
from realm.cli.plan import print_line
from realm.core.errors import RealmError


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
    example: Annotated[
        Literal["own_domain", "claims"],
        typer.Option(
            metavar="NAME",
            help="own_domain: files to replace by your own. claims: the demo, a domain in Python "
            "with the bundled model.",
        ),
    ] = "own_domain",
) -> None:
    """Write a small example domain to start from.

    \b
    Reads:    nothing
    Writes:   problems.csv, rules.md, outputs.jsonl, outputs_held_out.jsonl,
              config.yaml, teacher.yaml, config.schema.json (for editors);
              with --example claims configs/, examples/claims/ and models/base-1m/;
              never over an existing file
    Costs:    nothing
    Example:  realm init my_domain
    """
    from realm.scaffold import write_scaffold

    write_scaffold(folder, example)
    if example == "claims":
        config = shlex.quote(str(folder / "configs/demo.yaml"))
        advice = f"  realm run {config}   as `realm demo`, with files that you can change"
    else:
        config = shlex.quote(str(folder))
        advice = (
            f"  realm run {config}                       what the outputs are worth, in seconds\n"
            f"  realm run {config} --set model=base-1m   train the bundled model, in minutes\n"
            f"  realm run {config} --set model=...       train any other: a folder or a hub id"
        )
    place = "this folder" if folder == Path() else folder
    typer.echo(f"Wrote an example domain to {place}. Next:\n\n{advice}")


@add_verb("import", continues=True)
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
    Writes:   RUN/config.yaml (and config.schema.json, for editors),
              RUN/problems.jsonl, RUN/routes.jsonl, RUN/bank.json
    Costs:    seconds to minutes; no model is called
    Example:  realm import gpt-4o=a.jsonl.gz llama=b.jsonl.gz --outputs answers --kind set
    """
    from realm.config import load_config
    from realm.run import Run
    from realm.scaffold.columns import ImportOptions
    from realm.scaffold.import_plan import (
        SCHEMA_NAME,
        default_folder,
        plan_import,
        write_config,
    )

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
            for name in (path.name, SCHEMA_NAME):
                (folder / name).unlink()  # they would stand in the way of the corrected command
        raise
    typer.echo(f"\nnext:  realm eval {shlex.quote(str(path))}")


@add_verb("doctor")
def examine(
    config: Annotated[
        Path | None,
        typer.Argument(
            metavar="CONFIG", help="A config or run folder to check as well.", show_default=False
        ),
    ] = None,
    run: RunFolder = None,
    set_: Overrides = None,
    speed: Annotated[
        bool,
        typer.Option(
            "--speed", help="Load the model, measure its speed here, and say how long stages take."
        ),
    ] = False,
) -> None:
    """Find what would stop a run here before it starts, and say how to mend it.

    Checks Python, torch, devices, memory, disk, packages and the hub; of a config also the data,
    the model, the teachers, the settings of all stages, and what they would cost. With --speed
    also how long distillation, reinforcement learning and evaluation would take on this machine.

    \b
    Reads:    the config and the files that it names; the weights with --speed only
    Writes:   nothing
    Costs:    seconds; one reply of at most 16 tokens by each teacher of kind api
    Example:  realm doctor configs/demo.yaml
    """
    from realm.doctor.config import examine_config
    from realm.doctor.machine import examine_hub, examine_machine, examine_packages

    findings = [*examine_machine(run or Path()), *examine_packages()]
    findings.append(examine_hub(None))
    for finding in findings:
        typer.echo(finding.describe())
    found = examine_config(config, set_ or [], run, measure_speed=speed) if config else ()
    for finding in found:
        findings.append(finding)
        typer.echo(finding.describe())
    num_problems = sum(finding.is_problem for finding in findings)
    num_notes = sum(bool(finding.fix) for finding in findings if not finding.is_problem)
    typer.echo(f"\nproblems: {num_problems}, notes: {num_notes}")
    if num_problems:
        raise typer.Exit(2)
