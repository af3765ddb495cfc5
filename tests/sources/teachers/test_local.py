"""A teacher on this machine: many prompts at once, in a model that is loaded when asked."""

import asyncio
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import pytest

from realm.config.teachers import LocalTeacher as Settings
from realm.core.errors import ConfigError, ModelError
from realm.core.records import Problem
from realm.policy import Policy
from realm.sources import Request
from realm.sources.teachers.local import LocalTeacher
from teachers import free_attempts
from tiny import make_tiny


def settings(**more):
    return Settings(
        **{"kind": "local", "name": "mine", "model": "tiny", "routes": 1, "max_tokens": 6, **more}
    )


def load(model, **more):
    return LocalTeacher(settings(**more), model=str(model), version="abc")


def requests(count=3):
    problem = Problem(id="p", split="train", question="?", answer=1)
    messages = [
        (
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "1 plus " * (n + 1)},
        )
        for n in range(count)
    ]
    return [Request(problem=problem, kind="guided", sample=0, messages=pair) for pair in messages]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("tiny"))


def test_a_local_model_answers_many_requests_in_one_call(tiny, monkeypatch):
    calls = []
    generate = Policy.generate
    monkeypatch.setattr(
        Policy,
        "generate",
        lambda self, prompts, **how: calls.append(prompts) or generate(self, prompts, **how),
    )
    replies = asyncio.run(load(tiny).ask(requests(), free_attempts))
    assert len(calls) == 1 and len(calls[0]) == len(replies) == 3
    assert "Be brief." in calls[0][0] and "1 plus" in calls[0][0]
    assert all(reply.completion_tokens <= 6 and reply.prompt_tokens > 20 for reply in replies)
    assert [reply.is_cut for reply in replies] == [
        reply.completion_tokens == 6 for reply in replies
    ]


def test_the_same_requests_get_the_same_replies(tiny):
    assert asyncio.run(load(tiny).ask(requests(), free_attempts)) == asyncio.run(
        load(tiny).ask(requests(), free_attempts)
    )


def test_a_folder_that_is_no_model_is_an_error_at_the_first_request(tmp_path):
    teacher = load(tmp_path / "nothing")
    with pytest.raises(ModelError, match="no such model folder"):
        asyncio.run(teacher.ask(requests(), free_attempts))


def test_a_missing_vllm_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(
        ConfigError, match=r"realm-slm\[vllm\].*kind: api, or set engine: transformers"
    ):
        asyncio.run(load("m", engine="vllm").ask(requests(), free_attempts))


def test_vllm_is_given_all_conversations_with_a_seed_each(monkeypatch):
    seen = {}

    class LLM:
        def __init__(self, model):
            seen["model"] = model

        def chat(self, conversations, sampling, use_tqdm):
            seen.update(
                conversations=conversations, seeds=[one.seed for one in sampling], use_tqdm=use_tqdm
            )
            done = SimpleNamespace(
                text="<think>a</think>b", finish_reason="length", token_ids=[1, 2]
            )
            return [
                SimpleNamespace(prompt_token_ids=[1, 2, 3], outputs=[done]) for _ in conversations
            ]

    fake = ModuleType("vllm")
    fake.__spec__ = ModuleSpec("vllm", None)
    fake.LLM, fake.SamplingParams = LLM, lambda **how: SimpleNamespace(**how)
    monkeypatch.setitem(sys.modules, "vllm", fake)
    replies = asyncio.run(load("m", engine="vllm").ask(requests(), free_attempts))
    assert seen["model"] == "m" and len(set(seen["seeds"])) == 3 == len(seen["conversations"])
    assert (replies[0].reasoning, replies[0].text, replies[0].is_cut) == ("a", "b", True)
    assert (replies[0].prompt_tokens, replies[0].completion_tokens) == (3, 2)
