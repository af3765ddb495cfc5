"""Arguments and options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


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
