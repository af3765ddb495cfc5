"""A run folder with the bundled model in the place of a trained one."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from experts import CLAIMS
from realm.config.root import load_config
from realm.core.jsonl import write_jsonl
from realm.run import Run

BASE = Path(__file__).parents[1] / "models/base-1m"


def make_run(folder: Path, **sections) -> Run:
    """Write problems, routes and a model to FOLDER/run; nothing is trained."""
    domain = {
        "kind": "python",
        "target": CLAIMS,
        "settings": {"sizes": {"train": 4, "test": 6}},
    }
    settings = {"model": str(BASE), "run": "run", "domain": domain} | sections
    (folder / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    run = Run(folder / "run", load_config(folder / "config.yaml"))
    run.data()
    write_jsonl(run.path("routes.jsonl"), [])
    shutil.copytree(BASE, run.path("model"))
    return run
