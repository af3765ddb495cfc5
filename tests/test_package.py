"""The wheel holds what works outside a clone, and its page has no link that leads nowhere."""

from __future__ import annotations

import email
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
MADE_FROM = ["README.md", "LICENSE", "pyproject.toml", "setup.py", "src", "configs", "examples"]
LINK = re.compile(r"\]\(([^)\s]+)\)|src(?:set)?=\"([^\"]+)\"")

make_page = runpy.run_path(str(ROOT / "setup.py"))["make_page"]


def list_targets(page: str) -> list[str]:
    """Return what the links and pictures of a page lead to."""
    return [text or picture for text, picture in LINK.findall(page)]


def test_the_links_of_the_page_are_absolute_or_left_out():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = list_targets(readme)
    relative = [target for target in targets if "://" not in target]
    assert len(relative) > 20
    page = make_page(readme, "https://example.org/o/r")
    address = "https://example.org/o/r/"
    assert [target for target in list_targets(page) if "://" not in target] == []
    found = [re.sub(rf"^{address}(blob|raw)/HEAD/", "", one) for one in list_targets(page)]
    assert found == targets
    assert f'src="{address}raw/HEAD/docs/figures/pipeline-light.svg"' in page
    without = make_page(readme, "")
    assert list_targets(without) == [target for target in targets if "://" in target]
    assert "<picture>" not in without and "Quickstart" in without


@pytest.mark.parametrize(
    ("text", "page"),
    [
        ("see [a b](c.md#d)", "see [a b](x/blob/HEAD/c.md#d)"),
        ("[`code`](c/)", "[`code`](x/blob/HEAD/c/)"),
        ("[out](https://a.b/c)", "[out](https://a.b/c)"),
        ("[here](#there)", "[here](#there)"),
        ("```\n[a](b)\n```", "```\n[a](b)\n```"),
    ],
)
def test_links_within_the_page_and_to_other_servers_and_code_stay(text, page):
    assert make_page(text, "x") == page


@pytest.mark.slow
def test_the_wheel_holds_the_examples_the_model_and_the_schema(tmp_path):
    pytest.importorskip("setuptools", "77")
    for name in [*MADE_FROM, "models/base-1m"]:
        source, copy = ROOT / name, tmp_path / "clone" / name
        if source.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, copy)
        else:  # the list of an earlier build would hide that a file is missing
            skip = shutil.ignore_patterns("*.egg-info")
            shutil.copytree(source, copy, symlinks=True, ignore=skip)
    build = ["wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    subprocess.run(
        [sys.executable, "-m", "pip", *build, str(tmp_path), str(tmp_path / "clone")], check=True
    )
    [wheel] = tmp_path.glob("*.whl")
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
        message = email.message_from_bytes(archive.read(metadata))
    scaffold = {
        f"realm/scaffold/{folder}/{path.name}"
        for folder, place in {
            "own_domain": "examples/own_domain",
            "claims/examples/claims": "examples/claims",
            "claims/models/base-1m": "models/base-1m",
        }.items()
        for path in (ROOT / place).iterdir()
        if path.is_file()
    }
    # Path.rglob enters no folder that is a link.
    source = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src/realm").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert "realm/scaffold/claims/configs/demo.yaml" in source
    assert scaffold | source <= names
    assert [name for name in names if "__pycache__" in name or "/runs/" in name] == []
    text = message.get_payload()
    assert "# ReaLM" in text and [one for one in list_targets(text) if "://" not in one] == []
