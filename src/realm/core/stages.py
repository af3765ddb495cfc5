"""The record that describes one stage: what it does, what it depends on and what it writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of a run. A name that ends in `/` is a folder; one that ends in `?` is optional.

    Example: `Stage(name="data", function=run_data, settings=("seed", "domain"),
    outputs=("problems.jsonl", "rules.md?"))`. The functions take the `Run` and import what they
    need when they are called, so that a table of stages costs nothing to load.
    """

    name: str
    function: Callable[[Any], None]
    """Do the stage."""
    settings: tuple[str, ...]
    """Dotted keys of the config that the stage reads. Changing one of them makes it run again."""
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...]
    check: Callable[[Any], None] | None = None
    """Raise the user's mistakes in the settings of this stage, before any stage has spent time."""
    estimate: Callable[[Any], str | None] | None = None
    """Return what the stage would cost, or None if it costs nothing."""
    files: Callable[[Any], list[str]] | None = None
    """Return the files outside the run folder that the stage reads, as the config names them."""
