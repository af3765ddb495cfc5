"""A teacher on this machine: a model in Transformers or vLLM, which takes many prompts at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from realm.core.errors import ModelError
from realm.method.thoughts import split_thoughts
from realm.sources import Attempts, Reply, Request, Teacher
from realm.sources.store import hash_request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realm.config.teachers import LocalTeacher as Settings

# Prompt and new tokens of one batch of Transformers together.
BATCH_TOKENS = 16384
# Requests in one call. What one call has answered is stored together; vLLM schedules by itself.
BATCH_SIZES = {"transformers": 32, "vllm": 512}


class _Engine(Protocol):
    def complete(self, requests: Sequence[Request], seed: int) -> list[Reply | None]:
        """Return a reply for each request."""


class LocalTeacher(Teacher):
    """A language model in this process, loaded at the first request."""

    def __init__(self, settings: Settings, *, model: str, version: str) -> None:
        """Keep the settings.

        Args:
            settings: The teacher's settings.
            model: A folder or a hub id.
            version: A hub id, or the hash of the folder's files.
        """
        self.name, self.max_tokens = settings.name, settings.limit
        self.fields = {
            "local": version,
            "engine": settings.engine,
            "temperature": settings.temperature,
            "max_tokens": settings.max_tokens,
        }
        self.batch_size = BATCH_SIZES[settings.engine]
        self._settings, self._model = settings, model
        self._engine: _Engine | None = None
        self._turn = asyncio.Lock()

    async def ask(self, requests: Sequence[Request], attempts: Attempts) -> list[Reply | None]:
        """Return the replies, drawn with a seed from the requests: samples differ, runs do not."""
        first = requests[0]
        fields = {**(self.fields or {}), "sample": first.sample}
        seed = int(hash_request(fields, first.messages)[:8], 16)
        # One call at a time: a call is a whole batch.
        async with self._turn, attempts() as attempt:
            replies = await asyncio.to_thread(self._complete, requests, seed)
            attempt.outcome = "answered"
        return replies

    async def close(self) -> None:
        """Release the model."""
        self._engine = None

    def _complete(self, requests: Sequence[Request], seed: int) -> list[Reply | None]:
        if self._engine is None:
            engine = _Vllm if self._settings.engine == "vllm" else _Transformers
            self._engine = engine(self._model, self._settings)
        return self._engine.complete(requests, seed)


class _Transformers:
    def __init__(self, model: str, settings: Settings) -> None:
        from realm.policy import Policy

        self.policy, self.settings = Policy(model), settings

    def complete(self, requests: Sequence[Request], seed: int) -> list[Reply | None]:
        limit, temperature = self.settings.max_tokens, self.settings.temperature
        completions = self.policy.generate(
            [self._render(request) for request in requests],
            max_new_tokens=limit,
            batch_tokens=BATCH_TOKENS,
            seed=seed,
            temperature=1.0 if temperature is None else temperature,
        )
        return [
            _make_reply(
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
                f"teacher {settings.name!r}: engine: vllm, and the package vllm is not installed "
                "here. Install it (pip install vllm; it needs a GPU and brings its own torch), "
                "serve the model elsewhere with `vllm serve` and use kind: api, or set engine: "
                "transformers."
            ) from None
        self.model, self.settings = LLM(model=model), settings

    def complete(self, requests: Sequence[Request], seed: int) -> list[Reply | None]:
        from vllm import SamplingParams

        options: dict[str, Any] = {"max_tokens": self.settings.max_tokens}
        if self.settings.temperature is not None:
            options["temperature"] = self.settings.temperature
        # A seed for each: vLLM draws the same sample for all requests that share one.
        sampling = [SamplingParams(seed=seed + n, **options) for n in range(len(requests))]
        conversations = [list(request.messages) for request in requests]
        outputs = self.model.chat(conversations, sampling, use_tqdm=False)
        return [
            _make_reply(
                output.outputs[0].text,
                output.outputs[0].finish_reason,
                len(output.prompt_token_ids),
                len(output.outputs[0].token_ids),
            )
            for output in outputs
        ]


def _make_reply(
    text: str, finish_reason: str | None, prompt_tokens: int, completion_tokens: int
) -> Reply:
    reasoning, text = split_thoughts(text)
    return Reply(
        text=text,
        reasoning=reasoning,
        finish_reason=finish_reason,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
    )
