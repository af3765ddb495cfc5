"""A model that an OpenAI-compatible server answers for, such as `vllm serve`.

Prompts are rendered and encoded here, as for a local model, and sent as token ids. So both see the
same prompts.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openai import (
    APIConnectionError,
    APIStatusError,
    AsyncOpenAI,
    NotFoundError,
    OpenAI,
    OpenAIError,
)
from pydantic import ValidationError
from transformers import (
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from realm.checkpoint import check_model
from realm.config.gguf import resolve_gguf
from realm.core.errors import ConfigError, RunError
from realm.core.ranks import run_on_main
from realm.policy import Completion, Policy
from realm.prefix.sampler import cut_after_stop
from realm.sources.teachers.api import read_key

if TYPE_CHECKING:
    from realm.config.endpoint import Endpoint

logger = logging.getLogger(__name__)

# Characters of a server's own words that a message repeats.
_MAX_QUOTED = 300


def check_endpoint(endpoint: Endpoint, where: str, model: str) -> None:
    """Raise the user's mistake if the server does not answer, or does not serve the model.

    Args:
        endpoint: The server.
        where: The setting, for messages.
        model: The folder or hub id of the model that it should serve.
    """
    options = _make_options(endpoint, where) | {"max_retries": 0, "timeout": 10.0}
    try:
        with OpenAI(**options) as client:
            served = {str(card.id): card for card in client.models.list().data}
    except NotFoundError:
        raise ConfigError(
            f"{where}.base_url: {endpoint.base_url}/models is not there. Most addresses end in /v1."
        ) from None
    except (OpenAIError, ValueError, TypeError, AttributeError) as error:
        raise RunError(
            f"{where}: no server answers at {endpoint.base_url} ({_quote(error)}). Start it, for "
            f"example with `vllm serve {model} --served-model-name {endpoint.model}`; what is "
            "answered so far is kept."
        ) from None
    if endpoint.model not in served:
        raise ConfigError(
            f"{where}.model: found {endpoint.model}; the server at {endpoint.base_url} has: "
            f"{', '.join(served) or 'none'}."
        )
    # vLLM says where it has loaded the model from.
    root = getattr(served[endpoint.model], "root", None)
    if isinstance(root, str) and not _is_same(root, model):
        logger.warning(
            "%s: the server has loaded %s from %s; its answers count as those of %s.",
            where, endpoint.model, root, model,
        )  # fmt: skip


def find_served_model(base_url: str, where: str) -> Endpoint:
    """Return the endpoint of the one model that a server has.

    Raises:
        ConfigError: It is no address, or the server has several models or none.
        RunError: No server answers.
    """
    from realm.config.endpoint import Endpoint

    try:
        endpoint = Endpoint(base_url=base_url, model="")
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{where} {base_url}: {reason}.") from None
    try:
        with OpenAI(**_make_options(endpoint, where) | {"max_retries": 0, "timeout": 10.0}) as one:
            served = [str(card.id) for card in one.models.list().data]
    except (OpenAIError, ValueError, TypeError, AttributeError) as error:
        raise RunError(
            f"{where}: no server answers at {base_url} ({_quote(error)}). Start it, for example "
            "with `vllm serve`; most addresses end in /v1."
        ) from None
    if len(served) != 1:
        raise ConfigError(
            f"{where}: the server at {base_url} has {len(served)} models "
            f"({', '.join(served) or 'none'}), and it must be one. Serve the student alone."
        )
    return endpoint.model_copy(update={"model": served[0]})


def _is_same(root: str, model: str) -> bool:
    """Return whether a server's path can be that of the model; on another machine names decide."""
    if Path(root).is_dir() and Path(model).is_dir():
        return Path(root).samefile(model)
    return Path(root).name == Path(model).name


