"""The command line: a verb reads the config, runs one stage or all of them, and prints what came of it."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from realm.config.root import load_config
from realm.core.errors import RealmError, mask_secrets
from realm.run import STAGES, Run
from realm.scaffold import write_scaffold
from realm.sources.import_plan import Wishes, default_folder, plan_import, write_config
from realm.train.rounds import next_round
from realm.verbs import HELP

app = typer.Typer(
    name="realm",
    help="Teach a small language model to reason in your domain by itself.\n\n"
    "`realm run CONFIG` does all stages in order: data, routes, distill, train, eval, report. Each is also a verb of its own. "
    "What is done is skipped; what was interrupted continues. `realm init` and `realm import` write a config to start from.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

LONG_STAGES = ("distill", "train")

ConfigPath = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="The settings, a YAML file.", show_default=False)
]
RunFolder = Annotated[
    Path | None,
    typer.Option(
        "--run",
        metavar="DIR",
        file_okay=False,
        help="The run folder.  [default: the config's `run`, or runs/NAME]",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override one setting, as train.fade.kind=cosine; repeatable.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and stop.")]
Force = Annotated[bool, typer.Option("--force", help="Do it again even where it is done.")]


def _column(what: str, default: str) -> typer.models.OptionInfo:
    """Return the option that names a column."""
    return typer.Option(metavar="COL", help=f"Which column holds {what}.  [default: {default}]")


IDENTITY = typer.Option(
    "--id",
    metavar="COL",
    help='What tells problems apart: a column, or several as "{table} {question}".  [default: the question]',
)
IMPORT_FOLDER = typer.Option(
    "--run",
    metavar="DIR",
    file_okay=False,
    help="The run folder.  [default: runs/ and what the files' names have in common]",
)


def main() -> None:
    """Run the command line. An error of ours shows its whole traceback, but no key that an exception's text may hold."""
    try:
        app(prog_name="realm")
    except Exception:
        sys.exit(mask_secrets(traceback.format_exc()))


@contextmanager
def told_plainly() -> Iterator[None]:
    """Turn a user's mistake into one message and exit code 2, and Ctrl-C into one line and exit code 1."""
    try:
        yield
    except RealmError as error:
        typer.echo(f"realm: {error}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        typer.echo("\nrealm: interrupted; the same command continues.", err=True)
        raise typer.Exit(1) from None


def _set_environment() -> None:
    """Say to the libraries below, before they load: send and say nothing unasked, and let waiting threads sleep.

    By default a thread that waits for another spins, which on a machine with other work makes small steps ten times as long.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    _show_log()


class _Output(logging.StreamHandler):
    """Write records to what is standard output now, which tests replace."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr if record.levelno >= logging.WARNING else sys.stdout
        super().emit(record)


def _show_log() -> None:
    """Show the log of the package as plain lines: INFO on standard output, warnings on standard error."""
    logger = logging.getLogger("realm")
    if not any(isinstance(handler, _Output) for handler in logger.handlers):
        logger.addHandler(_Output())
        logger.setLevel(logging.INFO)
        logger.propagate = False


def _add_verb(verb: str, body: Callable[[Run, bool, bool], None]) -> None:
    def command(
        config: ConfigPath,
        run: RunFolder = None,
        set_: Overrides = None,
        dry_run: DryRun = False,
        force: Force = False,
    ) -> None:
        with told_plainly():
            _set_environment()
            settings = load_config(config, set_ or [])
            body(Run(run or settings.run_folder(), settings), dry_run, force)

    _register(verb, command)


def _register(verb: str, command: Callable[..., None]) -> None:
    what, facts, example = HELP[verb]
    table = "\n".join(f"  {name:<7} {text}" for name, text in facts.items())
    app.command(verb, help=f"{what}\n\n\b\n{table}\n\nexample:  {example}", short_help=what)(
        command
    )


def run_stage(run: Run, stage: str, *, dry_run: bool, force: bool) -> None:
    """Run one stage unless it is up to date; with `dry_run` print what it would do."""
    if not dry_run or not run.has_stage(stage) or (not force and run.is_done(stage)):
        run.do(stage, force=force)
        return
    inputs = _listed(run.input_names(stage)) or "the config"
    _say(stage, f"would run: {inputs} -> {_listed(run.stages[stage].outputs)}")
    estimate = run.stages[stage].estimate
    if estimate and (cost := estimate(run)):
        typer.echo(cost)


def _one_stage(stage: str) -> Callable[[Run, bool, bool], None]:
    def body(run: Run, dry_run: bool, force: bool) -> None:
        if stage in LONG_STAGES:
            run.config.resolve_model()
        _warn_of_outdated(run, stage)
        run_stage(run, stage, dry_run=dry_run, force=force)
        if stage == "eval" and not dry_run:
            _print_results(run)

    return body


def _all_stages(run: Run, dry_run: bool, force: bool) -> None:
    for stage in STAGES:
        if stage == LONG_STAGES[0] and not dry_run:
            _check_long_stages(run, force)
        run_stage(run, stage, dry_run=dry_run, force=force)
    for number in range(2, run.config.rounds + 1):
        run = next_round(run, number)
        typer.echo(
            f"round {number} of {run.config.rounds}, in {run.folder}: routes of the policy's own"
        )
        for stage in run.stages:
            run_stage(run, stage, dry_run=dry_run, force=force)
    if not dry_run:
        made = {
            "run folder": run.folder,
            "model": run.path("model"),
            "report": run.path("report.html"),
        }
        typer.echo(
            "\n" + "".join(f"{name:<11} {path}\n" for name, path in made.items() if path.exists())
        )
        _print_results(run)


def _check_long_stages(run: Run, force: bool) -> None:
    """Let the long stages that are left look at their settings and the model: a mistake must not show after hours."""
    left = [
        stage for stage in LONG_STAGES if run.has_stage(stage) and (force or not run.is_done(stage))
    ]
    if left:
        _say("check", f"model, routes and settings of {' and '.join(left)}")
        import_module("realm.sources.routes").require_routes(run)
    for stage in left:
        if check := run.stages[stage].check:
            check(run)


def _init(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", file_okay=False, help="Where to.", show_default="this folder"
        ),
    ] = Path(),
) -> None:
    with told_plainly():
        write_scaffold(folder)
    typer.echo(f"wrote the files of a small domain to {folder}; next:\n")
    config = folder / "config.yaml"
    typer.echo(f"  realm run {config}                  what the outputs are worth, in seconds")
    typer.echo(
        f"  realm run {config} --set model=...  a small model taught by them; a folder or a hub id"
    )


