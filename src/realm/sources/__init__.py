"""Sources of routes: what a teacher is asked, what it replies, and what may go wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from realm.method.thoughts import read_parts, split_thoughts

if TYPE_CHECKING:
    from realm.config.teachers import Price
    from realm.core.records import Problem, Route

# How endpoints say that a reply ends before its end: at a token limit (OpenAI, Anthropic, Gemini,
# Mistral), at a filter (OpenAI, Gemini, Bedrock), or as the server had to go on (DeepSeek, vLLM).
_CUT = {
    *("length", "max_tokens", "max_output_tokens", "max_length", "model_length", "token_limit"),
    *("content_filter", "content_filtered", "safety", "recitation", "prohibited_content"),
    *("blocklist", "spii", "guardrail_intervened", "refusal"),
    *("insufficient_system_resource", "incomplete", "abort", "cancelled"),
}

# Names of the fields that hold thoughts, by provider: DeepSeek and vLLM, OpenRouter (twice).
# Mistral and Anthropic send parts of type `thinking` in the content.
_REASONING_FIELDS = ("reasoning_content", "reasoning", "reasoning_details")


Kind = Literal["guided", "unguided", "rationalized", "check", "exercise", "synthesis"]
"""What is asked: a chain with the guide, a route without it, a chain with the answer shown, the
check of a route; a new problem from an error, a chain from several candidates (two baselines)."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One sample of one prompt.

    >>> from realm.core.records import Problem
    >>> problem = Problem(id="p1", split="train", question="1 + 1?", answer=2)
    >>> prompt = {"role": "user", "content": "1 + 1?"}
    >>> Request(problem=problem, kind="unguided", sample=0, messages=(prompt,)).key
    ('p1', 'unguided', 0)
    """

    problem: Problem
    kind: Kind
    sample: int
    messages: tuple[dict[str, str], ...]
    guide: tuple[str, ...] = ()
    """Hashes of the guide's units that the prompt shows."""
    route: Route | None = None
    """The route to check."""

    @property
    def key(self) -> tuple[str, str, int]:
        """Return what identifies this request among those of its teacher."""
        # By its text: the place of a route among the others changes when a source is added.
        kind = self.kind if self.route is None else f"{self.kind} {self.route.text}"
        return self.problem.id, kind, self.sample


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a teacher wrote. A token count is `None` where the teacher does not report it.

    >>> Reply(text="The answer is 2.", reasoning="1 + 1 is 2.", finish_reason="length").is_cut
    True
    """

    text: str
    reasoning: str = ""
    """Thoughts of a reasoning model, without the text."""
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_usd: float | None = None

    def __post_init__(self) -> None:
        """Make the texts encodable, or a reply that is paid for could never be stored."""
        # The only way to set a field of a frozen dataclass.
        object.__setattr__(self, "text", _mend_surrogates(self.text))
        object.__setattr__(self, "reasoning", _mend_surrogates(self.reasoning))

    @property
    def is_cut(self) -> bool:
        """Whether the reply was cut off, so that it states no answer."""
        return (self.finish_reason or "").lower() in _CUT

    @property
    def usage(self) -> dict[str, int]:
        """Return the token counts that are known."""
        counts = {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.completion_tokens}
        return {name: count for name, count in counts.items() if count is not None}

    @property
    def chain(self) -> str:
        """Return the chain of thought: the reasoning, an empty line, the text."""
        return "\n\n".join(part for part in (self.reasoning.strip(), self.text.strip()) if part)


def read_choice(choice: Any) -> Reply:
    """Return what a choice of a chat completion says, as endpoints and logs of evaluations hold it.

    A content of null is an empty text: the endpoint has answered, and the teacher said nothing.

    Raises:
        ValueError: It is no such choice, or reports an error in its place.
    """
    try:
        message = choice["message"]
        thoughts, text = read_parts(message.get("content"))
    except (KeyError, IndexError, TypeError, AttributeError):
        raise ValueError("not a chat completion") from None
    # inspect_ai calls it a stop reason.
    finish = choice.get("finish_reason") or choice.get("stop_reason")
    # OpenRouter reports an error of the provider in the choice.
    if str(finish).lower() == "error" or choice.get("error"):
        raise ValueError("an error in place of a chat completion")
    fields = ("".join(read_parts(message.get(name))) for name in _REASONING_FIELDS)
    in_text, text = split_thoughts(text)
    return Reply(
        text=text,
        reasoning=thoughts or next(filter(None, fields), "") or in_text,
        finish_reason=finish if isinstance(finish, str) else None,
    )


@dataclass
class Attempt:
    """One attempt at a call. The teacher says what became of it."""

    outcome: Literal["unknown", "free", "answered"] = "unknown"
    """An attempt of unknown outcome may have been charged; it counts at its worst case."""


Attempts = Callable[[], AbstractAsyncContextManager[Attempt]]
"""Opens an attempt once the budget and the limit of requests in flight allow it."""


class Teacher:
    """What the collection asks of a teacher. The defaults are of one whose replies are free."""

    name: str
    """The source of its routes."""
    fields: dict[str, Any] | None = None
    """What determines a reply besides the messages; `None` if replies are free and not stored."""
    batch_size = 1024
    """Number of requests in one call."""
    price: Price | None = None
    max_tokens = 0

    def open(self) -> None:
        """Raise a `RealmError` if the teacher cannot be asked, before any teacher is."""

    async def ask(self, requests: Sequence[Request], attempts: Attempts) -> list[Reply | None]:
        """Return a reply for each request, or `None` where this teacher has none.

        Raises:
            NoReplyError: No reply could be had; other requests may fare better.
            RealmError: The user must do something first.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Release connections and memory."""


class NoReplyError(Exception):
    """A call without a reply. The message holds no key."""

    def __init__(self, message: str, *, is_refused: bool = False) -> None:
        super().__init__(message)
        self.is_refused = is_refused
        """The endpoint does not accept this very request; else no attempt succeeded."""


def _mend_surrogates(text: str) -> str:
    """Return `text` with surrogate pairs joined and half pairs replaced, so that UTF-8 holds it."""
    # UTF-16 writes each half as it is, and reading it back joins the halves that belong together.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
