"""The documentation site builds without a warning, asks nothing of other servers, and runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from draw import FIGURES, draw_all
from run_pages import mask_numbers, run_page

import realm

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

# Attributes that make a browser load something. A link that a reader clicks is no such thing.
LOADING = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "srcset"}


class LoadedAddresses(HTMLParser):
    """Collects the addresses that a page loads from other servers."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the address of an element that loads something."""
        address = dict(attrs).get(LOADING.get(tag, ""))
        if address and re.match(r"(https?:)?//", address):
            self.found.append(address)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Return the folder of the built site. A warning of mkdocs, as of a dead link, is an error."""
    pytest.importorskip("mkdocs", reason="needs the extra `docs`")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_the_site_builds_and_loads_nothing_from_other_servers(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        parser = LoadedAddresses()
        parser.feed(page.read_text(encoding="utf-8"))
        assert parser.found == [], page
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert not re.search(r"url\(['\"]?(https?:)?//", styles)


@pytest.mark.slow
def test_the_site_has_the_changelog_and_the_whole_api(site):
    assert "Unreleased" in (site / "changelog/index.html").read_text(encoding="utf-8")
    page = (site / "reference/api/index.html").read_text(encoding="utf-8")
    for name in set(realm.__all__) - {"__version__"}:
        assert re.search(rf'id="realm\.[\w.]*\b{name}"', page), name


@pytest.mark.slow
@pytest.mark.parametrize("page", ["quickstart.md", "how-to/import.md", "tutorial.md"])
def test_commands_of_a_page_print_what_it_shows(page, tmp_path):
    text = (DOCS / page).read_text(encoding="utf-8")
    assert mask_numbers(run_page(text, tmp_path)) == mask_numbers(text), (
        f"run `python docs/run_pages.py docs/{page}`"
    )


@pytest.mark.slow
def test_the_notebook_runs_and_prints_what_it_shows(tmp_path):
    text = (ROOT / "examples/tour.ipynb").read_text(encoding="utf-8")
    copy = tmp_path / "tour.ipynb"
    copy.write_text(text, encoding="utf-8")
    # In a process of its own: other tests set up logging in this one.
    subprocess.run([sys.executable, str(DOCS / "run_pages.py"), str(copy)], check=True)
    new = json.loads(copy.read_text(encoding="utf-8"))
    printed = [cell.get("outputs") for cell in new["cells"]]
    shown = [cell.get("outputs") for cell in json.loads(text)["cells"]]
    assert mask_numbers(json.dumps(printed)) == mask_numbers(json.dumps(shown)), (
        "run `python docs/run_pages.py examples/tour.ipynb`"
    )


def test_the_figures_are_current():
    for name, text in draw_all().items():
        path = DOCS / "figures" / name
        assert path.read_text(encoding="utf-8") == text, "run `make docs`"


def test_every_concept_has_its_figure_in_light_and_dark():
    for page in (DOCS / "concepts").glob("*.md"):
        assert page.stem in FIGURES
        text = page.read_text(encoding="utf-8")
        assert f"{page.stem}-light.svg#only-light" in text
        assert f"{page.stem}-dark.svg#only-dark" in text


def test_text_of_the_page_is_compared_without_its_numbers():
    assert mask_numbers("done in 3 s: 41.5 [1, 2]") == mask_numbers("done in 14 s: 4.0 [10, 20]")
    assert mask_numbers("a  4.0  8.1 / 2.0\n") == mask_numbers("a  -  -\n")
    assert mask_numbers("2 routes") != mask_numbers("2 answers")
