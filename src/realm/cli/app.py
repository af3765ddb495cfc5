"""The Typer app, and how a function becomes a verb."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from realm.cli.messages import user_errors_as_messages
from realm.cli.options import ConfigPath, DryRun, Force, Overrides, RunFolder
from realm.core.ranks import is_main_process, leave_launch

if TYPE_CHECKING:
    from realm.run import Run

app = typer.Typer(
    name="realm",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    # Plain text: docs/cli.md shows the help as it is, and [default: x] is no markup.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,  # Typer's own tracebacks show variables, which may hold keys
)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        import realm

        typer.echo(realm.__version__)
        raise typer.Exit


def add_verb(
    name: str, *, main_only: bool = True, continues: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that makes a function a verb; its docstring is the help text.

    Args:
        name: The name of the verb.
        main_only: Of several processes the main one alone does it; else all of them.
        continues: Whether the command, given again, goes on where it was interrupted.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        assert function.__doc__ is not None
        summary = function.__doc__.partition("\n")[0]

        @wraps(function)
        def call(*args: Any, **options: Any) -> None:
            if main_only and not is_main_process():
                return
            if main_only:
                leave_launch()
            function(*args, **options)

        # In the docstrings, \b keeps Click from filling the lines below it to one paragraph.
        # Without `short_help` Click cuts the summary at the width of the terminal. A context
        # manager as a decorator is entered anew at each call and keeps the signature, which Typer
        # reads.
        handled = user_errors_as_messages(continues=continues)(call)
        return app.command(name, short_help=summary)(handled)

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
        return add_verb(name, main_only=False, continues=True)(command)

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

    `torchrun --nproc-per-node N -m realm run CONFIG` runs a verb in several processes, and so does
    `accelerate launch`. Give the run folder as -r there, since torchrun reads --run itself.
    """
