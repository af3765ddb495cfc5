"""A run folder and its manifest: which stages are up to date, from what, and what a killed one left."""

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
from typing import Any

from filelock import FileLock, Timeout

from realm.core.errors import RealmError, RunError
from realm.core.jsonl import write_json
from realm.core.stages import Stage

SCHEMA = "realm.run/2"


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
    def describe_config(self) -> dict[str, Any]:
        """Return all settings of the run as a JSON-ready dict."""

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
        """Return the folder for unfinished work of `stage`; it is removed when the stage is done."""
        folder = self.path("work") / stage
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def adopt(self, path: Path, name: str) -> None:
        """Link `path` into the run folder as `name`, without a copy."""
        self.folder.mkdir(parents=True, exist_ok=True)
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
        """Return whether `stage` is recorded with the present settings and inputs and unchanged outputs."""
        entry = self.manifest().get("stages", {}).get(stage)
        if entry is None:
            return False
        outputs = entry["outputs"]
        if any(not self.path(name).exists() for name in outputs):
            return False
        try:
            if self._present(stage) != {"settings": entry["settings"], "inputs": entry["inputs"]}:
                return False
        except RealmError:
            return False
        return all(hash_of(self.path(name)) == digest for name, digest in outputs.items())

    @contextmanager
    def recording(self, stage: str) -> Iterator[None]:
        """Run a stage inside: stale half-done work is thrown away first; when the block ends well the manifest records it.

        Under `accelerate launch` every process comes here; only the main one touches the folder.
        """
        present = self._present(stage)
        if int(os.environ.get("RANK", "0")) != 0:
            yield
            return
        with self._lock():
            self._forget(stage)
            seconds_before = self._open_work(stage, present)
            started, clock, self._cost_usd, self._figures = _now(), time.monotonic(), 0.0, {}
            try:
                yield
            except BaseException:
                self._keep_work(
                    stage, {**present, "seconds": seconds_before + time.monotonic() - clock}
                )
                raise
            outputs = self._written(stage)
            seconds = round(seconds_before + time.monotonic() - clock, 1)
            times = {"seconds": seconds, "started": started, "finished": _now()}
            spent = {
                "cost_usd": self._cost_usd,
                **({"figures": self._figures} if self._figures else {}),
            }
            self._record(stage, {**present, "outputs": outputs, **times, **spent})
            shutil.rmtree(self.work(stage), ignore_errors=True)

    def manifest(self) -> dict[str, Any]:
        """Return the manifest, empty where there is none yet."""
        path = self.path("manifest.json")
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise RunError(
                f"{path}: cannot be read: {error}. Remove it and run again; every stage then runs anew."
            ) from None
        found = manifest.get("schema") if isinstance(manifest, dict) else None
        if found != SCHEMA:
            raise RunError(
                f"{path}: this run folder was made by another version of ReaLM (its schema is "
                f"{found!r}; this version writes {SCHEMA!r}) and cannot be continued. Choose "
                "another folder with --run, or delete this one."
            )
        return manifest

    def _present(self, stage: str) -> dict[str, Any]:
        """Return the hashes that a finished stage must still match."""
        text = json.dumps(self.find_settings(stage), sort_keys=True, ensure_ascii=False)
        inputs = {name: hash_of(path) for name, path in self.find_inputs(stage).items()}
        return {"settings": hashlib.sha256(text.encode()).hexdigest(), "inputs": inputs}

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Keep other processes out of the folder while a stage runs.

        The operating system releases the lock of a process that is killed.
        """
        self.path("work").mkdir(parents=True, exist_ok=True)
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

    def _open_work(self, stage: str, present: dict[str, Any]) -> float:
        """Throw half-done work away unless it was begun from the same settings and inputs; return the seconds spent on it."""
        key_file, seconds = self.work(stage) / "key.json", 0.0
        try:
            key = json.loads(key_file.read_text(encoding="utf-8"))
            seconds = key.pop("seconds")
        except (FileNotFoundError, ValueError, KeyError):
            key = None
        if key != present:
            shutil.rmtree(self.work(stage))
            seconds = 0.0
        write_json(self.work(stage) / "key.json", {**present, "seconds": seconds})
        return seconds

    def _keep_work(self, stage: str, key: dict[str, Any]) -> None:
        """Leave half-done work for the next call; a stage that had not begun any leaves no folder."""
        if [file.name for file in self.work(stage).iterdir()] == ["key.json"]:
            shutil.rmtree(self.work(stage))
        else:
            write_json(self.work(stage) / "key.json", key)

    def _forget(self, stage: str) -> None:
        manifest = self.manifest()
        if manifest.get("stages", {}).pop(stage, None) is not None:
            write_json(self.path("manifest.json"), manifest)

    def _written(self, stage: str) -> dict[str, str]:
        hashes = {}
        for name in self.stages[stage].outputs:
            path = self.path(name.rstrip("?/"))
            assert path.exists() or name.endswith("?"), (
                f"stage {stage} ended without writing {path}"
            )
            if path.exists():
                hashes[name.rstrip("?")] = hash_of(path)
        return hashes

    def _record(self, stage: str, entry: dict[str, Any]) -> None:
        stages = self.manifest().get("stages", {}) | {stage: entry}
        manifest = {
            "schema": SCHEMA,
            "config": (config := self.describe_config()),
            "seed": config["seed"],
            "versions": _versions(),
            "commit": _commit(),
            "stages": {name: stages[name] for name in self.stages if name in stages},
        }
        write_json(self.path("manifest.json"), manifest)


def hash_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, or of the sorted names and contents of a folder's files."""
    if path.is_file():
        status = path.stat()
        return _hash_file(path, status.st_size, status.st_mtime_ns)
    total = hashlib.sha256()
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        if file.parent.name == "__pycache__":
            continue  # Python rewrites it when it imports the package
        total.update(f"{file.relative_to(path).as_posix()} {hash_of(file)}\n".encode())
    return total.hexdigest()


@lru_cache(maxsize=4096)
def _hash_file(path: Path, size: int, modified_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _versions() -> dict[str, str]:
    names = (
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
    versions = {"python": platform.python_version()}
    for name in names:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def _commit() -> str | None:
    """Return the commit of the checkout that this package runs from, `+` where it has changes; `None` where it is no checkout."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", *arguments], cwd=here, capture_output=True, text=True, timeout=10
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if git("ls-files", "--error-unmatch", "folder.py") is None:
        return None
    commit = git("rev-parse", "HEAD")
    return commit and commit + ("+" if git("status", "--porcelain", "--", ".") else "")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
