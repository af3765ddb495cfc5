"""Check that the documentation names files, functions and settings that exist."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
from pydantic import BaseModel
from write_config import PAGE, SCHEMA, make_schema, render_page

from realm.config import Config

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src/realm"
GENERATED = ("cli.md", "errors.md", "config.md")
PAGES = [
    ROOT / name
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "models/base-1m/README.md")
] + sorted(path for path in (ROOT / "docs").rglob("*.md") if path.name not in GENERATED)
GUIDES = [page for page in PAGES if page.name not in ("log.md", "CHANGELOG.md")]

# A file in backquotes, and the functions or classes named after it: `method/fade.py`: `share`.
FILE_AND_NAMES = re.compile(r"`([\w./-]+\.(?:py|md|yaml|toml))`((?:[:,]\s+`\w+`)*)")
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
PICTURE = re.compile(r'(?:src|srcset)="([^":]+)"')
SETTING = re.compile(r"`((?:distill|train|evaluate|compare|prompt|routes|domain)(?:\.[a-z_]+)+)\b")


def name_page(page: Path) -> str:
    """Return a page's path from the root, to name its test."""
    return str(page.relative_to(ROOT))


def find_file(name: str) -> Path | None:
    """Return the file that a page names from the root or from the package, if it exists."""
    for folder in (ROOT, PACKAGE):
        if (folder / name).is_file():
            return folder / name
    return None


@pytest.mark.parametrize("page", GUIDES, ids=name_page)
def test_pages_name_files_and_functions_that_exist(page: Path) -> None:
    missing = []
    for name, after in FILE_AND_NAMES.findall(page.read_text(encoding="utf-8")):
        # A name without folder is explained by the text; RUN stands for any run folder.
        if "/" not in name or name.startswith("RUN/"):
            continue
        path = find_file(name)
        if path is None:
            missing.append(name)
        elif path.suffix == ".py":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            defined = {node.name for node in ast.walk(tree) if hasattr(node, "name")}
            missing += [f"{name}: {x}" for x in re.findall(r"`(\w+)`", after) if x not in defined]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = LINK.findall(text) + PICTURE.findall(text)
    assert [x for x in targets if not (page.parent / x).exists()] == []


def has_setting(model: type[BaseModel], keys: list[str]) -> bool:
    """Whether a dotted key leads to a field, in any of the sections that a union allows."""
    field = model.model_fields.get(keys[0])
    if field is None:
        return False
    sections = find_sections(field.annotation)
    # Free mappings such as `train.grpo` take any key.
    return len(keys) == 1 or not sections or any(has_setting(x, keys[1:]) for x in sections)


def find_sections(annotation: object) -> list[type[BaseModel]]:
    """Return the sections in an annotation: itself, or the members of a union or list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [x for part in getattr(annotation, "__args__", ()) for x in find_sections(part)]


@pytest.mark.parametrize("page", GUIDES, ids=name_page)
def test_pages_name_settings_that_exist(page: Path) -> None:
    keys = set(SETTING.findall(page.read_text(encoding="utf-8")))
    files = {key for key in keys if key.rsplit(".", 1)[1] in ("jsonl", "json", "py", "md", "yaml")}
    assert {key for key in keys - files if not has_setting(Config, key.split("."))} == set()


def test_the_reference_of_the_config_and_its_schema_are_current() -> None:
    advice = "run `python docs/write_config.py`"
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == make_schema(), advice
    assert PAGE.read_text(encoding="utf-8") == render_page(), advice


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_prose_has_lines_of_at_most_100_characters(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    assert [line for line in prose.splitlines() if len(line) > 100] == []


def test_python_examples_that_import_realm_run() -> None:
    ran = 0
    for page in GUIDES:
        blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
        for block in blocks:
            if "import realm" in block and "load_config" not in block:
                exec(compile(block, str(page), "exec"), {"__name__": "example"})
                ran += 1
    assert ran > 0


def test_the_tree_in_contributing_lists_every_module() -> None:
    listed = set(re.findall(r"^ +([\w/]+\.py) ", (ROOT / "CONTRIBUTING.md").read_text(), re.M))
    modules = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py")}
    modules = {name for name in modules if not name.endswith("__init__.py")}
    assert listed == modules
