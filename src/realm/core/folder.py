"""A run folder and its stages: which are up to date, and what a killed one has left."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from realm.core.errors import RealmError, RunError
from realm.core.jsonl import make_folder, write_json
from realm.core.manifest import SCHEMA, find_commit, find_versions, read_manifest
from realm.core.ranks import is_main_process, run_on_main, wait_for_all


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of a run. A name that ends in `/` is a folder; one that ends in `?` is optional.

    Example: `Stage(name="data", function=run_data, settings=("seed", "domain"),
    outputs=("problems.jsonl", "rules.md?"))`. The functions take the `Run` and import what they
    need when they are called, so that a table of stages costs nothing to load.
    """

    name: str
    function: Callable[[Any], None]
    """Do the stage. Several processes do it together, unless it is `main_only`."""
    main_only: bool = False
    """It neither trains nor asks a model: the main process does it, and the others wait."""
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
        same. Of several processes the main one prepares the folder and records the stage.
        """
        if not is_main_process():
            wait_for_all()  # until the folder is prepared
            yield
            wait_for_all()  # until nobody needs the unfinished work any more
            wait_for_all()  # until the stage is recorded
            return
        hashes = self._hash_dependencies(stage)
        with self.lock():
            self._clear_places(stage)
            # From here on the old outputs may be overwritten, so they no longer count as done.
            self._forget(stage)
            earlier_seconds = self._open_work(stage, hashes)
            started, clock = _now(), time.monotonic()
            self._cost_usd = 0.0
            self._figures = {}
            wait_for_all()
            try:
                yield
                wait_for_all()
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
            self.write_manifest({stage: entry})
            # Only now: what is killed before this line still has its work.
            shutil.rmtree(self.work(stage), ignore_errors=True)
        wait_for_all()

    def call_stage(self, stage: str) -> None:
        """Call the function of a stage, in the processes that take part in it."""
        function = self.stages[stage].function
        if self.stages[stage].main_only:
            run_on_main(partial(function, self))
        else:
            function(self)

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
    def lock(self) -> Iterator[None]:
        """Keep other processes out of the folder while a stage runs.

        The operating system releases the lock of a process that is killed.
        """
        work = self.path("work")
        for path in (work, work / ".lock"):
            if path.is_symlink():
                path.unlink()  # it would lead what is written to another place
        make_folder(work)
        lock = FileLock(work / ".lock")
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
            # Before the release: a process that has opened the file takes no lock on a file that
            # has lost its name. A stage that failed at once leaves no folder behind.
            (work / ".lock").unlink(missing_ok=True)
            with suppress(OSError):  # they hold something
                work.rmdir()
                self.folder.rmdir()
            lock.release()

    def _clear_places(self, stage: str) -> None:
        """Remove links from where `stage` writes, since somebody else may have made the folder.

        Raises:
            RunError: A folder is in the place of a file, or a file in that of a folder.
        """
        for name in self.stages[stage].outputs:
            path = self.path(name.rstrip("?/"))
            is_folder = name.rstrip("?").endswith("/")
            _unlink_links(path)
            if path.exists() and path.is_dir() != is_folder:
                found, wanted = ("a file", "a folder") if is_folder else ("a folder", "a file")
                raise RunError(
                    f"{path}: is {found}, and `realm {stage}` makes {wanted} of this name. Move it "
                    "away."
                )
        _unlink_links(self.path("work") / stage)

    def _open_work(self, stage: str, hashes: dict[str, Any]) -> float:
        """Remove unfinished work of other settings or inputs; return the seconds spent on it."""
        key_file = self.work(stage) / "key.json"
        seconds = 0.0
        try:
            key = json.loads(key_file.read_text(encoding="utf-8"))
            seconds = float(key.pop("seconds"))
        except (FileNotFoundError, ValueError, LookupError, TypeError, AttributeError):
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

    def write_manifest(self, entries: Mapping[str, Any]) -> None:
        """Write the manifest: what the run is made with, and `entries` of stages that are done."""
        stages = self.manifest().get("stages", {}) | entries
        manifest = {
            "schema": SCHEMA,
            **self.describe(),
            "versions": find_versions(),
            "commit": find_commit(),
            "stages": {name: stages[name] for name in self.stages if name in stages},
        }
        write_json(self.path("manifest.json"), manifest)


def _unlink_links(path: Path) -> None:
    for one in [path, *(path.rglob("*") if path.is_dir() and not path.is_symlink() else ())]:
        if one.is_symlink():
            one.unlink()


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


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
