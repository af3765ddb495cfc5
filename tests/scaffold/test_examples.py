"""The examples of `realm init`, and the bundled model, which work without the repository."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from realm.cli import app
from realm.cli.plan import load_token_counter
from realm.config.root import BUNDLED_MODEL, load_config
from realm.core.errors import ConfigError
from realm.deploy.student import find_model_and_prompts
from realm.domains import load_domain
from realm.run import Run
from realm.scaffold import DEMO_CONFIG, write_scaffold

ROOT = Path(__file__).parents[2]


def realm(*arguments):
    result = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def list_files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_claims_example_has_the_files_and_the_paths_of_the_repository(tmp_path):
    assert "claims/configs/demo.yaml" in realm("init", "--example", "claims", tmp_path / "claims")
    written = list_files(tmp_path / "claims")
    assert {"configs/claims-hard.yaml", "examples/claims/rules.md"} <= written
    for name in written - {"configs/config.schema.json"}:
        assert (tmp_path / "claims" / name).read_bytes() == (ROOT / name).read_bytes(), name
    assert not any(path.is_symlink() for path in (tmp_path / "claims").rglob("*"))
    for folder in ("examples/claims", "models/base-1m", "models/base-1m-totals"):
        kept = {name for name in list_files(ROOT / folder) if "__pycache__" not in name}
        assert {f"{folder}/{name}" for name in kept} <= written
    bases = {"demo": "base-1m", "claims-services": "base-1m", "claims-hard": "base-1m-totals"}
    for name, model in bases.items():
        config = load_config(tmp_path / f"claims/configs/{name}.yaml")
        assert config.resolve_model() == str(tmp_path / f"claims/configs/../models/{model}")
        assert load_domain(config).name == "claims"


def test_an_example_is_written_whole_or_not_at_all(tmp_path):
    (tmp_path / "models/base-1m").mkdir(parents=True)
    (tmp_path / "models/base-1m/config.json").write_text("mine")
    with pytest.raises(ConfigError, match=r"config\.json: exists, and is not overwritten"):
        write_scaffold(tmp_path, "claims")
    assert list_files(tmp_path) == {"models/base-1m/config.json"}


def test_what_running_an_example_leaves_in_a_clone_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr("realm.scaffold._FOLDER", tmp_path)
    for name in ("own_domain/a.csv", "own_domain/runs/x.json", "own_domain/__pycache__/a.pyc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    write_scaffold(tmp_path / "written", "own_domain")
    assert list_files(tmp_path / "written") == {"a.csv"}


def test_the_demo_runs_its_config_in_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sizes = "domain.settings.sizes={train: 9, validation: 3, test: 3}"
    printed = realm("demo", "--set", sizes, "--dry-run")
    assert "would run" in printed and "check    model and settings of train" in printed
    assert load_config(DEMO_CONFIG).run_folder() == Path("runs/demo")
    assert list(tmp_path.iterdir()) == []


def test_the_name_of_the_bundled_model_stands_for_it_unless_a_folder_has_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_scaffold(tmp_path, "own_domain")
    config = load_config("config.yaml", ["model=base-1m"])
    assert config.resolve_model() == str(BUNDLED_MODEL) and BUNDLED_MODEL.is_dir()
    count_tokens = load_token_counter(config)
    assert count_tokens is not None and count_tokens(["pay 3"]) > [0]
    assert find_model_and_prompts("base-1m")[0] == str(BUNDLED_MODEL)
    run = Run(tmp_path / "run", config)
    run.data()
    run.routes()
    assert "model" not in " ".join(run.find_inputs("distill"))
    shutil.copytree(BUNDLED_MODEL, "base-1m")
    assert load_config("config.yaml", ["model=base-1m"]).resolve_model() == str(
        tmp_path / "base-1m"
    )
    assert find_model_and_prompts("base-1m")[0] == "base-1m"
