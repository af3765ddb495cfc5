"""`realm doctor` on the machine: what it finds, and what it calls a problem."""

from importlib import metadata
from types import SimpleNamespace

import pytest

from realm.doctor.machine import Finding, examine_hub, examine_machine, examine_packages


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def fail(*arguments, **options):
        raise OSError("Name or service not known")

    monkeypatch.setattr("huggingface_hub.get_session", lambda: SimpleNamespace(head=fail))
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", fail)


def find(findings, name):
    (found,) = [finding for finding in findings if finding.name == name]
    return found


def test_the_machine_is_described_and_little_memory_is_noted(tmp_path, monkeypatch):
    found = list(examine_machine(tmp_path / "runs/later"))
    assert not any(finding.is_problem for finding in found)
    assert "GiB free" in find(found, "disk").text and not find(found, "disk").fix
    scarce = SimpleNamespace(available=2**30, total=2**33)
    monkeypatch.setattr("psutil.virtual_memory", lambda: scarce)
    low = find(examine_machine(tmp_path), "memory")
    assert (low.text, bool(low.fix), low.is_problem) == (
        "1.0 GiB free of 8.0 GiB",
        True,
        False,
    )


def test_a_python_that_is_too_old_is_a_problem(tmp_path, monkeypatch):
    monkeypatch.setattr("platform.python_version", lambda: "3.9.1")
    found = find(examine_machine(tmp_path), "python")
    assert found.is_problem and ">=3.11" in found.fix


def test_packages_are_compared_with_what_is_supported(monkeypatch):
    real = metadata.version

    def version(name):
        if name == "numpy":
            raise metadata.PackageNotFoundError(name)
        found = {"trl": "1.15.2", "gguf": "0.1.0", "torch": "2.99.0rc1"}
        return found.get(name) or real(name)

    monkeypatch.setattr(metadata, "version", version)
    found = list(examine_packages())
    assert [finding.name for finding in found if finding.is_problem] == ["numpy", "trl"]
    assert find(found, "numpy").fix == 'pip install "numpy>=1.26"'
    assert find(found, "trl").text.startswith("1.15.2; supported: ")
    assert not find(found, "gguf").is_problem and find(found, "gguf").fix, "it is optional"


def test_the_hub_is_asked_for_the_model_and_its_absence_is_a_note(monkeypatch):
    away = examine_hub(None)
    assert away.text.endswith("Name or service not known") and away.fix and not away.is_problem
    asked = []
    monkeypatch.setattr(
        "huggingface_hub.HfApi.model_info", lambda self, model, timeout: asked.append(model)
    )
    assert not examine_hub("owner/name").fix and asked == ["owner/name"]
    monkeypatch.setattr("huggingface_hub.constants.is_offline_mode", lambda: True)
    assert "HF_HUB_OFFLINE" in examine_hub("owner/name").text


def test_a_key_of_the_environment_is_masked(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "correct-horse-battery")
    finding = Finding(name="teacher", text="the key correct-horse-battery was refused")
    assert finding.describe() == "ok       teacher      the key *** was refused"
