"""The manifest of a run folder: its form, and where the run came from."""

from __future__ import annotations

import json
import platform
import subprocess
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from realm.core.errors import RunError

# What `made_by` in a manifest says of a run that needs nothing but its config.
MADE_BY_CONFIG = "a config"
# Counts up when the files of a run change their form, so that an older folder is refused.
SCHEMA = "realm.run/2"
LIBRARIES = (
    "realm-slm",
    "torch",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "datasets",
    "tokenizers",
    "numpy",
    "reasoning-gym",
)
"""Packages whose versions the manifest records."""
_ENTRY = {"settings": str, "inputs": dict, "outputs": dict, "seconds": int | float}
"""Types of what the manifest says of a stage that is done."""


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a run folder; it is empty if there is none.

    Raises:
        RunError: The file is damaged, or another version wrote it.
    """
    path = folder / "manifest.json"
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, RecursionError) as error:
        raise _explain_manifest(path, f"cannot be read: {error}") from None
    found = manifest.get("schema") if isinstance(manifest, dict) else None
    if found != SCHEMA:
        raise RunError(
            f"{path}: this run folder was made by another version of ReaLM (its schema is "
            f"{found!r}; this version writes {SCHEMA!r}) and cannot be continued. Choose "
            "another folder with --run, or delete this one."
        )
    stages = manifest.get("stages", {})
    entries = list(stages.values()) if isinstance(stages, dict) else [None]
    for entry in entries:
        if not isinstance(entry, dict) or any(
            not isinstance(entry.get(name), kind) for name, kind in _ENTRY.items()
        ):
            raise _explain_manifest(path, "is damaged: an entry of `stages` is not as it was")
    return manifest


def _explain_manifest(path: Path, fault: str) -> RunError:
    return RunError(
        f"{path}: {fault}. Remove it and give the config file again; every stage then runs again."
    )


def check_source(folder: Path, source: Path, stage: str) -> None:
    """Raise `RunError` if `stage` would replace what a model of another config was trained on.

    Two configs of one name have the same default folder, and hours of training would be lost. A
    config that was moved, so that the old one is gone, goes on with its run.
    """
    manifest = read_manifest(folder)
    made_from = manifest.get("source")
    if not made_from or not {"distill", "train"} & manifest.get("stages", {}).keys():
        return
    if Path(made_from).exists() and not Path(made_from).samefile(source):
        raise RunError(
            f"{folder}: holds a model that was trained with {made_from}, and `realm {stage}` with "
            f"{source} would replace it or its data. Choose another folder with --run, or replace "
            "them with --force."
        )


def find_versions() -> dict[str, str]:
    """Return the versions of Python and of `LIBRARIES`, those that are installed."""
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def find_commit() -> str | None:
    """Return the commit of this package's checkout, with a `+` if files were changed since.

    None if the package is not run from a git checkout.
    """
    # An installed copy may lie in the checkout of another project (its .venv): is it tracked?
    if _run_git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    commit = _run_git("rev-parse", "HEAD")
    # Below this folder only: other changes of the checkout do not change what a run does.
    has_changes = bool(_run_git("status", "--porcelain", "--", "."))
    return commit and commit + ("+" if has_changes else "")


def _run_git(*arguments: str) -> str | None:
    """Return what a git command prints in the folder of this file, None if it fails."""
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