def _import(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE",
            help="Files or data sets; NAME=FILE says who wrote the outputs.",
            show_default=False,
        ),
    ],
    question: Annotated[str | None, _column("the question", "its usual names")] = None,
    answer: Annotated[str | None, _column("the gold answer", "its usual names")] = None,
    outputs: Annotated[
        str | None, _column("a model's output, or a list of outputs", "its usual names")
    ] = None,
    source: Annotated[
        str | None, _column("who wrote the output", "none: NAME, or the file's name")
    ] = None,
    id_: Annotated[str | None, IDENTITY] = None,
    kind: Annotated[
        str,
        typer.Option(
            metavar="KIND", help="How answers are compared: text, label, number, math, set or json."
        ),
    ] = "text",
    run: Annotated[Path | None, IMPORT_FOLDER] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="A row that cannot be used is an error, exit code 2.")
    ] = False,
    dry_run: DryRun = False,
    force: Annotated[
        bool, typer.Option("--force", help="Write the config anew where it says something else.")
    ] = False,
) -> None:
    with told_plainly():
        _set_environment()
        folder = run or default_folder(files)
        wishes = Wishes(
            question=question,
            answer=answer,
            outputs=outputs,
            source=source,
            id=id_,
            kind=kind,
            strict=strict,
        )
        plan, path = plan_import(files, wishes, folder), folder / "config.yaml"
        _say("columns", plan.taken)
        if dry_run:
            _say("config", f"would write {path}:\n\n{plan.text()}")
            return
        is_new = write_config(plan, path, force=force)
        try:
            imported = Run(folder, load_config(path))
            _say("config", str(path))
            for stage in ("data", "routes"):
                run_stage(imported, stage, dry_run=False, force=False)
        except RealmError:
            if is_new:
                path.unlink()
            raise
    typer.echo(f"\nnext:  realm eval {path}")


def _ask(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A run folder, a model folder or a hub id.", show_default=False
        ),
    ],
    question: Annotated[
        str,
        typer.Argument(metavar="QUESTION", help="The question; - reads it.", show_default=False),
    ],
    self_routes: Annotated[
        int, typer.Option(metavar="K", min=0, help="Judge so many own samples first.")
    ] = 0,
    max_new_tokens: Annotated[
        int, typer.Option(metavar="N", min=1, help="Length of a completion at most.")
    ] = 512,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the samples.")] = 7,
) -> None:
    with told_plainly():
        _set_environment()
        text = sys.stdin.read() if question == "-" else question
        reply = import_module("realm.evaluate.question").ask(
            model, text, self_routes=self_routes, max_new_tokens=max_new_tokens, seed=seed
        )
        typer.echo(reply.describe())


def _compare(run: Run, dry_run: bool, force: bool) -> None:
    import_module("realm.evaluate.compare").compare(run, dry_run=dry_run, force=force)


def _print_results(run: Run) -> None:
    import_module("realm.evaluate.exam").print_results(run)


def _warn_of_outdated(run: Run, stage: str) -> None:
    """Say which earlier stages no longer match the config: this stage builds on what they wrote back then."""
    earlier = list(STAGES)[: list(STAGES).index(stage)]
    recorded = run.manifest().get("stages", {})
    outdated = [
        name
        for name in earlier
        if name in recorded and run.has_stage(name) and not run.is_done(name)
    ]
    if outdated:
        typer.echo(
            f"realm: {', '.join(outdated)}: done with other settings or inputs; `realm run` brings all up to date.",
            err=True,
        )


def _listed(names: Sequence[str]) -> str:
    """Return the names of a run's files in one line, in brackets what need not be there."""
    return ", ".join(f"[{name.rstrip('?')}]" if name.endswith("?") else name for name in names)


def _say(stage: str, text: str) -> None:
    typer.echo(f"{stage:<8} {text}")
    sys.stdout.flush()


_register("init", _init)
_register("import", _import)
for _stage in STAGES:
    _add_verb(_stage, _one_stage(_stage))
_add_verb("run", _all_stages)
_add_verb("compare", _compare)
_register("ask", _ask)
