"""A teacher behind an OpenAI-compatible endpoint: one attempt of one request, and what a failure means."""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from openai import APIConnectionError, APIStatusError, AsyncOpenAI

from realm.config.routes import ApiTeacher as Settings
from realm.core.errors import ConfigError, ModelError, RunError, keep_secret, mask_secrets
from realm.sources import Refused, Reply, Request, TryAgain, split_thought

_LONGEST = 300
"""Characters of an endpoint's own words that a message repeats."""
_PASSES = {408, 409, 425, 429}
_ABOUT_THE_REQUEST = {400, 413, 422}


class ApiTeacher:
    """Asks one sample a request: `n` is never sent, since many servers ignore or refuse it."""

    at_once = 1

    def __init__(self, settings: Settings, *, seconds: float) -> None:
        """Read the key from the environment; `seconds` is the time limit of one attempt."""
        self.name, self.price, self.max_tokens = settings.name, settings.price, settings.limit
        self.fields = request_fields(settings)
        self._settings, self._seconds = settings, seconds
        self._url = (
            settings.base_url or os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"
        )
        # A client that waits and tries again by itself would do so behind the budget's back.
        self._client = AsyncOpenAI(
            base_url=self._url, api_key=read_key(settings), max_retries=0, timeout=seconds
        )

    async def ask(self, requests: Sequence[Request]) -> list[Reply | None]:
        """Return the reply to the one request."""
        (request,) = requests
        body = {**self.fields, "messages": list(request.messages)}
        try:
            async with asyncio.timeout(self._seconds):
                response = await self._client.chat.completions.with_raw_response.create(
                    model=body.pop("model"), messages=body.pop("messages"), extra_body=body
                )
        except TimeoutError:
            raise TryAgain(f"no reply within {self._seconds:g} s", maybe_charged=True) from None
        except APIConnectionError as error:  # its time-outs as well
            raise self._explain_connection(error) from None
        except APIStatusError as error:
            raise self._explain(error) from None
        return [self._read(response.http_response.content)]

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.close()

    def _read(self, body: bytes) -> Reply:
        try:
            return read_reply(json.loads(body))
        except (ValueError, RecursionError):
            said = self._mask(body.decode(errors="replace"))
            raise TryAgain(
                f"the reply is no chat completion: {said!r}", maybe_charged=True
            ) from None

    def _explain_connection(self, error: APIConnectionError) -> TryAgain:
        """Return a failure to pass on; what never reached the endpoint (a `ConnectError` of the HTTP library) costs nothing."""
        cause = error.__cause__ or error
        said = self._mask(f"{type(cause).__name__} at {self._url}: {str(cause) or error}")
        return TryAgain(said, maybe_charged=not type(cause).__name__.startswith("Connect"))

    def _explain(self, error: APIStatusError) -> Exception:
        """Return what the status means: it passes, this request is refused, or the user must do something."""
        status, said = error.status_code, self._mask(_message_of(error))
        found = f"HTTP {status}: {said}"
        place = f"teacher {self.name!r} at {self._url}: {found}. "
        if status == 402 or "insufficient_quota" in (error.code, error.type):
            return RunError(
                place
                + "The account has no credit left. Top it up and run again; nothing is paid twice."
            )
        if status in _PASSES or status >= 500:
            after = read_retry_after(error.response.headers)
            return TryAgain(found, busy=status == 429 or after is not None, after=after)
        if status in _ABOUT_THE_REQUEST:
            return Refused(found)
        if status == 401:
            name = self._settings.key_env
            where = (
                f"The key in the environment variable {name} was not accepted"
                if name
                else "It wants a key, and key_env is null"
            )
            return ConfigError(
                f"{place}{where}. Check the key, key_env, and that base_url is the address of its provider."
            )
        if status == 404:
            return ConfigError(
                f"{place}There is no such model or address. Check model ({self._settings.model!r}) and base_url, "
                "which for most servers ends in /v1."
            )
        return ModelError(
            f"{place}Trying again would not help. Check what the account and the model {self._settings.model!r} allow."
        )

    def _mask(self, text: str) -> str:
        """Return a message in one line, without keys, and then cut: what is cut first could leave half a key."""
        text = " ".join(mask_secrets(text).split())
        return text if len(text) <= _LONGEST else text[:_LONGEST] + " ..."


def request_fields(settings: Settings) -> dict[str, Any]:
    """Return the fields of a request besides its messages, as they are sent."""
    fields: dict[str, Any] = {"model": settings.model}
    if settings.temperature is not None:
        fields["temperature"] = settings.temperature
    if "max_completion_tokens" not in settings.extra:
        fields["max_tokens"] = settings.max_tokens
    return fields | settings.extra


def read_key(settings: Settings) -> str:
    """Return the key that the environment holds; from here on every message masks it."""
    if settings.key_env is None:
        return "none"  # the package wants one
    key = os.environ.get(settings.key_env, "").strip()
    if not key:
        raise ConfigError(
            f"teacher {settings.name!r}: the environment variable {settings.key_env} is not set. Put the key there, or set "
            "key_env: null for a server that asks for none."
        )
    keep_secret(key)
    if not re.fullmatch(r"[!#-&(-\[\]-~]+", key):
        raise ConfigError(
            f"teacher {settings.name!r}: the environment variable {settings.key_env} holds white space, quotes or other "
            "characters that no key has. Set it to the key alone."
        )
    return key


def read_reply(body: Any) -> Reply:
    """Return the reply that the body of an answer holds; `ValueError` where it is no chat completion.

    Reasoning comes as `reasoning_content` or `reasoning` beside the content, or in think tags before it. A content of null
    is an empty text: the endpoint has answered, and the teacher said nothing.
    """
    try:
        choice = body["choices"][0]
        message = choice["message"]
        text = _join(message.get("content"))
    except (KeyError, IndexError, TypeError, AttributeError):
        raise ValueError("no chat completion") from None
    reasoning = _join(message.get("reasoning_content")) or _join(message.get("reasoning"))
    if not reasoning:
        reasoning, text = split_thought(text)
    usage = body.get("usage") if isinstance(body.get("usage"), dict) else {}
    return Reply(
        text=text,
        reasoning=reasoning,
        finish_reason=choice.get("finish_reason")
        if isinstance(choice.get("finish_reason"), str)
        else None,
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
    )


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait that the headers ask for, as a number or as a date; `None` where they ask for none."""
    said = headers.get("retry-after", "")
    try:
        seconds = float(said)
    except ValueError:
        try:
            moment = parsedate_to_datetime(said)
        except ValueError:
            return None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        seconds = (moment - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _message_of(error: APIStatusError) -> str:
    """Return the endpoint's own words, from the usual place of the body where they are there."""
    body = error.body
    if isinstance(body, dict):
        inner = body.get("error", body)
        said = inner.get("message") if isinstance(inner, dict) else inner
        if isinstance(said, str):
            return said
    return error.message


def _join(content: Any) -> str:
    """Return a content that is a text, nothing, or a list of parts of which some are text."""
    if isinstance(content, list):
        return "".join(_join(part.get("text")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None
