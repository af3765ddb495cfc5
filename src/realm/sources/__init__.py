"""Teachers: whoever writes routes and guided chains of thought. What they are asked, and what comes back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from realm.core.records import Problem

if TYPE_CHECKING:  # the settings read the prompts of this package
    from realm.config.routes import Price

_THOUGHT = re.compile(r"\s*<think>(.*?)</think>", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Request:
    """One sample of one prompt."""

    problem: Problem
    kind: Literal["guided", "unguided", "rationalized"]
    sample: int
    messages: tuple[dict[str, str], ...]
    guide: tuple[str, ...] = ()
    """Which units of the guide the prompt shows, by the hash of their text."""

    @property
    def place(self) -> tuple[str, str, int]:
        """Return what tells this request from the others of its teacher."""
        return self.problem.id, self.kind, self.sample


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a teacher wrote. A number of tokens is `None` where the teacher did not say it."""

    text: str
    reasoning: str = ""
    """What a reasoning model thought before its text, where the endpoint hands it over apart."""
    finish_reason: str | None = None
    """`length` where the reply was cut at its limit of tokens."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_usd: float | None = None

    @property
    def truncated(self) -> bool:
        """Tell whether the reply ends before its end."""
        return self.finish_reason == "length"

    @property
    def chain(self) -> str:
        """Return the chain of thought: the reasoning, an empty line, the text."""
        return "\n\n".join(part for part in (self.reasoning.strip(), self.text.strip()) if part)


class Teacher(Protocol):
    """What the collection asks of a teacher."""

    name: str
    """The source of its routes."""
    fields: dict[str, Any] | None
    """What shapes a reply besides the messages; `None` where a reply costs nothing and need not be kept."""
    at_once: int
    """How many requests one call takes."""
    price: Price | None
    max_tokens: int

    async def ask(self, requests: Sequence[Request]) -> list[Reply | None]:
        """Return a reply for each request, `None` for one that this teacher has no reply to.

        Raises `TryAgain` where another attempt may help, `Refused` where this request is the trouble, and a `RealmError`
        where the user must do something first.
        """

    async def close(self) -> None:
        """Let go of connections."""


class TryAgain(Exception):
    """A call that failed in a way that passes. Its message holds no key."""

    def __init__(
        self,
        message: str,
        *,
        busy: bool = False,
        after: float | None = None,
        maybe_charged: bool = False,
    ) -> None:
        super().__init__(message)
        self.busy = busy
        """The endpoint asked for patience: it is well, and there are too many calls."""
        self.after = after
        """Seconds to wait at least, where the endpoint names them."""
        self.maybe_charged = maybe_charged
        """The endpoint may have done the work and charged for it."""


class Refused(Exception):
    """The endpoint does not take this very request. The message holds no key."""


def split_thought(text: str) -> tuple[str, str]:
    """Return (reasoning, text) of a reply whose reasoning stands in think tags before the text.

    >>> split_thought("<think>2 + 2</think>The answer is 4")
    ('2 + 2', 'The answer is 4')
    """
    thought = _THOUGHT.match(text)
    return (thought[1].strip(), text[thought.end() :].lstrip()) if thought else ("", text)
