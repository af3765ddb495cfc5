"""Hooks of mkdocs: pages from the root of the repository, and links that leave the site."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

DOCS = Path(__file__).parent
ROOT = DOCS.parent
ADDED = {"changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}
"""Pages of the site that are files in the root of the repository, where people look for them."""
PAGES = {ROOT / file: page for page, file in ADDED.items()} | {ROOT / "README.md": "index.md"}

# [text](target), not an image, and no link to another server or within the page.
_LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\[\]]*\])+)\]\(([^)#:\s]+)(#[^)\s]*)?\)")
_CODE = re.compile(r"(^```.*?^```)", re.DOTALL | re.MULTILINE)


def on_config(config: MkDocsConfig) -> None:
    """Add the files of two folders to the navigation, unless mkdocs.yml lists them."""
    assert config.nav is not None
    for title, folder in {"Decisions": "decisions", "How-to": "how-to"}.items():
        section = next(item for item in config.nav if title in item)
        listed = {page for item in section[title] for page in item.values()}
        files = sorted(f"{folder}/{path.name}" for path in (DOCS / folder).glob("*.md"))
        section[title] += [page for page in files if page not in listed]


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pages that lie outside docs/."""
    for page, source in ADDED.items():
        content = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=content))


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Rewrite links to what is not in docs/: to its page if it has one, else as plain text."""
    uri = page.file.src_uri
    source = ROOT / ADDED[uri] if uri in ADDED else DOCS / uri
    # Every second part is a block of code.
    parts = _CODE.split(markdown)
    parts[::2] = [_LINK.sub(lambda link: _rewrite(link, source, uri), part) for part in parts[::2]]
    return "".join(parts)


def _rewrite(link: re.Match[str], source: Path, uri: str) -> str:
    text, target, anchor = link[1], link[2], link[3] or ""
    path = (source.parent / target).resolve()
    if path in PAGES:
        page = PAGES[path]
    elif path.is_relative_to(DOCS) and path.is_file():
        page = path.relative_to(DOCS).as_posix()
    elif path.exists():
        return text  # a file of the repository, which the site does not hold
    else:
        return link[0]  # mkdocs reports it
    folder = PurePosixPath(uri).parent
    return f"[{text}]({os.path.relpath(page, folder)}{anchor})"
