"""What the verbs of the command line share: options, error messages, log lines, registration."""

from __future__ import annotations

import errno
import io
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from realm.core.errors import DataError, RealmError, make_printable, mask_secrets

if TYPE_CHECKING:
    from realm.run import Run

logger = logging.getLogger(__name__)
app = typer.Typer(
    name="realm",
    no_args_is_help=True,
    add_completion=False,
    # Plain text: docs/cli.md shows the help as it is, and [default: x] is no markup.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,  # Typer's own tracebacks show variables, which may hold keys
)


def require_name(folder: Path | None) -> Path | None:
    """Return the folder of an option; the empty name would be the working directory."""
    if folder is not None and not folder.name:
        raise typer.BadParameter("the name is empty; the working directory is no run folder.")
    return folder


ConfigPath = Annotated[
    Path,
    typer.Argument(
        metavar="CONFIG", help="A YAML file with the settings, or the folder of a run to continue."
    ),
]
RunFolder = Annotated[
    Path | None,
    typer.Option(
        "--run",
        metavar="DIR",
        file_okay=False,
        callback=require_name,
        help="The run folder.  [default: the config's `run`, or runs/NAME]",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a setting, such as train.fade.kind=cosine; repeatable.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and exit.")]
Force = Annotated[bool, typer.Option("--force", help="Rerun even if the stage is up to date.")]


def name_column(what: str, default: str = "its usual names") -> typer.models.OptionInfo:
    """Return the option that names a column."""
    return typer.Option(metavar="COL", help=f"Column that holds {what}.  [default: {default}]")


@contextmanager
def user_errors_as_messages() -> Iterator[None]:
    """Turn a user error into one message and exit code 2, and Ctrl-C into exit code 130."""
    _set_environment()
    show_log()
    try:
        yield
    except RealmError as error:
        typer.echo(f"realm: {error}", err=True)
        raise typer.Exit(2) from None
    except BrokenPipeError:
        raise  # the reader of our output has gone, as in `realm run ... | head`
    except Exception as error:
        message = explain_failure(error)
        if message is None:
            raise
        typer.echo(f"realm: {make_printable(mask_secrets(message))}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        typer.echo("\nrealm: interrupted; the same command continues.", err=True)
        raise typer.Exit(130) from None  # 128 + SIGINT, as a shell reports it


def explain_failure(error: Exception) -> str | None:
    """Return what to do about a disk, a permission or a memory; `None` for a mistake of ours."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's
        return (
            "out of memory. Lower per_device_train_batch_size, evaluate.batch_tokens or "
            "max_completion_length, or take a smaller model; what is done is kept."
        )
    # The libraries that write weights in Rust and C++ know the reason by its text only.
    is_full = re.search("No space left|PytorchStreamWriter failed writing", str(error))
    if is_full or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        advice = "Make room and run again: what is done is kept"
    elif not isinstance(error, OSError):
        return None
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        advice = "Change its permissions, or choose another place"
    else:
        advice = "See that it is there and is what it should be"
    # Of a failed rename this is the target, the place that could not be written.
    place = getattr(error, "filename2", None) or getattr(error, "filename", None)
    reason = getattr(error, "strerror", None) or str(error).strip().partition("\n")[0]
    return f"{place}: {reason}. {advice}." if place else f"{reason.rstrip('.')}. {advice}."


def _set_environment() -> None:
    """Set what the libraries below read when they load: no telemetry, and waiting threads sleep.

    By default a thread that waits for another one spins. On a machine with other work this makes
    small steps ten times as long.
    """
    # Only defaults: what the user has set in the environment stays.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may know fewer letters
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    # Else the tokenizers library warns whenever a process is forked after it was used.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


class _LogLines(logging.Handler):
    """Write records as plain lines: information to standard output, warnings to standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        stream = sys.stderr if record.levelno >= logging.WARNING else sys.stdout
        line = make_printable(self.format(record))
        if "tqdm" in sys.modules:
            from tqdm import tqdm

            tqdm.write(line, file=stream)  # a progress bar moves out of the way
        else:
            print(line, file=stream)


def show_log() -> None:
    package = logging.getLogger("realm")
    # A test or a program may call several commands in one process.
    if not any(isinstance(handler, _LogLines) for handler in package.handlers):
        package.addHandler(_LogLines())
        package.setLevel(logging.INFO)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        import realm

        typer.echo(realm.__version__)
        raise typer.Exit


def add_verb(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that makes a function a verb; its docstring is the help text."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        assert function.__doc__ is not None
        summary = function.__doc__.partition("\n")[0]
        # In the docstrings, \b keeps Click from filling the lines below it to one paragraph.
        # Without `short_help` Click cuts the summary at the width of the terminal. A context
        # manager as a decorator is entered anew at each call and keeps the signature, which Typer
        # reads.
        return app.command(name, short_help=summary)(user_errors_as_messages()(function))

    return register


def add_run_verb(name: str) -> Callable[[Callable[[Run, bool, bool], None]], Callable[..., None]]:
    """Return a decorator that makes a function of a run a verb with CONFIG and options."""

    def register(function: Callable[[Run, bool, bool], None]) -> Callable[..., None]:
        def command(
            config: ConfigPath,
            run: RunFolder = None,
            set_: Overrides = None,
            dry_run: DryRun = False,
            force: Force = False,
        ) -> None:
            from realm.config import load_config
            from realm.run import Run

            settings = load_config(config, set_ or [])
            function(Run(run or settings.run_folder(), settings), dry_run, force)

        # Typer reads the options from the signature of `command`, and the help from its docstring.
        command.__doc__ = function.__doc__
        return add_verb(name)(command)

    return register


@app.callback()
def show_help(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Teach a small language model to reason in your domain by itself.

    `realm run CONFIG` runs all stages in order: data, routes, distill, train, eval, report. Each
    stage is also a verb of its own. A stage that is up to date is skipped, and one that was
    interrupted continues. `realm init` and `realm import` write a config to start from.
    """


def read_question(question: str) -> str:
    """Return the question of the command line, or for `-` that of standard input."""
    if question != "-":
        return question
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise DataError(f"standard input: is not UTF-8 text: {error.reason}.") from None


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
    outdated = [] if force else run.find_outdated(stage)
    if not run.has_stage(stage) or (not force and not outdated and run.is_done(stage)):
        run.do(stage)  # only logs that there is nothing to do
        return
    if not force and run.is_done(stage):
        print_line(stage, f"will run again if its inputs change: {', '.join(outdated)} will run")
        return
    inputs = _list_names(run.input_names(stage)) or "the config"
    print_line(stage, f"would run: {inputs} -> {_list_names(run.stages[stage].outputs)}")
    estimate = run.stages[stage].estimate
    if estimate and (cost := estimate(run)):
        typer.echo(cost)


def print_line(name: str, text: str) -> None:
    typer.echo(make_printable(f"{name:<8} {text}"))


def _list_names(names: tuple[str, ...] | list[str]) -> str:
    """Return names of the run folder in one line, optional ones in brackets."""
    return ", ".join(f"[{name.rstrip('?')}]" if name.endswith("?") else name for name in names)
