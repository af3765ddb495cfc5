"""The JSON schema of the config fits the configs, and every key says what it means."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from write_config import make_schema

from realm.config.yaml import read_settings
from realm.core.settings import Section
from realm.scaffold import write_scaffold
from realm.scaffold.columns import ImportOptions
from realm.scaffold.import_plan import plan_import, write_config

ROOT = Path(__file__).parents[2]
CONFIGS = [*sorted((ROOT / "configs").glob("*.yaml")), *sorted(ROOT.glob("examples/*/*.yaml"))]
MODELINE = "# yaml-language-server: $schema="


def read_schema_of(config: Path) -> dict:
    """Return the schema that the first line of a config names, as an editor finds it."""
    first = config.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith(MODELINE)
    return json.loads((config.parent / first.removeprefix(MODELINE)).read_text(encoding="utf-8"))


def find_mistakes(settings: object) -> list[str]:
    """Return what the schema finds wrong in settings."""
    return [
        error.message
        for error in jsonschema.Draft202012Validator(make_schema()).iter_errors(settings)
    ]


def list_section_classes(section: type[Section] = Section) -> list[type[Section]]:
    """Return all classes of settings that the package defines."""
    children = [
        child for child in section.__subclasses__() if child.__module__.startswith("realm.")
    ]
    return children + [one for child in children for one in list_section_classes(child)]


def test_the_schema_is_a_valid_schema():
    jsonschema.Draft202012Validator.check_schema(make_schema())


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_config_names_the_schema_and_fits_it(config):
    validator = jsonschema.Draft202012Validator(read_schema_of(config))
    assert [error.message for error in validator.iter_errors(read_settings(config))] == []


def test_init_writes_configs_beside_the_schema_that_they_name(tmp_path):
    write_scaffold(tmp_path, "own_domain")
    for name in ("config.yaml", "teacher.yaml"):
        assert read_schema_of(tmp_path / name) == make_schema()
    assert not (tmp_path / "config.schema.json").is_symlink()


def test_import_writes_its_config_beside_the_schema_that_it_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text("question,answer,output\n1 + 1?,2,2\n")
    plan = plan_import(["a.csv"], ImportOptions(), Path("runs/a"))
    write_config(plan, Path("runs/a/config.yaml"), force=False)
    schema = read_schema_of(tmp_path / "runs/a/config.yaml")
    assert schema == make_schema()
    settings = read_settings(tmp_path / "runs/a/config.yaml")
    assert list(jsonschema.Draft202012Validator(schema).iter_errors(settings)) == []


@pytest.mark.parametrize(
    ("settings", "mistake"),
    [
        ({"train": {"fade": {"kind": "linnear"}}}, "'linnear' is not one of"),
        ({"train": {"fades": {}}}, "'fades' was unexpected"),
        ({"train": {"fade": {"dropout": 2}}}, "2 is greater than the maximum of 1"),
        ({"domain": {"kind": "fils", "path": "a.csv"}}, "is not valid under any"),
    ],
)
def test_the_schema_finds_mistakes(settings, mistake):
    assert [message for message in find_mistakes(settings) if mistake in message]


@pytest.mark.parametrize(
    "settings",
    [
        {"train": {"shared_prefix": True}},  # `on` in YAML 1.1
        {"domain": {"kind": "files", "path": ["a.csv"], "answer": "answers:make"}},
        {"domain": {"kind": "files", "path": "a.csv", "answer": {"kind": "number"}}},
        {"routes": {"kind": "collect", "teachers": [{"kind": "scripted", "name": "a"}]}},
    ],
)
def test_the_schema_takes_what_a_config_may_hold(settings):
    assert find_mistakes(settings) == []


@pytest.mark.parametrize("section", list_section_classes(), ids=lambda section: section.__name__)
def test_every_key_says_what_it_means(section):
    # A section below says so itself, and `kind` is the name of its class.
    silent = [
        key
        for key, field in section.model_fields.items()
        if not field.description
        and key != "kind"
        and not (isinstance(field.annotation, type) and issubclass(field.annotation, Section))
    ]
    assert silent == []
    assert section.__doc__ or section.__name__.startswith("_")
