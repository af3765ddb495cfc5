"""A run folder and its manifest: what each stage reads and writes, which stages are done, and what a killed one left."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from realm.config.root import Config
from realm.core.errors import DataError, RealmError, RunError
from realm.core.jsonl import (
    append_jsonl,
    read_jsonl,
    read_problems,
    read_routes,
    write_json,
    write_jsonl,
    write_text,
)
from realm.core.progress import progress
from realm.core.stages import STAGES, Stage
from realm.core.tables import local_path

__all__ = [
    "STAGES",
    "Run",
    "Stage",
    "append_jsonl",
    "progress",
    "read_jsonl",
    "read_problems",
    "read_routes",
    "write_json",
    "write_jsonl",
    "write_text",
]

SCHEMA = "realm.run/1"


class Run:
    """A run folder. A stage reads and writes its files; the manifest says which stages are done, and from what."""

    def __init__(self, folder: Path, config: Config, stages: Mapping[str, Stage] = STAGES) -> None:
        self.folder = Path(folder)
        self.config = config
        self.stages = stages
        self._cost_usd = 0.0
        self._figures: dict[str, Any] = {}

    def path(self, name: str) -> Path:
        """Return the path of a file or folder of the run."""
        return self.folder / name

    def work(self, stage: str) -> Path:
        """Return the folder for what `stage` has half done: kept through a kill, removed when the stage is done."""
        folder = self.path("work") / stage
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def adopt(self, path: Path, name: str) -> None:
        """Let the run show what is at `path` as its own `name`, without a copy."""
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.path(f".{name}.link")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(os.path.relpath(path.resolve(), self.folder.resolve()))
        os.replace(temporary, self.path(name))

    def spend(self, usd: float) -> None:
        """Add to what the stage at work has cost."""
        self._cost_usd += usd

    def record_figures(self, figures: dict[str, Any]) -> None:
        """Let the manifest hold `figures` in the entry of the stage at work."""
        self._figures |= figures

    def part_of(self, stage: str) -> bool:
        """Tell whether the run has this stage: without a model nothing is trained, and the recipe `zero` does not distil."""
        if self.config.model is None:
            return stage not in ("distill", "train")
        return not (stage == "distill" and self.config.recipe == "zero")

    def reads(self, stage: str) -> list[str]:
        """Return the names of what `stage` reads in the run folder: the recipe `zero` has no distilled model."""
        return [
            name
            for name in self.stages[stage].inputs
            if self.config.recipe == "r1" or not name.startswith("distilled/")
        ]

    def inputs(self, stage: str) -> dict[str, Path]:
        """Return what `stage` reads and is there, by its name in the manifest; `RunError` where something is missing."""
        found = {}
        for name in self.reads(stage):
            path = self.path(name.rstrip("?/"))
            if path.exists():
                found[name.rstrip("?")] = path
            elif not name.endswith("?"):
                maker = next(other.name for other in self.stages.values() if name in other.outputs)
                raise RunError(
                    f"{path}: `realm {stage}` reads it, and it is not there. Run `realm {maker}` first, "
                    "or `realm run` for all stages in order."
                )
        return found | self._outside_inputs(stage)

    def is_done(self, stage: str) -> bool:
        """Tell whether the manifest records `stage` with today's settings and inputs, and its outputs are as they were then."""
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
        with self._alone():
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
        if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
            raise RunError(
                f"{path}: is no manifest of schema {SCHEMA}. Choose another run folder with --run."
            )
        return manifest

    def _present(self, stage: str) -> dict[str, Any]:
        """Return the hashes that a finished stage must still match."""
        dump = self.config.dump()
        settings = {name: _look_up(dump, name) for name in self.stages[stage].settings}
        text = json.dumps(settings, sort_keys=True, ensure_ascii=False)
        inputs = {name: hash_of(path) for name, path in self.inputs(stage).items()}
        return {"settings": hashlib.sha256(text.encode()).hexdigest(), "inputs": inputs}

    def _outside_inputs(self, stage: str) -> dict[str, Path]:
        """Return the files and folders that the config names and `stage` reads, by the name that the config gives them.

        A data set or a model of the hub is none of them: it is taken to stay as it was.
        """
        config, names = self.config, []
        if stage == "data" and config.domain.kind == "files":
            names = [*config.domain.paths, *([config.domain.rules] if config.domain.rules else [])]
        elif stage == "routes" and config.routes.kind == "import":
            names = [file.path for file in config.routes.files]
        elif stage == "routes" and config.routes.kind == "collect":
            files = [
                config.routes.guide.path,
                *(teacher.path for teacher in config.routes.teachers if teacher.kind == "replay"),
            ]
            models = [
                teacher.model for teacher in config.routes.teachers if teacher.kind == "local"
            ]
            names = [
                *filter(None, files),
                *(model for model in models if config.resolve(model).is_dir()),
            ]
        elif (
            "model" in self.stages[stage].settings
            and config.model
            and Path(config.resolve_model()).is_dir()
        ):
            names = [config.model]
        paths = {name: path for name in names if (path := local_path(name, config.resolve))}
        for path in paths.values():
            if not path.exists():
                raise DataError(
                    f"{path}: there is no such file, but {config.source} names it. "
                    "Paths in a config are relative to the config file."
                )
        return {f"config:{name}": path for name, path in paths.items()}

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep a second process out of the folder while a stage runs; a killed process lets go by itself."""
        self.path("work").mkdir(parents=True, exist_ok=True)
        try:
            import fcntl
        except ImportError:  # Windows has no such lock; there the user sees to it
            yield
            return
        with self.path("work/.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(
                    f"{self.folder}: another realm process is at work here. Wait for it, or choose another folder with --run."
                ) from None
            yield

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
            "config": self.config.dump(),
            "seed": self.config.seed,
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
        total.update(f"{file.relative_to(path).as_posix()} {hash_of(file)}\n".encode())
    return total.hexdigest()


@lru_cache(maxsize=4096)
def _hash_file(path: Path, size: int, modified_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _look_up(settings: dict[str, Any], dotted: str) -> Any:
    value: Any = settings
    for name in dotted.split("."):
        value = value.get(name)
    return value


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

    if git("ls-files", "--error-unmatch", "runs.py") is None:
        return None
    commit = git("rev-parse", "HEAD")
    return commit and commit + ("+" if git("status", "--porcelain", "--", ".") else "")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
