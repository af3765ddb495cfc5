"""Settings of OpenAI-compatible endpoints: their address, their key, and who answers there."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, PositiveFloat, PositiveInt

from realm.core.settings import Section


def _check_address(url: str) -> str:
    parts = urlsplit(url)
    # Without http:// in front, the address localhost:8000/v1 has the scheme "localhost".
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("this is no address; it needs the form http://host:port/v1")
    if parts.username or parts.password or parts.query:
        raise ValueError(
            "the address holds a user, a password or a query, which would be written to files; "
            "put the key into an environment variable and name that in key_env"
        )
    return url


def _check_variable(name: str) -> str:
    # Capitals only, so that a key pasted here by mistake is refused.
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]{0,63}", name):
        raise ValueError(
            "this is no name of an environment variable (capital letters, digits, "
            "underscores); a key itself is never written into a config"
        )
    return name


def _check_name(name: str) -> str:
    if not re.fullmatch(r"base|distilled|realm|round-\d+", name):
        raise ValueError(
            f"found {name!r}; allowed: base, distilled, realm and round-1, round-2, ..., as "
            "results.json names the models"
        )
    return name


Address = Annotated[str, AfterValidator(_check_address)]
KeyVariable = Annotated[str, AfterValidator(_check_variable)]
ModelName = Annotated[str, AfterValidator(_check_name)]


class Endpoint(Section):
    """A server that answers for a model, such as `vllm serve`."""

    base_url: Address
    """The address. Most end in /v1."""
    model: str
    """The name that the server has given the model."""
    key_env: KeyVariable | None = None
    """The environment variable that holds the key; null for a server that asks for none."""
    # vLLM runs up to 256 sequences at once; 64 leave room for other clients.
    concurrency: PositiveInt = 64
    """Requests in flight at once."""
    attempts: PositiveInt = 5
    """How often a request is tried before the evaluation stops. What is answered is kept."""
    request_seconds: PositiveFloat = 600.0
    """Time limit of one attempt."""
