"""A run folder and its manifest: which stages are up to date, and what a killed one has left."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from realm.core.errors import RealmError, RunError
from realm.core.jsonl import make_folder, write_json

if TYPE_CHECKING:
    from realm.core.stages import Stage

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


class RunFolder(ABC):
    """A folder with the files of a run. Its manifest records which stages are done, and from what.

    A subclass says which settings and inputs a stage depends on.
    """

    def __init__(self, folder: Path | str, stages: Mapping[str, Stage]) -> None:
        self.folder = Path(folder)
        self.stages = stages
        self._cost_usd = 0.0
        self._figures: dict[str, Any] = {}

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return what the manifest says of the run beside its stages, as a JSON-ready dict."""

    @abstractmethod
    def find_settings(self, stage: str) -> dict[str, Any]:
        """Return the settings that `stage` depends on."""

    @abstractmethod
    def find_inputs(self, stage: str) -> dict[str, Path]:
        """Return the existing inputs of `stage` by name; raise an error if one is missing."""

    def path(self, name: str) -> Path:
        """Return the path of a file or folder of the run."""
        return self.folder / name

    def work(self, stage: str) -> Path:
        """Return the folder for unfinished work of `stage`, removed when the stage is done."""
        folder = self.path("work") / stage
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def adopt(self, path: Path, name: str) -> None:
        """Link `path` into the run folder as `name`, without a copy."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # A relative link survives moving the runs together. It is made under another name and then
        # renamed, so that an existing link is replaced in one step.
        temporary = self.path(f".{name}.link")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(os.path.relpath(path.resolve(), self.folder.resolve()))
        os.replace(temporary, self.path(name))

    def spend(self, usd: float) -> None:
        """Add to the cost of the running stage."""
        self._cost_usd += usd

    def record_figures(self, figures: dict[str, Any]) -> None:
        """Add `figures` to the manifest entry of the running stage."""
        self._figures |= figures

    def is_done(self, stage: str) -> bool:
        """Return whether `stage` is up to date: same settings and inputs, outputs unchanged."""
        entry = self.manifest().get("stages", {}).get(stage)
        if entry is None:
            return False
        outputs = entry["outputs"]
        # The cheap checks first: hashing the outputs may mean reading gigabytes of weights.
        if any(not self.path(name).exists() for name in outputs):
            return False
        try:
            hashes = self._hash_dependencies(stage)
        except RealmError:
            return False
        if hashes != {"settings": entry["settings"], "inputs": entry["inputs"]}:
            return False
        return all(hash_path(self.path(name)) == digest for name, digest in outputs.items())

    @contextmanager
    def recording(self, stage: str) -> Iterator[None]:
        """Run a stage in this block, and record it in the manifest if the block succeeds.

        Unfinished work of a killed stage is kept for the block if its settings and inputs are the
        same. Under `accelerate launch` only the main process touches the folder.
        """
        hashes = self._hash_dependencies(stage)
        # torchrun and accelerate number the processes of a run in RANK.
        if int(os.environ.get("RANK", "0")) != 0:
            yield
            return
        with self._lock():
            # From here on the old outputs may be overwritten, so they no longer count as done.
            self._forget(stage)
            earlier_seconds = self._open_work(stage, hashes)
            started, clock = _now(), time.monotonic()
            self._cost_usd = 0.0
            self._figures = {}
            try:
                yield
            except BaseException:  # also Ctrl-C and SystemExit
                seconds = earlier_seconds + time.monotonic() - clock
                self._keep_work(stage, {**hashes, "seconds": seconds})
                raise
            entry = {
                **hashes,
                "outputs": self._hash_outputs(stage),
                "seconds": round(earlier_seconds + time.monotonic() - clock, 1),
                "started": started,
                "finished": _now(),
                "cost_usd": self._cost_usd,
            }
            if self._figures:
                entry["figures"] = self._figures
            self._record(stage, entry)
            # Only now: what is killed before this line still has its work.
            shutil.rmtree(self.work(stage), ignore_errors=True)

    def manifest(self) -> dict[str, Any]:
        """Return the manifest; it is empty before the first stage is done."""
        return read_manifest(self.folder)

    def _hash_dependencies(self, stage: str) -> dict[str, Any]:
        """Return the hashes of the settings and inputs of a stage."""
        # Sorted, so that the order of the keys in a config does not matter.
        text = json.dumps(self.find_settings(stage), sort_keys=True, ensure_ascii=False)
        inputs = {name: hash_path(path) for name, path in self.find_inputs(stage).items()}
        return {"settings": hashlib.sha256(text.encode()).hexdigest(), "inputs": inputs}

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Keep other processes out of the folder while a stage runs.

        The operating system releases the lock of a process that is killed.
        """
        make_folder(self.path("work"))
        lock = FileLock(self.path("work/.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise RunError(
                f"{self.folder}: another realm process is at work here. Wait for it, or choose "
                "another folder with --run."
            ) from None
        try:
            yield
        finally:
            lock.release()

    def _open_work(self, stage: str, hashes: dict[str, Any]) -> float:
        """Remove unfinished work of other settings or inputs; return the seconds spent on it."""
        key_file = self.work(stage) / "key.json"
        seconds = 0.0
        try:
            key = json.loads(key_file.read_text(encoding="utf-8"))
            seconds = key.pop("seconds")
        except (FileNotFoundError, ValueError, KeyError):
            key = None
        if key != hashes:
            shutil.rmtree(self.work(stage))
            seconds = 0.0
        # Anew, since removing the work has removed the folder too.
        write_json(self.work(stage) / "key.json", {**hashes, "seconds": seconds})
        return seconds

    def _keep_work(self, stage: str, key: dict[str, Any]) -> None:
        """Keep unfinished work for the next call. Without any, remove the folder."""
        if [file.name for file in self.work(stage).iterdir()] == ["key.json"]:
            shutil.rmtree(self.work(stage))
        else:
            write_json(self.work(stage) / "key.json", key)

    def _forget(self, stage: str) -> None:
        manifest = self.manifest()
        if manifest.get("stages", {}).pop(stage, None) is not None:
            write_json(self.path("manifest.json"), manifest)

    def _hash_outputs(self, stage: str) -> dict[str, str]:
        hashes = {}
        for name in self.stages[stage].outputs:
            path = self.path(name.rstrip("?/"))
            is_optional = name.endswith("?")
            assert path.exists() or is_optional, f"stage {stage} ended without writing {path}"
            if path.exists():
                hashes[name.rstrip("?")] = hash_path(path)
        return hashes

    def _record(self, stage: str, entry: dict[str, Any]) -> None:
        stages = self.manifest().get("stages", {}) | {stage: entry}
        manifest = {
            "schema": SCHEMA,
            **self.describe(),
            "versions": _find_versions(),
            "commit": _find_commit(),
            "stages": {name: stages[name] for name in self.stages if name in stages},
        }
        write_json(self.path("manifest.json"), manifest)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a run folder; it is empty if there is none.

    Raises:
        RunError: The file is damaged, or another version wrote it.
    """
    path = folder / "manifest.json"
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
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
    return RunError(f"{path}: {fault}. Remove it and run again; every stage then runs again.")


def remove_path(path: Path) -> None:
    """Remove a file, a folder or a link (not what it leads to), if it is there."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def hash_path(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and contents of all files in a folder."""
    if path.is_file():
        # Size and time are part of the cache's key, so that a changed file is read again.
        status = path.stat()
        return _hash_file(path, status.st_size, status.st_mtime_ns)
    total = hashlib.sha256()
    # Sorted, since each file system lists files in an order of its own.
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        if file.parent.name == "__pycache__":
            continue  # Python rewrites it when it imports the package
        total.update(f"{file.relative_to(path).as_posix()} {hash_path(file)}\n".encode())
    return total.hexdigest()


@lru_cache(maxsize=4096)
def _hash_file(path: Path, size: int, modified_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _find_versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def _find_commit() -> str | None:
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


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
