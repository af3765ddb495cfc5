"""`realm doctor` on a config: what it finds, and what it calls a problem."""

from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from endpoint import Endpoint
from realm.cli import app
from realm.doctor.config import examine_config


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def fail(*arguments, **options):
        raise OSError("Name or service not known")

    monkeypatch.setattr("huggingface_hub.get_session", lambda: SimpleNamespace(head=fail))
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", fail)


def find(findings, name):
    (found,) = [finding for finding in findings if finding.name == name]
    return found


def test_a_sound_config_has_no_problems_and_nothing_is_written(config, tmp_path):
    before = sorted(tmp_path.iterdir())
    found = list(examine_config(config, []))
    assert [finding for finding in found if finding.is_problem] == []
    assert find(found, "problems").text == "12 test, 24 train, 4 validation"
    assert "million weights, reads 4,096 tokens" in find(found, "model").text
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("override", "name", "words"),
    [
        ("seedd=1", "config", "Did you mean 'seed'?"),
        ("domain.path=none.jsonl", "problems", "there is no such file"),
        ("model=./nowhere", "model", "there is no folder"),
        ("train.grpo.num_generation=2", "settings", "GRPOConfig of TRL has no such setting"),
    ],
)
def test_a_mistake_in_a_config_is_a_problem_with_its_fix(config, override, name, words):
    found = find(examine_config(config, [override]), name)
    assert found.is_problem and words in found.text


def test_a_plan_beyond_the_free_memory_is_noted(config, monkeypatch):
    room = find(examine_config(config, []), "room")
    assert room.text.startswith("the largest stage, ") and not room.fix
    scarce = SimpleNamespace(available=10**6, total=2**33)
    monkeypatch.setattr("psutil.virtual_memory", lambda: scarce)
    room = find(examine_config(config, []), "room")
    assert "0.0 GB are free" in room.text and "set train.lora" in room.fix


def collect_from(endpoint, **more):
    teacher = {
        "kind": "api",
        "name": "big",
        "model": "big-1",
        "base_url": endpoint.url,
        "key_env": None,
        "guided": 1,
        "eval_routes": 1,
        **more,
    }
    return {"kind": "collect", "teachers": [teacher]}


@pytest.fixture
def ask_teacher(config, write_config, tmp_path):
    """Return a function that gives the finding about a teacher behind an endpoint.

    The problems are those of `config`.
    """

    def ask(endpoint, **more):
        (tmp_path / "rules.md").write_text("# Rules\n\n1. Add.\n")
        domain = {"kind": "files", "path": "rows.jsonl", "answer": "number", "rules": "rules.md"}
        path = write_config(
            model=None, domain=domain, routes=collect_from(endpoint, **more), run="run"
        )
        return find(examine_config(path, []), "teacher big")

    return ask


def test_a_teacher_gets_one_call_with_a_short_reply(ask_teacher):
    with Endpoint() as endpoint:
        found = ask_teacher(endpoint, max_tokens=4000)
        assert not found.is_problem and found.text.startswith("big-1 answered in ")
        ask_teacher(endpoint, extra={"max_completion_tokens": 4000})
    first, second = endpoint.calls
    assert first.body["max_tokens"] == second.body["max_completion_tokens"] == 16


def test_a_teacher_that_refuses_the_key_is_a_problem(ask_teacher):
    with Endpoint(fault=lambda number, body: "401") as endpoint:
        found = ask_teacher(endpoint)
    assert found.is_problem and "HTTP 401" in found.text
    assert len(endpoint.calls) == 1


def test_the_verb_prints_all_and_its_exit_code_says_whether_a_run_would_start(config):
    good = CliRunner().invoke(app, ["doctor", str(config)])
    assert good.exit_code == 0, good.output
    assert good.output.splitlines()[-1].startswith("problems: 0, ")
    bad = CliRunner().invoke(app, ["doctor", str(config), "--set", "seedd=1"])
    assert bad.exit_code == 2 and "PROBLEM  config" in bad.output
    assert bad.output.splitlines()[-1].startswith("problems: 1, ")
    machine = CliRunner().invoke(app, ["doctor"])
    assert machine.exit_code == 0 and "config" not in machine.output
