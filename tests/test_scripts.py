"""The scripts of benchmarks/, models/ and pretrain/ start, and say at the top what they are for."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = [
    *sorted((ROOT / "benchmarks").glob("*.py")),
    ROOT / "models" / "fetch_smollm2.py",
    ROOT / "pretrain" / "train.py",
]


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_has_a_help_text(script: Path) -> None:
    source = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(script), "--help"],
        env=os.environ | {"PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    docstring = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8")))
    assert docstring.splitlines()[0] in done.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_states_its_command_and_its_hardware(script: Path) -> None:
    docstring = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8")))
    assert f"python {script.relative_to(ROOT)}" in docstring and "Hardware: " in docstring
    is_benchmark = script.parent.name == "benchmarks"
    assert not is_benchmark or docstring.splitlines()[0].endswith("?"), "the question comes first"


def test_the_pretraining_text_depends_on_its_seed_alone() -> None:
    code = (
        "from corpus import examples, known_offices; import itertools; "
        "print(*itertools.islice(examples(0, 0.4, known=known_offices(0)), 900))"
    )
    texts = set()
    for hash_seed in ("0", "1"):
        path = os.pathsep.join([str(ROOT / "src"), str(ROOT / "pretrain")])
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONPATH": path, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        texts.add(done.stdout)
    assert len(texts) == 1
