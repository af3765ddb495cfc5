"""A teacher behind an OpenAI-compatible endpoint.

The `openai` client connects, times out and retries. Its HTTP client is ours in one respect: each
attempt is opened with the collection, which reserves what it may cost.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from openai import APIConnectionError, APIStatusError, AsyncOpenAI, DefaultAsyncHttpxClient

from realm.core.errors import ConfigError, ModelError, RunError, keep_secret, mask_secrets
from realm.sources import Attempts, NoReplyError, Reply, Request, Teacher, read_choice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realm.config.teachers import ApiTeacher as Settings

# Characters of an endpoint's own words that a message repeats.
_MAX_QUOTED = 300
# No reply is longer than this; an endless one would fill the memory.
_MAX_BYTES = 16 * 2**20
# SQLite holds integers up to 2**63 - 1; no reply has this many tokens.
_MAX_COUNT = 10**12

_attempts: ContextVar[Attempts] = ContextVar("attempts")


class _MeteredClient(DefaultAsyncHttpxClient):
    """An HTTP client that opens an attempt for each request, and reads a reply within limits."""

    def __init__(self, seconds: float) -> None:
        super().__init__(timeout=seconds)
        self._seconds = seconds

    async def send(self, request: Any, **options: Any) -> Any:
        async with _attempts.get()() as attempt:
            try:
                response = await super().send(request, **options | {"stream": True})
            except Exception as error:
                # ConnectError and ConnectTimeout: nothing reached the endpoint.
                if type(error).__name__.startswith("Connect"):
                    attempt.outcome = "free"
                raise
            body = await self._read_body(response)
            if isinstance(body, int):
                message = f"the reply did not end within {_MAX_BYTES:,} bytes and the time limit"
                content = json.dumps({"error": {"message": message}}).encode()
                return _copy_response(response, body, content)
            if response.status_code >= 400:
                attempt.outcome = "free"  # providers charge for replies only
                if b"insufficient_quota" in body:
                    # OpenAI sends 429 for an empty account; waiting does not fill it.
                    response.headers["x-should-retry"] = "false"
                return _copy_response(response, response.status_code, body)
            status = _find_error_status(body)
            attempt.outcome = "unknown" if status else "answered"
            # The client retries by status; what it does not retry is explained by status.
            return _copy_response(response, status or response.status_code, body)

    async def _read_body(self, response: Any) -> bytes | int:
        """Return the body, or the status of a reply that does not end: too large, or too slow."""
        chunks, size = [], 0
        try:
            # The timeout of httpx is one of silence: a byte now and then would keep it waiting.
            async with asyncio.timeout(self._seconds):
                async for chunk in response.aiter_bytes():
                    chunks.append(chunk)
                    size += len(chunk)
                    if size > _MAX_BYTES:
                        return 413
        except TimeoutError:
            return 408
        finally:
            await response.aclose()
        return b"".join(chunks)


def _copy_response(response: Any, status: int, content: bytes) -> Any:
    """Return a response with a body that is already read and decoded."""
    coded = ("content-encoding", "content-length", "transfer-encoding")
    headers = [(name, value) for name, value in response.headers.items() if name not in coded]
    return type(response)(status, headers=headers, content=content, request=response.request)


class ApiTeacher(Teacher):
    """Asks for one sample per request: many servers ignore or refuse `n`."""

    batch_size = 1

    def __init__(self, settings: Settings, *, seconds: float, attempts: int) -> None:
        """Keep the settings; `open` reads the key from the environment.

        Args:
            settings: The teacher's settings.
            seconds: Time limit of one attempt.
            attempts: How often a request is tried.
        """
        self.name, self.price, self.max_tokens = settings.name, settings.price, settings.limit
        self.fields = request_fields(settings)
        self._settings, self._seconds, self._attempts = settings, seconds, attempts
        default = os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1")
        self._url = settings.base_url or default

    def open(self) -> None:
        """Read the key, and make the client."""
        self._key = read_key(self._settings.key_env, f"teacher {self.name!r}")
        self._client = AsyncOpenAI(
            base_url=self._url,
            api_key=self._key or "none",  # the client needs one
            max_retries=self._attempts - 1,
            timeout=self._seconds,
            http_client=_MeteredClient(self._seconds),
        )

    async def ask(self, requests: Sequence[Request], attempts: Attempts) -> list[Reply | None]:
        """Return the reply to the one request."""
        (request,) = requests
        fields = request_fields(self._settings)
        # Each call runs in a task of its own, so tasks do not see each other's value.
        _attempts.set(attempts)
        try:
            response = await self._client.chat.completions.with_raw_response.create(
                model=fields.pop("model"),
                messages=list(request.messages),  # type: ignore[arg-type]  # plain dicts do
                # Here the client also takes fields that it does not know, such as those of a vLLM
                # server.
                extra_body=fields,
            )
        except APIConnectionError as error:  # timeouts included
            raise NoReplyError(self._explain_connection(error)) from None
        except APIStatusError as error:
            raise self._explain_status(error) from None
        body = response.http_response.text
        if self._key:  # a server may repeat the key that it was sent
            body = body.replace(self._key, "***")
        return [read_reply(json.loads(body), max_tokens=self.max_tokens)]

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _explain_connection(self, error: APIConnectionError) -> str:
        cause = error.__cause__ or error
        address = urlsplit(self._url)
        proxy = getproxies().get(address.scheme)
        where = self._url
        if proxy and not proxy_bypass(address.hostname or ""):
            # What stands before an @ in the address of a proxy is a password.
            shown = proxy.rpartition("@")[2]
            where += f" through the proxy {shown} (environment variable {address.scheme}_proxy)"
        said = f"{type(cause).__name__} at {where}: {str(cause) or error}"
        return _quote_line(f"{self._attempts} attempts, the last: {said}")

    def _explain_status(self, error: APIStatusError) -> Exception:
        """Return what a status means: try later, a refused request, or something to be done."""
        status = error.status_code
        found = f"HTTP {status}: {_quote_line(_message_of(error))}"
        has_no_credit = status == 402 or "insufficient_quota" in (error.code, error.type)
        # About this very request: too long, filtered, or a field that the model does not take.
        if status in (400, 413, 422):
            return NoReplyError(f"refused: {found}", is_refused=True)
        # What the client has retried in vain.
        if not has_no_credit and (status in (408, 409, 425, 429) or status >= 500):
            wait = error.response.headers.get("retry-after")
            hint = f" (it asks to wait: Retry-After: {_quote_line(wait)})" if wait else ""
            return NoReplyError(f"{self._attempts} attempts, the last: {found}{hint}")
        key, model = self._settings.key_env, repr(self._settings.model)
        cure = f"A retry would not help. Check what the account and the model {model} allow."
        kind: type[Exception] = ModelError
        if has_no_credit:
            cure = "The account has no credit left. Top it up and run again; nothing is paid twice."
            kind = RunError
        elif status == 401:
            why = f"The key in the environment variable {key} was not accepted"
            why = why if key else "It wants a key, and key_env is null"
            cure = f"{why}. Check the key, key_env, and that base_url is the provider's address."
            kind = ConfigError
        elif status in (404, 405):
            cure = (
                f"There is no such model or address. Check model ({model}) and base_url, which for "
                "most servers ends in /v1."
            )
            kind = ConfigError
        return kind(f"teacher {self.name!r} at {self._url}: {found}. {cure}")


def request_fields(settings: Settings) -> dict[str, Any]:
    """Return the fields of a request besides its messages, as they are sent."""
    fields: dict[str, Any] = {"model": settings.model}
    if settings.temperature is not None:
        fields["temperature"] = settings.temperature
    if "max_completion_tokens" not in settings.extra:
        fields["max_tokens"] = settings.max_tokens
    return fields | settings.extra


def read_key(variable: str | None, where: str) -> str | None:
    """Return the key from the environment, if one is set; from here on every message masks it.

    Args:
        variable: The setting `key_env`.
        where: What the key is for, in error messages.
    """
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    where = f"{where}: the environment variable {variable}"
    if not key:
        raise ConfigError(
            f"{where} is not set. Put the key there, or set key_env: null for a server that asks "
            "for none."
        )
    keep_secret(key)
    # Visible ASCII without quotes and the backslash: what an HTTP header can hold.
    if not re.fullmatch(r"[!#-&(-\[\]-~]+", key):
        raise ConfigError(
            f"{where} holds white space, quotes or other characters that no key has. Set it to the "
            "key alone."
        )
    return key


def read_reply(body: Any, *, max_tokens: int | None = None) -> Reply:
    """Return the reply in the body of a chat completion.

    Args:
        body: The JSON value that the endpoint sent.
        max_tokens: The limit that was asked for; a reply as long as that counts as cut off.

    Raises:
        ValueError: It is not a chat completion, or reports an error.
    """
    try:
        reply = read_choice(body["choices"][0])
        error = body.get("error")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise ValueError("not a chat completion") from None
    if error and not reply.text:  # some gateways report an error beside an empty choice
        raise ValueError("an error in place of a chat completion")
    usage = body.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    completion_tokens = _read_count(usage.get("completion_tokens"))
    # Some servers say "stop" for a reply that ends at the limit.
    is_cut = max_tokens is not None and (completion_tokens or 0) >= max_tokens
    return replace(
        reply,
        finish_reason="length" if is_cut else reply.finish_reason,
        prompt_tokens=_read_count(usage.get("prompt_tokens")),
        completion_tokens=completion_tokens,
    )


def _read_count(value: Any) -> int | None:
    # `True` is an int in Python, and no count.
    is_count = isinstance(value, int) and not isinstance(value, bool)
    return value if is_count and 0 <= value <= _MAX_COUNT else None


def _find_error_status(body: bytes) -> int | None:
    """Return the status that a reply of status 200 should have had; `None` if it is good.

    Gateways report errors of the provider behind them in the body. A body that is not a chat
    completion at all gets 502, which the client retries.
    """
    value = None  # stays so if the body is not JSON
    try:
        value = json.loads(body)
        read_reply(value)
    except (ValueError, RecursionError):
        error = value.get("error") if isinstance(value, dict) else None
        code = error.get("code") if isinstance(error, dict) else None
        return code if isinstance(code, int) and 400 <= code < 600 else 502
    return None


def _message_of(error: APIStatusError) -> str:
    """Return the endpoint's own words; the client has taken `error` out of the body."""
    said = error.body.get("message") if isinstance(error.body, dict) else None
    return said if isinstance(said, str) else error.message


def _quote_line(text: str) -> str:
    """Return a message in one line, without keys. It is cut last: a cut could leave half a key."""
    # One line, because messages are shown in lists and progress bars.
    text = " ".join(mask_secrets(text).split())
    return text if len(text) <= _MAX_QUOTED else text[:_MAX_QUOTED] + " ..."
