"""An evaluation whose answers come from a server: the results, a resume, and what is checked."""

import shutil

import pytest

from endpoint import Endpoint as FakeServer
from realm.core.errors import ConfigError, RunError
from realm.core.jsonl import read_jsonl
from realm.evaluate import check_evaluate, run_evaluate
from realm.evaluate.compare import run_comparison
from realm.evaluate.modes import TASKS, run_task
from realm.policy import Policy


@pytest.fixture
def make_served(make_run):
    """Give a function that makes a run whose base model a server answers for, and the server."""
    servers = []

    def make(fault=lambda number, body: None, **settings):
        server = FakeServer(fault=fault, cards=[{"id": "served"}])
        servers.append(server.__enter__())
        endpoint = {"base_url": server.url, "model": "served", "attempts": 1, "concurrency": 2}
        return make_run(endpoints={"base": endpoint}, **settings), server

    yield make
    for server in servers:
        server.__exit__()


def answer_as(folder):
    """Return an answer of a server that has the weights of a folder, as vLLM would."""
    policy = Policy(folder)

    def answer(body):
        settings = policy.model.generation_config
        settings.update(max_new_tokens=body["max_tokens"], do_sample=False)
        return {"text": "unread", "token_ids": policy._sample([body["prompt"]], 1, settings)[0]}

    return answer


def test_the_answers_are_those_of_the_model_on_this_machine(make_run, make_served):
    run = make_run(count=3)
    run_evaluate(run)
    local = read_jsonl(run.path("answers.jsonl"))
    shutil.rmtree(run.work("eval"))  # it keeps finished answers
    run, server = make_served(count=3)
    server.answer = answer_as(run.config.model)
    run_evaluate(run)
    assert read_jsonl(run.path("answers.jsonl")) == local
    assert len(server.calls) == len(local) == 8


def test_an_evaluation_that_broke_off_asks_only_what_is_missing(make_served):
    run, server = make_served(fault=lambda number, body: "500" if number >= 5 else None)
    with pytest.raises(RunError, match=r"evaluate\.endpoints\.base: .*answers so far are kept"):
        run_evaluate(run)
    kept = read_jsonl(run.work("eval") / "base-assisted.jsonl")
    # Two requests are in flight: the one that fails may end before the other.
    assert 4 <= len(kept) <= 5
    asked = len(server.calls)
    server.fault = lambda number, body: None
    run_evaluate(run)
    assert len(server.calls) == asked + 14 - len(kept)
    assert len(read_jsonl(run.path("answers.jsonl"))) == 14


def test_samples_are_asked_one_by_one(make_served):
    run, server = make_served(count=2, samples=3)
    run_evaluate(run)
    sampled = [call.body for call in server.calls if call.body["temperature"] == 1.0]
    assert len(sampled) == 3 * 3 and len({body["seed"] for body in sampled}) == 9


def test_the_server_is_checked_before_any_stage(make_served):
    run, server = make_served()
    check_evaluate(run)
    server.cards = [{"id": "another"}]
    with pytest.raises(ConfigError, match=r"evaluate\.endpoints\.base\.model: found served"):
        check_evaluate(run)


def test_a_model_that_is_not_trained_yet_is_not_looked_for(make_run):
    endpoint = {"base_url": "http://127.0.0.1:9/v1", "model": "later"}
    run = make_run(endpoints={"realm": endpoint, "round-1": endpoint})
    run.config = run.config.with_settings({"rounds": 2})
    check_evaluate(run)


def test_a_model_that_the_run_never_has_is_refused(make_run):
    endpoint = {"base_url": "http://127.0.0.1:9/v1", "model": "never"}
    for name in ("round-1", "distilled"):
        run = make_run(endpoints={name: endpoint})
        run.config = run.config.with_settings({"recipe": "zero"})
        found = rf"endpoints\.{name}: this run has no such model\. It has: base, realm"
        with pytest.raises(ConfigError, match=found):
            check_evaluate(run)


def test_another_server_leaves_a_finished_evaluation_up_to_date(make_run, make_served):
    local, (served, _) = make_run(), make_served()
    assert local.config.evaluate.endpoints != served.config.evaluate.endpoints
    assert local.find_settings("eval") == served.find_settings("eval")


def test_a_comparison_asks_the_server_for_the_base_model_alone(make_served):
    run, server = make_served(count=2)
    run_task(TASKS["autonomous"], run)
    assert len(server.calls) == 3
    shutil.copytree(run.config.model, run.path("model"))  # now the cell has trained one
    shutil.rmtree(run.work("autonomous"))
    run_task(TASKS["autonomous"], run)
    assert len(server.calls) == 3


def test_a_comparison_refuses_a_server_for_a_model_that_it_trains(make_run):
    endpoint = {"base_url": "http://127.0.0.1:9/v1", "model": "m"}
    with pytest.raises(ConfigError, match=r"evaluate\.endpoints\.realm: .* Allowed: base"):
        run_comparison(make_run(endpoints={"realm": endpoint}))


def test_a_comparison_checks_the_server_before_any_cell(make_run):
    run = make_run(endpoints={"base": {"base_url": "http://127.0.0.1:9/v1", "model": "m"}})
    run.config = run.config.with_settings({"compare.methods": ["base"], "compare.seeds": 1})
    with pytest.raises(RunError, match=r"evaluate\.endpoints\.base: no server answers"):
        run_comparison(run)
    assert not run.path("cells").exists()


def test_a_name_that_no_model_has_is_refused(make_run):
    endpoint = {"base_url": "http://127.0.0.1:9/v1", "model": "m"}
    with pytest.raises(ValueError, match="found 'student'; allowed: base, distilled, realm"):
        make_run(endpoints={"student": endpoint})
