"""The small domain that `realm init` writes: its files lie beside this one, and in examples/own_domain."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from realm.core.errors import ConfigError
from realm.core.jsonl import write_text

NAMES = (
    "problems.csv",
    "rules.md",
    "outputs.jsonl",
    "outputs_held_out.jsonl",
    "config.yaml",
    "teacher.yaml",
)


def write_scaffold(folder: Path) -> None:
    """Write the files to `folder`; `ConfigError`, and nothing written, where one of them is there already."""
    if there := [name for name in NAMES if (folder / name).exists()]:
        raise ConfigError(
            f"{folder / there[0]}: is there already and is not overwritten. Choose another folder: realm init DIR"
        )
    for name in NAMES:
        write_text(folder / name, files(__package__).joinpath(name).read_text(encoding="utf-8"))