class EndpointPolicy(Policy):
    """A model whose config and tokenizer are here, and whose completions come from a server."""

    def __init__(
        self, model: str | Path, endpoint: Endpoint, where: str, *, keep: Sequence[str] = ()
    ) -> None:
        """Check the server, and load all but the weights.

        Args:
            model: A folder or a hub id.
            endpoint: The server.
            where: The setting, for messages.
            keep: Texts that survive decoding even if they are special tokens.
        """
        check_endpoint(endpoint, where, str(model))
        super().__init__(model, keep=keep)
        self._endpoint, self._where = endpoint, where

    def _load(self, model: str | Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        skeleton, name = check_model(str(model)), resolve_gguf(model)
        with suppress(OSError):  # without the file, the config names the stop token
            skeleton.generation_config = GenerationConfig.from_pretrained(name)
        return skeleton, AutoTokenizer.from_pretrained(name, trust_remote_code=False)

    def generate(  # noqa: PLR0913
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int,
        batch_tokens: int,
        seed: int,
        temperature: float = 0.0,
        num_samples: int = 1,
        skip: Collection[int] = (),
        is_shared: bool = False,
        on_done: Callable[[list[int], list[Completion]], None] | None = None,
    ) -> list[Completion]:
        """Return completions as `Policy.generate` does, which documents the arguments.

        The server makes its batches itself, so `batch_tokens` counts for nothing. `on_done` is
        called with the prompts that are answered meanwhile. With `is_shared` the main process asks,
        since the server does the work.

        Raises:
            RunError: A request has failed for good. Those that were answered are done.
        """
        encoded = self._encode(prompts)
        self._require_context(encoded, max_new_tokens)
        fields: dict[str, Any] = {"max_tokens": max_new_tokens, "temperature": temperature}

        async def complete(index: int) -> list[Completion]:
            asked = [
                self._complete_one(encoded[index], fields, (seed, index, sample))
                for sample in range(num_samples)
            ]
            return list(await asyncio.gather(*asked))

        wanted = [index for index in range(len(prompts)) if index not in skip]

        def complete_all() -> dict[int, list[Completion]]:
            return asyncio.run(self._complete_all(wanted, complete, on_done))

        finished = run_on_main(complete_all) if is_shared else complete_all()
        return [completion for index in wanted for completion in finished[index]]

    async def _complete_all(
        self,
        wanted: Sequence[int],
        complete: Callable[[int], Any],
        on_done: Callable[[list[int], list[Completion]], None] | None,
    ) -> dict[int, list[Completion]]:
        """Return the completions by the index of their prompt; only so many are in flight."""
        options = _make_options(self._endpoint, self._where)
        finished: dict[int, list[Completion]] = {}
        order = iter(wanted)
        self._places = asyncio.Semaphore(self._endpoint.concurrency)
        async with AsyncOpenAI(**options) as self._client:
            running: dict[asyncio.Task[list[Completion]], int] = {}
            try:
                while True:
                    for index in islice(order, self._endpoint.concurrency - len(running)):
                        running[asyncio.create_task(complete(index))] = index
                    if not running:
                        return finished
                    done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    answered = {running.pop(task): task for task in done}
                    failures = [task.exception() for task in answered.values()]
                    fresh = {
                        index: task.result()
                        for index, task in sorted(answered.items())
                        if task.exception() is None
                    }
                    finished |= fresh
                    if on_done and fresh:
                        on_done(list(fresh), [one for found in fresh.values() for one in found])
                    for failure in filter(None, failures):
                        raise failure
            finally:
                for task in running:
                    task.cancel()
                await asyncio.gather(*running, return_exceptions=True)

    async def _complete_one(
        self, ids: list[int], fields: dict[str, Any], seed: tuple[int, ...]
    ) -> Completion:
        digest = hashlib.sha256(repr(seed).encode()).digest()
        try:
            async with self._places:
                response = await self._client.completions.create(
                    model=self._endpoint.model,
                    prompt=ids,
                    seed=int.from_bytes(digest[:4]) >> 1,  # 31 bits are what all servers take
                    # A server's defaults are those of the checkpoint's own sampling.
                    top_p=1.0,
                    # Fields of vLLM; others that know them read them alike.
                    extra_body={
                        "top_k": -1,
                        "min_p": 0.0,
                        "repetition_penalty": 1.0,
                        "stop_token_ids": sorted(self._stops),
                        "skip_special_tokens": False,
                        "return_token_ids": True,
                    },
                    **fields,
                )
            return self._read_completion(response, ids)
        except APIStatusError as error:
            found = f"HTTP {error.status_code}: {_quote(error)}"
        except APIConnectionError as error:  # timeouts included
            found = _quote(error.__cause__ or error)
        except (OpenAIError, ValueError, TypeError, AttributeError, IndexError) as error:
            found = f"no completion in its reply ({_quote(error)})"
        raise RunError(
            f"{self._where}: the server at {self._endpoint.base_url} does not answer after "
            f"{self._endpoint.attempts} attempts: {found}. See that it is up, and run again: "
            "answers so far are kept."
        )

    def _read_completion(self, response: Any, ids: list[int]) -> Completion:
        choice = response.choices[0]
        new_ids = getattr(choice, "token_ids", None)
        num_tokens = response.usage.completion_tokens if response.usage else None
        if new_ids is None:  # only vLLM sends them
            new_ids = self.tokenizer(choice.text, add_special_tokens=False)["input_ids"]
        else:
            num_tokens = len(cut_after_stop(new_ids, self._stops))
        return Completion(
            text=self.read(new_ids),
            num_tokens=len(new_ids) if num_tokens is None else num_tokens,
            prompt_tokens=len(ids),
        )


def _make_options(endpoint: Endpoint, where: str) -> dict[str, Any]:
    """Return the arguments of an OpenAI client."""
    return {
        "base_url": endpoint.base_url,
        "api_key": read_key(endpoint.key_env, where) or "none",  # the client needs one
        "max_retries": endpoint.attempts - 1,
        "timeout": endpoint.request_seconds,
    }


def _quote(error: BaseException) -> str:
    """Return what an error says in one line, shortened."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _MAX_QUOTED else text[:_MAX_QUOTED] + " ..."
