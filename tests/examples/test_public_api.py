"""The examples are written against the public API: they prove that a user needs nothing else."""

import ast
from pathlib import Path

import pytest

import realm

EXAMPLES = Path(__file__).parents[2] / "examples"
MODULES = sorted(EXAMPLES.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_an_example_uses_public_names_of_realm_only(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            deep = [name.name for name in node.names if name.name.startswith("realm.")]
            assert not deep, f"line {node.lineno} imports {deep[0]}"
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            assert not node.module.startswith("realm."), f"line {node.lineno}: {node.module}"
            if node.module == "realm":
                assert {name.name for name in node.names} <= set(realm.__all__)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            is_public = node.value.id != "realm" or node.attr in realm.__all__
            assert is_public, f"line {node.lineno}: realm.{node.attr} is not public"


def test_every_public_name_is_there():
    assert all(getattr(realm, name) is not None for name in realm.__all__)
    with pytest.raises(AttributeError, match="module 'realm' has no attribute 'Domian'"):
        realm.Domian  # noqa: B018
