"""An endpoint's replies and failures: what is read, retried and explained; no key is shown."""

import asyncio
import json
from pathlib import Path

import pytest

from endpoint import Endpoint
from realm.config.teachers import ApiTeacher as Settings
from realm.core import errors
from realm.core.errors import ConfigError, ModelError, RunError, mask_secrets
from realm.core.records import Problem
from realm.sources import NoReplyError, Reply, Request
from realm.sources.teachers.api import ApiTeacher, read_reply, request_fields
from teachers import free_attempts, opened

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
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    opened.clear()


def ask(endpoint, seconds=30, attempts=1, **more):
    async def once():
        own = settings(base_url=endpoint.url, **more)
        teacher = ApiTeacher(own, seconds=seconds, attempts=attempts)
        teacher.open()
        try:
            return (await teacher.ask([REQUEST], free_attempts))[0]
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
    assert (reply.text, reply.is_cut, reply.prompt_tokens, reply.completion_tokens) == (
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
def test_what_is_not_a_chat_completion_is_a_value_error(answer):
    with pytest.raises(ValueError, match="not a chat completion"):
        read_reply(answer)


def test_usage_that_is_no_count_is_not_said():
    for usage in (None, "many", {"prompt_tokens": "3"}, {"prompt_tokens": -1}):
        assert read_reply(body({"content": "x"}) | {"usage": usage}) == Reply(text="x")


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("429", "free"),
        ("500", "free"),
        ("drop", "unknown"),
        ("torn", "unknown"),
        ("stall", "unknown"),
    ],
)
def test_what_passes_is_tried_again_and_counted_if_it_may_be_charged(fault, outcome):
    def fail_first(number, body):
        return fault if number == 0 else None

    with Endpoint(fault=fail_first) as endpoint:
        reply = ask(endpoint, seconds=1, attempts=2)
    assert reply.text == "The answer is 1"
    assert [attempt.outcome for attempt in opened] == [outcome, "answered"]


@pytest.mark.parametrize("fault", ["429", "500", "drop", "torn"])
def test_a_request_that_always_fails_gets_no_reply(fault):
    with (
        Endpoint(fault=lambda number, body: fault) as endpoint,
        pytest.raises(NoReplyError) as failure,
    ):
        ask(endpoint, attempts=3)
    assert len(endpoint.calls) == len(opened) == 3
    assert "3 attempts, the last: " in str(failure.value) and not failure.value.is_refused


@pytest.mark.parametrize(("fault", "attempts"), [("endless", 1), ("drip", 2)])
def test_a_reply_without_end_is_given_up(fault, attempts):
    with (
        Endpoint(fault=lambda number, body: fault) as endpoint,
        pytest.raises(NoReplyError, match=r"did not end within 16,777,216 bytes") as failure,
    ):
        ask(endpoint, seconds=0.5 if fault == "drip" else 30, attempts=2)
    # Too large a reply is left out at once; a slow one may do better next time.
    assert failure.value.is_refused == (fault == "endless") and len(opened) == attempts
    assert {attempt.outcome for attempt in opened} == {"unknown"}


def test_a_call_that_never_reached_the_endpoint_costs_nothing():
    with Endpoint() as endpoint:
        pass
    with pytest.raises(NoReplyError, match="Connect"):
        ask(endpoint, attempts=2)
    assert [attempt.outcome for attempt in opened] == ["free", "free"]


def test_a_dead_proxy_is_named_without_its_password(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://me:secret@127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with Endpoint() as endpoint, pytest.raises(NoReplyError) as failure:
        ask(endpoint)
    assert "through the proxy 127.0.0.1:9" in str(failure.value)
    assert "secret" not in str(failure.value)


def test_an_empty_account_is_not_asked_again():
    says = "insufficient_quota: add credit"
    with Endpoint(fault=lambda number, body: "429", says=says) as endpoint:
        endpoint.error_code = "insufficient_quota"
        with pytest.raises(RunError, match="no credit left"):
            ask(endpoint, attempts=5)
    assert len(endpoint.calls) == 1


def test_a_long_wait_that_the_endpoint_asks_for_is_said():
    with (
        Endpoint(fault=lambda number, body: "429", retry_after=lambda: "86400") as endpoint,
        pytest.raises(NoReplyError, match="it asks to wait: Retry-After: 86400"),
    ):
        ask(endpoint, attempts=2)


@pytest.mark.parametrize(
    ("error", "kind", "match"),
    [
        ({"message": "Insufficient credits", "code": 402}, RunError, "no credit left"),
        (
            {"message": "Rate limit exceeded", "code": 429},
            NoReplyError,
            "HTTP 429: Rate limit exceeded",
        ),
        ({"message": "odd"}, NoReplyError, "HTTP 502: odd"),
    ],
)
def test_an_error_in_a_reply_of_status_200_means_what_it_says(error, kind, match):
    with Endpoint(body=lambda body: {"error": error}) as endpoint, pytest.raises(kind, match=match):
        ask(endpoint, attempts=2)
    assert {attempt.outcome for attempt in opened} == {"unknown"}


@pytest.mark.parametrize(
    ("status", "kind", "cure"),
    [
        ("401", ConfigError, "environment variable MY_PROVIDER was not accepted"),
        ("402", RunError, "no credit left"),
        ("403", ModelError, "Check what the account and the model 'big-1' allow"),
        ("404", ConfigError, r"model \('big-1'\) and base_url"),
        ("405", ConfigError, r"base_url, which for most servers ends in /v1"),
        ("400", NoReplyError, "refused: HTTP 400"),
    ],
)
def test_failures_that_do_not_pass_say_what_to_do(status, kind, cure):
    with Endpoint(fault=lambda number, body: status) as endpoint, pytest.raises(kind, match=cure):
        ask(endpoint)
    assert len(endpoint.calls) == 1


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
        pytest.raises(NoReplyError) as failure,
    ):
        ask(endpoint)
    assert "correct" not in str(failure.value)


