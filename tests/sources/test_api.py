"""An endpoint's replies and failures: what is read, what passes, what the user must do, and that no key is shown."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from endpoint import Endpoint
from realm.config.routes import ApiTeacher as Settings
from realm.core import errors
from realm.core.errors import ConfigError, ModelError, RunError, mask_secrets
from realm.core.records import Problem
from realm.sources import Refused, Reply, Request, TryAgain
from realm.sources.api import ApiTeacher, read_reply, read_retry_after, request_fields

KEY = "correct-horse-battery-staple"
REQUEST = Request(
    problem=Problem(id="p", split="train", question="?", answer=1),
    kind="unguided",
    sample=0,
    messages=({"role": "user", "content": "1 plus 1?"},),
)


def settings(**more):
    return Settings(
        **{
            "kind": "api",
            "name": "big",
            "model": "big-1",
            "key_env": "MY_PROVIDER",
            "routes": 1,
            **more,
        }
    )


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("MY_PROVIDER", KEY)
    monkeypatch.setattr(errors, "_known", set())


def ask(endpoint, seconds=30, **more):
    async def once():
        teacher = ApiTeacher(settings(base_url=endpoint.url, **more), seconds=seconds)
        try:
            return (await teacher.ask([REQUEST]))[0]
        finally:
            await teacher.close()

    return asyncio.run(once())


def body(message, **choice):
    return {"choices": [{"message": message, **choice}]}


def test_a_request_is_sent_as_it_is_hashed():
    with Endpoint() as endpoint:
        ask(endpoint, max_tokens=77, extra={"reasoning_effort": "low"})
    (call,) = endpoint.calls
    sent = {"model": "big-1", "temperature": 1.0, "max_tokens": 77, "reasoning_effort": "low"}
    assert call.body == {**sent, "messages": [{"role": "user", "content": "1 plus 1?"}]}
    assert request_fields(settings(max_tokens=77, extra={"reasoning_effort": "low"})) == sent
    assert call.headers["authorization"] == f"Bearer {KEY}"


def test_a_limit_under_its_other_name_and_no_temperature():
    fields = request_fields(settings(temperature=None, extra={"max_completion_tokens": 9}))
    assert fields == {"model": "big-1", "max_completion_tokens": 9}


def test_a_reply_holds_text_tokens_and_how_it_ended():
    with Endpoint(
        answer=lambda body: {"content": "The answer is", "finish_reason": "length"}
    ) as endpoint:
        reply = ask(endpoint)
    assert (reply.text, reply.truncated, reply.prompt_tokens, reply.completion_tokens) == (
        "The answer is",
        True,
        3,
        5,
    )


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_separate_reasoning_comes_before_the_text_in_the_chain(field):
    reply = read_reply(body({"content": "So 2.", field: "1 and 1."}))
    assert (reply.reasoning, reply.text, reply.chain) == ("1 and 1.", "So 2.", "1 and 1.\n\nSo 2.")


def test_reasoning_in_think_tags_is_set_apart():
    reply = read_reply(body({"content": "<think>\n1 and 1.\n</think>\n\nSo 2."}))
    assert (reply.reasoning, reply.text) == ("1 and 1.", "So 2.")


@pytest.mark.parametrize("content", [None, "", [], 7])
def test_a_reply_that_says_nothing_is_an_empty_text(content):
    assert read_reply(body({"content": content})).text == ""


def test_a_content_of_parts_is_joined():
    assert (
        read_reply(
            body({"content": [{"type": "text", "text": "So "}, {"type": "text", "text": "2."}]})
        ).text
        == "So 2."
    )


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {},
        {"choices": []},
        {"choices": [None]},
        {"choices": [{"message": None}]},
        {"error": "x"},
        "x",
    ],
)
def test_what_is_no_chat_completion_is_a_value_error(answer):
    with pytest.raises(ValueError, match="no chat completion"):
        read_reply(answer)


def test_usage_that_is_no_count_is_not_said():
    for usage in (None, "many", {"prompt_tokens": "3"}, {"prompt_tokens": -1}):
        assert read_reply(body({"content": "x"}) | {"usage": usage}) == Reply(text="x")


@pytest.mark.parametrize(
    ("fault", "busy", "charged"),
    [
        ("429", True, False),
        ("500", False, False),
        ("drop", False, True),
        ("torn", False, True),
        ("stall", False, True),
    ],
)
def test_failures_that_pass_may_be_tried_again(fault, busy, charged):
    with Endpoint(fault=lambda number, body: fault) as endpoint, pytest.raises(TryAgain) as failure:
        ask(endpoint, seconds=0.4 if fault == "stall" else 30)
    assert (failure.value.busy, failure.value.maybe_charged) == (busy, charged)


def test_a_call_that_never_reached_the_endpoint_costs_nothing():
    with Endpoint() as endpoint:
        url = endpoint.url
    endpoint.port = int(url.split(":")[2].split("/")[0])
    with pytest.raises(TryAgain, match="Connect") as failure:
        ask(endpoint)
    assert not failure.value.maybe_charged


@pytest.mark.parametrize(
    ("status", "kind", "cure"),
    [
        ("401", ConfigError, "environment variable MY_PROVIDER was not accepted"),
        ("402", RunError, "no credit left"),
        ("403", ModelError, "Check what the account and the model 'big-1' allow"),
        ("404", ConfigError, r"model \('big-1'\) and base_url"),
        ("400", Refused, "HTTP 400"),
    ],
)
def test_failures_that_do_not_pass_say_what_to_do(status, kind, cure):
    with Endpoint(fault=lambda number, body: status) as endpoint, pytest.raises(kind, match=cure):
        ask(endpoint)
    assert len(endpoint.calls) == 1


def test_an_endpoint_is_asked_once_by_the_package_below():
    with Endpoint(fault=lambda number, body: "500") as endpoint, pytest.raises(TryAgain):
        ask(endpoint)
    assert len(endpoint.calls) == 1


def test_retry_after_is_read_as_seconds_and_as_a_date():
    assert read_retry_after({"retry-after": "2.5"}) == 2.5
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 27 < read_retry_after({"retry-after": date}) <= 30
    past = format_datetime(datetime.now(UTC) - timedelta(seconds=30), usegmt=True)
    assert read_retry_after({"retry-after": past}) == 0
    assert (
        read_retry_after({})
        is read_retry_after({"retry-after": "soon"})
        is read_retry_after({"retry-after": "nan"})
        is None
    )


@pytest.mark.parametrize("status", ["401", "400", "404", "403", "402", "429", "500"])
@pytest.mark.parametrize(
    "says",
    [
        "you sent {authorization}",
        f"the key {KEY[:6]}...aple is wrong",
        "Incorrect API key: corr************aple",
    ],
)
def test_a_key_that_an_endpoint_echoes_is_masked(status, says):
    with (
        Endpoint(fault=lambda number, body: status, says=says) as endpoint,
        pytest.raises(Exception) as failure,
    ):
        ask(endpoint)
    shown = str(failure.value) + repr(failure.value.__cause__)
    assert "***" in shown and KEY not in shown and "aple" not in shown
    assert failure.value.__suppress_context__


def test_a_key_is_masked_whole_though_the_message_is_cut():
    with (
        Endpoint(fault=lambda number, body: "500", says="x" * 290 + "{authorization}") as endpoint,
        pytest.raises(TryAgain) as failure,
    ):
        ask(endpoint)
    assert "correct" not in str(failure.value)


def test_a_key_in_use_is_masked_whatever_its_variable_is_called():
    ApiTeacher(settings(), seconds=1)
    assert mask_secrets(f"headers: {{'x': '{KEY}'}}") == "headers: {'x': '***'}"


def test_a_missing_key_names_its_variable(monkeypatch):
    monkeypatch.delenv("MY_PROVIDER")
    with pytest.raises(ConfigError, match=r"variable MY_PROVIDER is not set.*key_env: null"):
        ApiTeacher(settings(), seconds=1)


@pytest.mark.parametrize("key", ["two words", '"quoted-key"', "käse-und-brot"])
def test_a_key_with_characters_that_no_key_has_is_refused_and_not_shown(monkeypatch, key):
    monkeypatch.setenv("MY_PROVIDER", key)
    with pytest.raises(ConfigError, match="holds white space, quotes or other") as failure:
        ApiTeacher(settings(), seconds=1)
    assert key not in str(failure.value)


def test_white_space_around_a_key_is_taken_off(monkeypatch):
    monkeypatch.setenv("MY_PROVIDER", f"  {KEY}\n")
    with Endpoint() as endpoint:
        ask(endpoint)
    assert endpoint.calls[0].headers["authorization"] == f"Bearer {KEY}"
