"""`realm serve`, asked by the official client: prompts applied, reasoning and answer apart."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request

import openai
import pytest

from finished_run import BASE
from realm.core.errors import ConfigError, DataError, RunError
from realm.core.records import Judgement
from realm.deploy import server
from realm.deploy.server import Answerer, make_app, require_server, run_server
from realm.deploy.student import Reply, Student
from realm.policy import Completion

uvicorn = pytest.importorskip("uvicorn", reason="needs pip install 'realm-slm[serve]'")
TEXT = "<verify>Route 1: flawed</verify><reason>3 + 4 = 7</reason><answer>7</answer>"


class Recorder:
    """A student that records how it is asked, and always answers 7."""

    has_upstream = False

    def __init__(self):
        self.calls = []

    def ask(self, question, **options):
        if question == "server away":
            raise RunError("no server answers")
        if question == "too long":
            raise DataError("too long for the model")
        self.calls.append({"question": question, **options})
        return Reply(
            completion=Completion(text=TEXT, num_tokens=9, prompt_tokens=31),
            judgement=Judgement(verdicts=(False,), answer="7", reasoning="3 + 4 = 7"),
            own_answers=("8",),
            num_tokens=21,
            is_cut=question == "long",
        )


@pytest.fixture(scope="module")
def student():
    return Recorder()


@pytest.fixture(scope="module")
def client(student):
    """Give the official client of a server that stands."""
    settings = uvicorn.Config(
        make_app(Answerer(student, "tiny", self_routes=2, max_new_tokens=100)),
        port=0,
        log_level="error",
    )
    running = uvicorn.Server(settings)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        assert thread.is_alive()
    port = running.servers[0].sockets[0].getsockname()[1]
    yield openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0)
    running.should_exit = True
    thread.join(10)


def ask(client, question="3 + 4?", **more):
    messages = [{"role": "user", "content": question}]
    return client.chat.completions.create(model="tiny", messages=messages, **more)


def test_answer_and_reasoning_come_apart_and_the_tokens_are_counted(client, student):
    done = ask(client)
    message = done.choices[0].message
    assert (message.content, message.reasoning_content) == ("7", "3 + 4 = 7")
    assert done.choices[0].finish_reason == "stop" and done.model == "tiny"
    assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (31, 21)
    assert done.realm == {"completion": TEXT, "own_answers": ["8"], "verdicts": [False]}
    assert ask(client, "long").choices[0].finish_reason == "length"
    assert student.calls[0] == {
        "question": "3 + 4?",
        "self_routes": 2,
        "max_new_tokens": 100,
        "temperature": 0.0,
        "seed": 7,
    }


def test_what_a_request_asks_for_reaches_the_student(client, student):
    ask(client, max_tokens=5000, temperature=0.5, seed=0, extra_body={"self_routes": 0})
    asked = student.calls[-1]
    assert asked.pop("question") == "3 + 4?"
    assert asked == {"self_routes": 0, "max_new_tokens": 100, "temperature": 0.5, "seed": 0}
    ask(client, max_completion_tokens=7)
    assert student.calls[-1]["max_new_tokens"] == 7


def test_a_stream_gives_the_same_in_pieces(client):
    events = list(ask(client, stream=True))
    deltas = [event.choices[0].delta for event in events]
    assert "".join(delta.content or "" for delta in deltas) == "7"
    assert deltas[1].model_extra == {"reasoning_content": "3 + 4 = 7"}
    assert events[-1].choices[0].finish_reason == "stop"
    assert events[-1].usage.completion_tokens == 21


def test_only_the_last_question_is_shown_and_that_is_said(client, student, caplog):
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "1 + 1?"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": [{"type": "text", "text": "3 + 4?"}]},
    ]
    client.chat.completions.create(model="tiny", messages=messages, top_p=0.5)
    assert student.calls[-1]["question"] == "3 + 4?"
    assert "ignored in requests: earlier turns" in caplog.text
    assert "ignored in requests: top_p" in caplog.text


@pytest.mark.parametrize(
    ("question", "more", "message"),
    [
        ("3 + 4?", {"n": 2}, "n: found 2"),
        ("3 + 4?", {"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools: the"),
        ("3 + 4?", {"temperature": -1}, "temperature: Input should be"),
        ("3 + 4?", {"extra_body": {"self_routes": 1000}}, "self_routes: Input should be"),
        (" ", {}, "the last message by the user is missing or empty"),
        ("too long", {}, "too long for the model"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(client, question, more, message):
    with pytest.raises(openai.BadRequestError, match=message):
        ask(client, question, **more)


def test_a_server_behind_it_that_fails_is_no_fault_of_the_request(client):
    with pytest.raises(openai.InternalServerError, match="no server answers"):
        ask(client, "server away")


def test_another_model_is_refused_and_the_one_there_is_is_listed(client):
    assert [one.id for one in client.models.list()] == ["tiny"]
    with pytest.raises(openai.BadRequestError, match="this server has 'tiny'"):
        client.chat.completions.create(model="big", messages=[{"role": "user", "content": "?"}])


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(server, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"realm-slm\[serve\]"):
        require_server()


def test_a_port_that_is_taken_is_one_message(client):
    port = client.base_url.port
    with pytest.raises(DataError, match=f"--port {port}: cannot be used"):
        run_server(Answerer(Recorder(), "tiny", 0, 1), "127.0.0.1", port)


@pytest.mark.slow
def test_the_bundled_model_answers_through_the_command_line_as_it_does_to_ask():
    command = [sys.executable, "-u", "-m", "realm", "serve", str(BASE), "--port", "0"]
    process = subprocess.Popen(
        [*command, "--self-routes", "2", "--max-new-tokens", "40"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        url = re.search(r"http://\S+/v1", process.stdout.readline())[0]
        client = openai.OpenAI(base_url=url, api_key="none")
        done = client.chat.completions.create(
            model="base-1m", messages=[{"role": "user", "content": "Ann pays 3 of 9. Left?"}]
        )
        with urllib.request.urlopen(url.replace("/v1", "/health")) as answer:
            assert json.load(answer) == {"status": "ok"}
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
    finally:
        process.kill()
    wanted = Student(str(BASE)).ask("Ann pays 3 of 9. Left?", self_routes=2, max_new_tokens=40)
    assert done.realm["completion"] == wanted.completion.text
    assert done.realm["own_answers"] == list(wanted.own_answers)
    assert done.choices[0].message.content == (wanted.judgement.answer or "")
