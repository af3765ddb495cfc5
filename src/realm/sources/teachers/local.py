"""A teacher on this machine: a model in Transformers or vLLM, which takes many prompts at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from realm.core.errors import require_package
from realm.method.thoughts import split_thoughts
from realm.sources import Attempts, Reply, Request, Teacher
from realm.sources.store import hash_request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from realm.config.teachers import LocalTeacher as Settings

    Completion = tuple[str, str | None, int, int]
    """Text, finish reason, prompt tokens and completion tokens."""
    Complete = Callable[[Sequence[Request], int], list[Completion]]
    """Completes a batch of requests with a seed."""

# Prompt and new tokens of one batch of Transformers together.
BATCH_TOKENS = 16384
# Requests in one call. What one call has answered is stored together; vLLM schedules by itself.
BATCH_SIZES = {"transformers": 32, "vllm": 512}


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
        self._complete: Complete | None = None
        self._turn = asyncio.Lock()

    async def ask(self, requests: Sequence[Request], attempts: Attempts) -> list[Reply | None]:
        """Return the replies, drawn with a seed from the requests: samples differ, runs do not."""
        # A batch is drawn together, so its first request stands for all.
        first = requests[0]
        fields = {**(self.fields or {}), "sample": first.sample}
        seed = int(hash_request(fields, first.messages)[:8], 16)
        # One call at a time: a call is a whole batch.
        async with self._turn, attempts() as attempt:
            replies = await asyncio.to_thread(self._complete_all, requests, seed)
            attempt.outcome = "answered"
        return replies

    async def close(self) -> None:
        """Release the model."""
        self._complete = None

    def _complete_all(self, requests: Sequence[Request], seed: int) -> list[Reply | None]:
        if self._complete is None:
            load = _load_vllm if self._settings.engine == "vllm" else _load_transformers
            self._complete = load(self._model, self._settings)
        replies: list[Reply | None] = []
        for text, finish, num_prompt, num_completion in self._complete(requests, seed):
            reasoning, text = split_thoughts(text)
            reply = Reply(
                text=text,
                reasoning=reasoning,
                finish_reason=finish,
                prompt_tokens=num_prompt,
                completion_tokens=num_completion,
            )
            replies.append(reply)
        return replies


def require_engine(settings: Settings) -> None:
    """Raise `ConfigError` if the package of the engine is not installed."""
    if settings.engine == "vllm":
        require_package(
            "vllm",
            f"teacher {settings.name!r}: engine: vllm",
            "(on a machine with a GPU; it brings its own torch). Or serve the model with "
            "`vllm serve` and use kind: api, or set engine: transformers.",
        )


def _load_transformers(model: str, settings: Settings) -> Complete:
    from realm.policy import Policy

    policy = Policy(model)

    def complete_batch(requests: Sequence[Request], seed: int) -> list[Completion]:
        prompts = []
        for request in requests:
            # A prompt is one message of the user, with a system message before it or none.
            *system, user = [message["content"] for message in request.messages]
            prompts.append(policy.render(user, system[0] if system else None))
        limit, temperature = settings.max_tokens, settings.temperature
        completions = policy.generate(
            prompts,
            max_new_tokens=limit,
            batch_tokens=BATCH_TOKENS,
            seed=seed,
            temperature=1.0 if temperature is None else temperature,
        )
        ends = ["length" if done.num_tokens >= limit else "stop" for done in completions]
        return [
            (done.text, end, done.prompt_tokens, done.num_tokens)
            for done, end in zip(completions, ends, strict=True)
        ]

    return complete_batch


def _load_vllm(model: str, settings: Settings) -> Complete:
    require_engine(settings)
    from vllm import LLM, SamplingParams

    llm = LLM(model=model)
    options: dict[str, Any] = {"max_tokens": settings.max_tokens}
    if settings.temperature is not None:
        options["temperature"] = settings.temperature

    def complete_batch(requests: Sequence[Request], seed: int) -> list[Completion]:
        # A seed for each: vLLM draws the same sample for all requests that share one.
        sampling = [SamplingParams(seed=seed + n, **options) for n in range(len(requests))]
        conversations = [list(request.messages) for request in requests]
        outputs = llm.chat(conversations, sampling, use_tqdm=False)
        first = [output.outputs[0] for output in outputs]
        return [
            (done.text, done.finish_reason, len(output.prompt_token_ids), len(done.token_ids))
            for output, done in zip(outputs, first, strict=True)
        ]

    return complete_batch
