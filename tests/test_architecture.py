"""Check which layer of the package imports which, and how large files and folders are."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import realm

ROOT = Path(realm.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# From the lowest layer to the highest. A module may import its own layer and those below it.
LAYERS = [
    ["core"],
    ["method"],
    ["verify"],
    ["bank", "domains"],
    ["config", "prefix"],
    ["sources", "checkpoint", "template", "policy", "endpoint", "sampling"],
    ["train", "scale"],
    ["evaluate", "baselines"],
    ["run", "rounds", "stages", "doctor", "deploy", "watch", "forecast", "study", "review"],
    ["cli", "scaffold", "__init__", "__main__"],
]
RANKS = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}


def find_runtime_imports(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted names that a module imports, also in functions, type checking aside."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        yield from find_runtime_imports(node)


def get_layer(path: Path) -> str:
    """Return the folder below `realm` that holds a file, or the name of a top-level file."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def find_upward_imports() -> set[str]:
    """Return each import of a higher layer as "file -> module"."""
    found = set()
    for path in FILES:
        layer = get_layer(path)
        for name in find_runtime_imports(ast.parse(path.read_text(encoding="utf-8"))):
            parts = name.split(".")
            if parts[0] != "realm":
                continue
            target = parts[1] if len(parts) > 1 and parts[1] in RANKS else "__init__"
            is_leaf_broken = layer == "prefix" and target != "prefix"
            if is_leaf_broken or RANKS[target] > RANKS[layer]:
                found.add(f"{path.relative_to(ROOT)} -> {target}")
    return found


def test_no_module_imports_a_higher_layer() -> None:
    assert find_upward_imports() == set()


def test_files_have_at_most_350_lines() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in FILES
    }
    assert {name: length for name, length in lengths.items() if length > 350} == {}


def test_folders_have_at_most_12_modules() -> None:
    folders = {path.parent for path in FILES}
    sizes = {str(folder.relative_to(ROOT)): len(list(folder.glob("*.py"))) for folder in folders}
    assert {name: size for name, size in sizes.items() if size > 12} == {}


@pytest.mark.parametrize(
    "statement",
    [
        "import realm",
        "from realm.cli import app; app(['--help'], standalone_mode=False)",
    ],
)
def test_light_commands_load_no_deep_learning_library(statement: str) -> None:
    # The domains cost a tenth of a second, of the 0.4 that `realm --help` may take.
    heavy = "{'torch', 'transformers', 'trl', 'peft', 'datasets', 'realm.domains'}"
    code = f"import sys; {statement}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
