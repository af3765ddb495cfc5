"""A server answers as the model on this machine does, and its faults are one message."""

import re

import pytest

from endpoint import Endpoint as FakeServer
from realm.config.endpoint import Endpoint
from realm.core.errors import ConfigError, ModelError, RunError
from realm.endpoint import EndpointPolicy, check_endpoint
from realm.policy import Policy
from tiny import make_tiny

PROMPTS = ["How much is 2 + 2?", "Hi", "A longer question, which is here to be uneven: why?"]
SETTINGS = {"max_new_tokens": 12, "batch_tokens": 4096, "seed": 1}
WHERE = "evaluate.endpoints.base"


@pytest.fixture(scope="module", params=["qwen2", "llama"])
def local(request, tmp_path_factory):
    return Policy(make_tiny(tmp_path_factory.mktemp("model") / request.param, request.param))


@pytest.fixture
def server(local):
    """Give a server that answers greedily with the weights of the local model, as vLLM would."""

    def answer(body):
        assert all(type(token) is int for token in body["prompt"])
        text = local.tokenizer.decode(body["prompt"], skip_special_tokens=False)
        assert local._encode([text]) == [body["prompt"]]
        settings = {"max_new_tokens": body["max_tokens"], "batch_tokens": 4096, "seed": 1}
        [ids] = local._sample([body["prompt"]], 1, _settings(local, **settings))
        return {"text": "unread", "token_ids": ids}

    with FakeServer(answer=answer, cards=[{"id": "tiny", "root": local.name}]) as running:
        yield running


def _settings(local, max_new_tokens, **_):
    settings = local.model.generation_config
    settings.update(max_new_tokens=max_new_tokens, do_sample=False)
    return settings


def make_endpoint(server, **changed):
    settings = {"base_url": server.url, "model": "tiny", "attempts": 1, "request_seconds": 20.0}
    return Endpoint(**settings | changed)


def make_policy(local, server, **changed):
    return EndpointPolicy(local.name, make_endpoint(server, **changed), WHERE)


def test_it_answers_as_the_model_on_this_machine(local, server):
    policy = make_policy(local, server)
    rendered = [policy.render(prompt, "Be brief.") for prompt in PROMPTS]
    assert rendered == [local.render(prompt, "Be brief.") for prompt in PROMPTS]
    assert policy.generate(rendered, **SETTINGS) == local.generate(rendered, **SETTINGS)
    assert next(policy.model.parameters()).is_meta, "no weights are loaded"


def test_no_sampling_of_a_checkpoint_or_a_server_remains(local, server):
    policy = make_policy(local, server)
    policy.generate([policy.render("Hi")], **SETTINGS, temperature=0.7, num_samples=2)
    bodies = [call.body for call in server.calls]
    assert len({body["seed"] for body in bodies}) == 2, "two samples differ"
    expected = {"temperature": 0.7, "top_p": 1.0, "top_k": -1, "min_p": 0.0, "max_tokens": 12}
    expected |= {"repetition_penalty": 1.0, "stop_token_ids": sorted(local._stops)}
    for body in bodies:
        assert {name: body[name] for name in expected} == expected and body["model"] == "tiny"


def test_a_server_that_sends_no_token_ids_is_read_by_its_text(local):
    def answer(body):
        return "<answer>4</answer>"

    with FakeServer(answer=answer, cards=[{"id": "tiny"}]) as server:
        policy = make_policy(local, server)
        [found] = policy.generate([policy.render("Hi")], **SETTINGS)
    assert (found.text, found.num_tokens) == ("<answer>4</answer>", 5)  # as the fake counts
    assert found.prompt_tokens == len(local._encode([local.render("Hi")])[0])


def test_so_many_requests_are_in_flight_and_no_more(local):
    with FakeServer(latency=0.05, cards=[{"id": "tiny"}]) as server:
        policy = make_policy(local, server, concurrency=4)
        rendered = [policy.render(f"Number {n}") for n in range(20)]
        done = []
        found = policy.generate(
            rendered, **SETTINGS, temperature=1.0, num_samples=2, skip={3},
            on_done=lambda indices, completions: done.append((indices, completions)),
        )  # fmt: skip
    assert len(server.calls) == 2 * 19 and server.most_in_flight == 4
    assert sorted(index for indices, _ in done for index in indices) == [
        index for index in range(20) if index != 3
    ]
    assert all(len(completions) == 2 * len(indices) for indices, completions in done)
    assert len(found) == 2 * 19


