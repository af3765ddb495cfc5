"""A teacher on this machine: a model of Transformers or vLLM, which answers many prompts at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from realm.config.routes import LocalTeacher as Settings
from realm.core.errors import ModelError
from realm.sources import Reply, Request, split_thought
from realm.sources.store import hash_request

BATCH_TOKENS = 16384
"""Prompt and new tokens of one batch of Transformers together."""
AT_ONCE = {"transformers": 32, "vllm": 512}
"""Requests of one call; vLLM schedules them by itself, and what one call has answered is stored together."""


class _Engine(Protocol):
    def complete(self, requests: Sequence[Request], seed: int) -> list[Reply]:
        """Return a reply for each request."""


class LocalTeacher:
    """A language model in this process; it is loaded at the first request, so that a full store loads none."""

    price = None

    def __init__(self, settings: Settings, *, model: str, fields: dict[str, Any]) -> None:
        """`model` is a folder or a hub id, `fields` what shapes its replies."""
        self.name, self.max_tokens = settings.name, settings.limit
        self.at_once, self.fields = AT_ONCE[settings.engine], fields
        self._settings, self._model = settings, model
        self._engine: _Engine | None = None

    async def ask(self, requests: Sequence[Request]) -> list[Reply | None]:
        """Return the replies, drawn from a seed that the requests make, so that samples differ and runs do not."""
        first = requests[0]
        seed = int(hash_request({**self.fields, "sample": first.sample}, first.messages)[:8], 16)
        return await asyncio.to_thread(self._complete, requests, seed)

    async def close(self) -> None:
        """Let the model go."""
        self._engine = None

    def _complete(self, requests: Sequence[Request], seed: int) -> list[Reply]:
        if self._engine is None:
            self._engine = _ENGINES[self._settings.engine](self._model, self._settings)
        return self._engine.complete(requests, seed)


class _Transformers:
    def __init__(self, model: str, settings: Settings) -> None:
        from realm.policy import Policy

        self.policy, self.settings = Policy(model), settings

    def complete(self, requests: Sequence[Request], seed: int) -> list[Reply]:
        limit, temperature = self.settings.max_tokens, self.settings.temperature
        completions = self.policy.generate(
            [self._render(request) for request in requests],
            max_new_tokens=limit,
            batch_tokens=BATCH_TOKENS,
            seed=seed,
            temperature=1.0 if temperature is None else temperature,
        )
        return [
            _reply(
                done.text,
                "length" if done.num_tokens >= limit else "stop",
                done.prompt_tokens,
                done.num_tokens,
            )
            for done in completions
        ]

    def _render(self, request: Request) -> str:
        *system, user = [message["content"] for message in request.messages]
        return self.policy.render(user, system[0] if system else None)


class _Vllm:
    def __init__(self, model: str, settings: Settings) -> None:
        try:
            from vllm import LLM
        except ImportError:
            raise ModelError(
                f"teacher {settings.name!r}: engine: vllm, and the package vllm is not installed here. Install it (pip install "
                "vllm; it wants a GPU and brings a torch of its own), serve the model elsewhere with `vllm serve` and use "
                "kind: api, or set engine: transformers."
            ) from None
        self.model, self.settings = LLM(model=model), settings

    def complete(self, requests: Sequence[Request], seed: int) -> list[Reply]:
        from vllm import SamplingParams

        temperature = (
            {} if self.settings.temperature is None else {"temperature": self.settings.temperature}
        )
        # One seed each: vLLM draws all requests that share one alike.
        sampling = [
            SamplingParams(max_tokens=self.settings.max_tokens, seed=seed + place, **temperature)
            for place in range(len(requests))
        ]
        outputs = self.model.chat(
            [list(request.messages) for request in requests], sampling, use_tqdm=False
        )
        return [
            _reply(done.text, done.finish_reason, len(output.prompt_token_ids), len(done.token_ids))
            for output in outputs
            for done in output.outputs
        ]


_ENGINES: dict[str, Callable[[str, Settings], _Engine]] = {
    "transformers": _Transformers,
    "vllm": _Vllm,
}


def request_fields(settings: Settings, model: str) -> dict[str, Any]:
    """Return what shapes a reply besides the messages; `model` is a hub id, or the hash of a folder's files."""
    return {
        "local": model,
        "engine": settings.engine,
        "temperature": settings.temperature,
        "max_tokens": settings.max_tokens,
    }


def _reply(
    text: str, finish_reason: str | None, prompt_tokens: int, completion_tokens: int
) -> Reply:
    reasoning, text = split_thought(text)
    return Reply(
        text=text,
        reasoning=reasoning,
        finish_reason=finish_reason,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
    )