def test_a_key_in_use_is_masked_whatever_its_variable_is_called():
    ApiTeacher(settings(), seconds=1, attempts=1).open()
    assert mask_secrets(f"headers: {{'x': '{KEY}'}}") == "headers: {'x': '***'}"


def test_a_server_without_a_key_may_say_none():
    with Endpoint(answer=lambda body: "The answer is none") as endpoint:
        assert ask(endpoint, key_env=None).text == "The answer is none"


def test_a_missing_key_names_its_variable(monkeypatch):
    monkeypatch.delenv("MY_PROVIDER")
    with pytest.raises(ConfigError, match=r"variable MY_PROVIDER is not set.*key_env: null"):
        ApiTeacher(settings(), seconds=1, attempts=1).open()


@pytest.mark.parametrize("key", ["two words", '"quoted-key"', "käse-und-brot"])
def test_a_key_with_characters_that_no_key_has_is_refused_and_not_shown(monkeypatch, key):
    monkeypatch.setenv("MY_PROVIDER", key)
    with pytest.raises(ConfigError, match="holds white space, quotes or other") as failure:
        ApiTeacher(settings(), seconds=1, attempts=1).open()
    assert key not in str(failure.value)


def test_white_space_around_a_key_is_taken_off(monkeypatch):
    monkeypatch.setenv("MY_PROVIDER", f"  {KEY}\n")
    with Endpoint() as endpoint:
        ask(endpoint)
    assert endpoint.calls[0].headers["authorization"] == f"Bearer {KEY}"


CASES = [
    json.loads(line)
    for line in (Path(__file__).parents[2] / "cases/replies.jsonl").read_text().splitlines()
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_replies_met_in_practice_are_read(case):
    expected = case["expected"]
    if "raises" in expected:
        with pytest.raises(ValueError):
            read_reply(case["input"])
        return
    reply = read_reply(case["input"])
    found = {"text": reply.text, "reasoning": reply.reasoning, "truncated": reply.is_cut}
    assert {name: found[name] for name in expected if name != "why"} == {
        name: value for name, value in expected.items() if name != "why"
    }


@pytest.mark.parametrize(
    ("finish", "tokens", "is_cut"),
    [
        ("stop", 9, False),
        ("stop", 16, True),
        ("length", 9, True),
        ("MAX_TOKENS", 9, True),
        ("content_filter", 9, True),
        ("RECITATION", 9, True),
        ("refusal", 9, True),
        ("insufficient_system_resource", 9, True),
        ("end_turn", 9, False),
        (None, 9, False),
    ],
)
def test_a_reply_that_ends_early_is_cut(finish, tokens, is_cut):
    answer = body({"content": "The answer is 4"}, finish_reason=finish)
    reply = read_reply(answer | {"usage": {"completion_tokens": tokens}}, max_tokens=16)
    assert reply.is_cut is is_cut


def test_an_error_is_no_end_of_a_reply():
    with pytest.raises(ValueError, match="an error in place of a chat completion"):
        read_reply(body({"content": "The answer is 4"}, finish_reason="ERROR"))


def test_a_summary_of_the_reasoning_is_thought():
    details = [
        {"type": "reasoning.summary", "summary": "It adds."},
        {"type": "reasoning.encrypted", "data": "gAAA"},
    ]
    reply = read_reply(body({"content": "4", "reasoning_details": details}))
    assert (reply.reasoning, reply.text) == ("It adds.", "4")


@pytest.mark.parametrize("count", [2**63, 10**400, True, 1.5, float("inf")])
def test_a_count_of_tokens_that_no_reply_has_is_not_taken(count):
    reply = read_reply(body({"content": "x"}) | {"usage": {"completion_tokens": count}})
    assert reply.completion_tokens is None


def test_half_a_surrogate_pair_is_mended_on_entry():
    reply = read_reply(body({"content": "done \ud83d", "reasoning": "\ud83d\ude00 \udc00"}))
    assert (reply.text, reply.reasoning) == ("done �", "😀 �")
    assert reply.chain.encode()


def test_a_key_that_a_server_repeats_in_a_reply_is_masked():
    with Endpoint(answer=lambda body: f"You sent {KEY}. The answer is 2") as endpoint:
        assert ask(endpoint).text == "You sent ***. The answer is 2"
