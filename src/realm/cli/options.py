"""Arguments and options that several verbs share."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated

import typer

from realm.core.settings import Section


def require_name(folder: Path | None) -> Path | None:
    """Return the folder of an option; the empty name would be the working directory."""
    if folder is not None and not folder.name:
        raise typer.BadParameter("the name is empty; the working directory is no run folder.")
    return folder


def complete_setting(incomplete: str) -> list[str]:
    """Return the settings that begin with what was typed after `--set`."""
    from realm.config.root import Config

    found = dict.fromkeys(_list_settings(Config))  # sections of several kinds share keys
    return [f"{name}=" for name in found if name.startswith(incomplete)]


def _list_settings(section: type[Section]) -> Iterator[str]:
    for name, field in section.model_fields.items():
        is_union = typing.get_origin(field.annotation) in (typing.Union, UnionType)
        parts = typing.get_args(field.annotation) if is_union else (field.annotation,)
        inner = [part for part in parts if isinstance(part, type) and issubclass(part, Section)]
        yield from (f"{name}.{key}" for part in inner for key in _list_settings(part))
        if not inner:
            yield name


ConfigPath = Annotated[
    Path,
    typer.Argument(
        metavar="CONFIG",
        help="A YAML file with the settings, a folder with a config.yaml, or the folder of a run "
        "to continue.",
    ),
]
RunFolder = Annotated[
    Path | None,
    typer.Option(
        "--run",
        "-r",  # torchrun takes --run for its own --run-path
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
        autocompletion=complete_setting,
        help="Override a setting, such as train.fade.kind=cosine; repeatable.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and exit.")]
Force = Annotated[bool, typer.Option("--force", help="Rerun even if the stage is up to date.")]


def name_column(what: str, default: str = "its usual names") -> typer.models.OptionInfo:
    """Return the option that names a column."""
    return typer.Option(metavar="COL", help=f"Column that holds {what}.  [default: {default}]")
