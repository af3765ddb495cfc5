"""Fixtures for all tests. A model is never downloaded: tests/tiny.py makes one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from experts import CLAIMS
from realm.config.root import Config, load_config

SMALL = {
    "model": "model",
    "domain": {
        "kind": "python",
        "target": CLAIMS,
        "settings": {"sizes": {"train": 24, "validation": 4, "test": 8, "test_rules": 4}},
    },
    "routes": {"kind": "scripted", "guided_problems": 12, "held_out": ["outsider"]},
}


@pytest.fixture
def write_config(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a small config, some sections replaced, and gives its path."""

    def write(**sections: Any) -> Path:
        path = tmp_path / "small.yaml"
        path.write_text(yaml.safe_dump(SMALL | sections), encoding="utf-8")
        (tmp_path / "model").mkdir(exist_ok=True)
        return path

    return write


@pytest.fixture
def small_config(write_config: Callable[..., Path]) -> Config:
    """Give a small config of the claims domain."""
    return load_config(write_config())
