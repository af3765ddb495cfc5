"""Settings of the teachers that `routes.kind: collect` asks."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    field_validator,
    model_validator,
)

from realm.config.endpoint import Address, KeyVariable
from realm.core.settings import Section, check_placeholders


class Price(Section):
    """What a provider charges, in US dollars per million tokens."""

    prompt: NonNegativeFloat
    """Per million tokens of prompts."""
    completion: NonNegativeFloat
    """Per million tokens of replies, thoughts included."""


class _Teacher(Section):
    name: str = Field(min_length=1)
    """The source of its routes."""
    guided: NonNegativeInt = 0
    """Chains per training problem with the guide in the prompt. They are taught, never shown."""
    routes: NonNegativeInt = 0
    """Routes per training problem, without the guide."""
    eval_routes: NonNegativeInt = 0
    """Routes per problem of the other splits, without the guide."""
    checks: NonNegativeInt = 0
    """How many routes per training problem it checks step by step, by any source that is not held
    out, with the guide in the prompt."""
    problems: PositiveInt | None = None
    """How many training problems, the first ones; null: all."""

    @model_validator(mode="after")
    def _check_it_is_asked(self) -> Self:
        if not (self.guided or self.routes or self.eval_routes or self.checks):
            raise ValueError(
                f"the teacher {self.name!r} is asked nothing; set guided, routes, eval_routes or "
                "checks to 1 or more"
            )
        return self


class _SampledTeacher(_Teacher):
    """A teacher that is a language model."""

    model: str
    """What the endpoint calls the model; for kind local, as `model` of the config."""
    # Above 0: several routes of one prompt must differ.
    temperature: NonNegativeFloat | None = 1.0
    """null: the default of the model or the endpoint."""
    max_tokens: PositiveInt = 1024
    """Of one reply, thoughts included. A reply that is cut there states no answer."""

    @model_validator(mode="after")
    def _check_samples_differ(self) -> Self:
        num_samples = max(self.guided, self.routes, self.eval_routes)
        if self.temperature == 0 and num_samples > 1:
            raise ValueError(
                f"temperature 0 writes the same text each time, and the teacher {self.name!r} is "
                f"asked for {num_samples} of one prompt; set a temperature above 0, or ask for 1"
            )
        return self

    @property
    def limit(self) -> int:
        """Return the most tokens that one reply may have."""
        return self.max_tokens


class ApiTeacher(_SampledTeacher):
    """A model behind an OpenAI-compatible endpoint."""

    kind: Literal["api"]
    base_url: Address | None = None
    """null: OPENAI_BASE_URL of the environment, or the address of OpenAI. Most end in /v1."""
    key_env: KeyVariable | None = "OPENAI_API_KEY"
    """The environment variable that holds the key; null for a server that asks for none."""
    price: Price | None = None
    """null: unknown; then the cost is counted in tokens only."""
    extra: dict[str, Any] = {}
    """Further fields of the request, such as `reasoning_effort: low`, sent as they are.
    `max_completion_tokens` replaces max_tokens, for endpoints that refuse that name."""

    @field_validator("extra")
    @classmethod
    def _check_extra(cls, extra: dict[str, Any]) -> dict[str, Any]:
        # Each request sets these itself, and `extra` would overwrite them.
        ours = {"model", "messages", "n", "stream", "temperature", "max_tokens"} & set(extra)
        if ours:
            raise ValueError(
                f"{min(ours)!r} is not set here: model, temperature and max_tokens are settings, "
                "the rest is ReaLM's"
            )
        limit = extra.get("max_completion_tokens", 1)
        if not isinstance(limit, int) or limit < 1:
            raise ValueError(f"max_completion_tokens: found {limit!r}; give a whole number above 0")
        if secret := _find_secret_name(extra):
            raise ValueError(
                f"{secret!r} would be written to files; put the key into an environment variable "
                "and name it in key_env"
            )
        return extra

    @property
    def limit(self) -> int:
        """Return the most tokens that one reply may have."""
        return int(self.extra.get("max_completion_tokens", self.max_tokens))


class LocalTeacher(_SampledTeacher):
    """A model on this machine."""

    kind: Literal["local"]
    engine: Literal["transformers", "vllm"] = "transformers"
    """What runs the model."""


class ReplayTeacher(_Teacher):
    """Replies that were written before, from a file."""

    kind: Literal["replay"]
    path: str
    """A file of rows with `problem_id`, `text` and optionally `guided`, `rationalized` and
    `source`, as in routes.jsonl. If rows name a source, those of this teacher's name are taken.
    `kind` marks replies to other requests: `check` (with the text of the `route`), `exercise` and
    `synthesis`."""


class ScriptedTeacher(_Teacher):
    """The domain's own expert. Without the guide it writes as the source that it is named after."""

    kind: Literal["scripted"]


TeacherSettings = Annotated[
    ApiTeacher | LocalTeacher | ReplayTeacher | ScriptedTeacher, Field(discriminator="kind")
]


class Guide(Section):
    """What a guided prompt shows of the rules."""

    path: str | None = None
    """A Markdown or text file; null: the domain's rule book."""
    unit: Literal["rule", "passage"] = "rule"
    """What is shown or left out as a whole: a numbered rule, or a paragraph under its heading."""
    tokens: PositiveInt = 4000
    """A longer guide is cut to the units nearest to the question, in their order."""


class TeacherPrompts(Section):
    """What teachers are asked; null: the built-in text. A changed text asks its kind again."""

    system: str | None = None
    """Of guided prompts; "" for a model whose chat template has no system role."""
    guided: str | None = None
    """Contains {question} and {guide}."""
    unguided: str | None = None
    """Contains {question}."""
    rationalized: str | None = None
    """Contains {question}, {guide} and {answer}."""
    form: str | None = None
    """What follows "The answer is", in words; null: what suits the domain's kind of answer."""

    @field_validator("guided", "unguided", "rationalized")
    @classmethod
    def _check_placeholders(cls, template: str | None, info: Any) -> str | None:
        needed = {"unguided": ["{question}"], "rationalized": ["{question}", "{guide}", "{answer}"]}
        names = needed.get(info.field_name, ["{question}", "{guide}"])
        return None if template is None else check_placeholders(template, names)


def _find_secret_name(value: Any) -> str | None:
    """Return the first key, at any depth, that is called like a secret."""
    pairs = value.items() if isinstance(value, dict) else []
    items = value if isinstance(value, list) else [part for _, part in pairs]
    # `token` as a whole word: max_completion_tokens and token_budget hold no secret.
    pattern = r"api.?key|secret|password|authorization|bearer|^(?:\w+[_-])?token$"
    names = [name for name, _ in pairs if re.search(pattern, str(name), re.IGNORECASE)]
    found = [*names, *filter(None, map(_find_secret_name, items))]
    return found[0] if found else None