def test_completions_stand_in_the_order_of_the_prompts(local):
    def answer(body):
        return re.findall(r"Number \d+", local.tokenizer.decode(body["prompt"]))[0]

    with FakeServer(answer=answer, cards=[{"id": "tiny"}]) as server:
        policy = make_policy(local, server)
        rendered = [policy.render(f"Number {n}") for n in range(9)]
        found = policy.generate(rendered, **SETTINGS)
    assert [one.text for one in found] == [f"Number {n}" for n in range(9)]


@pytest.mark.parametrize("fault", ["500", "429", "drop"])
def test_a_passing_fault_is_tried_again(local, fault):
    def fail_once(number, body):
        return fault if number == 0 else None

    with FakeServer(fault=fail_once, cards=[{"id": "tiny"}]) as server:
        policy = make_policy(local, server, attempts=3)
        assert len(policy.generate([policy.render("Hi")], **SETTINGS)) == 1
    assert len(server.calls) == 2


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("500", "HTTP 500: .*a fault: 500"),
        ("drop", "disconnected"),
        ("400", "HTTP 400"),
        ("torn", "no completion in its reply"),
    ],
)
def test_a_lasting_fault_is_one_message_and_what_is_answered_is_kept(local, fault, said):
    def fail(number, body):
        return fault if number >= 3 else None

    done = []
    with FakeServer(fault=fail, cards=[{"id": "tiny"}]) as server:
        policy = make_policy(local, server, concurrency=1)
        rendered = [policy.render(f"Number {n}") for n in range(9)]
        with pytest.raises(RunError, match=said) as caught:
            policy.generate(rendered, **SETTINGS, on_done=lambda indices, _: done.extend(indices))
    assert done == [0, 1, 2]
    assert str(caught.value).startswith(f"{WHERE}: the server at {server.url} does not answer")
    assert "answers so far are kept" in str(caught.value)


@pytest.mark.parametrize("body", [{}, {"choices": []}, {"choices": None}, {"choices": [{}]}])
def test_a_reply_that_is_no_completion_is_one_message(local, body):
    with FakeServer(body=lambda _: body, cards=[{"id": "tiny"}]) as server:
        policy = make_policy(local, server)
        with pytest.raises(RunError, match="no completion in its reply"):
            policy.generate([policy.render("Hi")], **SETTINGS)


def test_a_prompt_that_does_not_fit_is_refused_before_anything_is_sent(local, server):
    policy = make_policy(local, server)
    with pytest.raises(ModelError, match="reads at most 4096 tokens"):
        policy.generate(["x" * 5000], **SETTINGS)
    assert server.calls == []


def test_a_key_is_sent_and_masked(local, monkeypatch):
    monkeypatch.setenv("MY_SERVER", "correct-horse-battery")

    def refuse(number, body):
        return "401"

    said = "the key was {authorization}"
    with FakeServer(fault=refuse, says=said, cards=[{"id": "tiny"}]) as server:
        policy = make_policy(local, server, key_env="MY_SERVER")
        with pytest.raises(RunError, match="HTTP 401") as caught:
            policy.generate([policy.render("Hi")], **SETTINGS)
    assert server.calls[0].headers["authorization"] == "Bearer correct-horse-battery"
    assert "battery" not in str(caught.value)


def test_a_server_without_the_model_is_refused(local, server):
    with pytest.raises(ConfigError, match=rf"^{WHERE}\.model: found other; .* has: tiny\.$"):
        check_endpoint(make_endpoint(server, model="other"), WHERE, local.name)


def test_an_address_without_models_is_refused(local, server):
    url = server.url.removesuffix("/v1")
    with pytest.raises(ConfigError, match=r"/models is not there\. Most addresses end in /v1"):
        check_endpoint(make_endpoint(server, base_url=url), WHERE, local.name)


def test_a_server_that_is_not_there_is_named_with_the_command_that_starts_it(local):
    endpoint = Endpoint(base_url="http://127.0.0.1:9/v1", model="tiny")
    with pytest.raises(RunError, match=f"vllm serve {local.name} --served-model-name tiny"):
        check_endpoint(endpoint, WHERE, local.name)


def test_a_model_from_another_place_is_warned_of(local, server, tmp_path, caplog):
    check_endpoint(make_endpoint(server), WHERE, local.name)
    assert not caplog.records
    for root in (str(tmp_path), "/elsewhere/model"):
        server.cards = [{"id": "tiny", "root": root}]
        check_endpoint(make_endpoint(server), WHERE, local.name)
        assert f"has loaded tiny from {root}" in caplog.text


@pytest.mark.parametrize("url", ["localhost:8000", "http://me:pw@host/v1", "http://host/v1?key=a"])
def test_an_address_that_is_none_or_holds_a_password_is_refused(url):
    with pytest.raises(ValueError, match="address"):
        Endpoint(base_url=url, model="m")
