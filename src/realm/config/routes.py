"""Settings of the stage `routes`: a scripted expert, answers that models already wrote, or teachers to be asked."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from realm.core.settings import Section


class ScriptedRoutes(Section):
    """A scripted expert in the teacher's place; it knows the bundled domain and three tasks of reasoning-gym."""

    kind: Literal["scripted"] = "scripted"
    guided_problems: NonNegativeInt = 2000
    """For how many training problems the teacher writes guided chains."""
    sources: list[str] = ["hasty", "frugal", "dated", "careless"]
    held_out: list[str] = ["outsider"]
    """Sources whose routes are shown in evaluation only."""
    per_source: PositiveInt = 2
    """Routes per training problem and source."""
    eval_routes: PositiveInt = 4
    """Routes per evaluation problem and held-out source."""

    @model_validator(mode="after")
    def _sources_are_apart(self) -> Self:
        both = sorted(set(self.sources) & set(self.held_out))
        if both:
            raise ValueError(
                f"{', '.join(both)} in both `sources` and `held_out`; a held-out source must be unseen in training"
            )
        return self


class RouteFile(Section):
    path: str
    """As in `domain.path`."""
    source: str | None = None
    """Who wrote the outputs; null: what the row says in `columns.source`."""


class RouteColumns(Section):
    """Which column of the files holds what. A route finds its problem by `id`, or by `question` where `id` is null."""

    id: str | None = "id"
    question: str | None = None
    outputs: str = "outputs"
    """A text, or a list of texts; a null or empty one is a route that states no answer."""
    source: str | None = None
    """Who wrote the outputs of a row, for files that do not name a source themselves."""


class ImportedRoutes(Section):
    """Answers that models already wrote."""

    kind: Literal["import"]
    files: list[RouteFile] = Field(min_length=1)
    columns: RouteColumns = RouteColumns()
    held_out: list[str] = []
    """Sources whose routes are shown in evaluation only."""
    max_chars: PositiveInt | None = None
    """Of a longer output only so much of its end is kept, for a model with a short context; it is labelled by the whole of it."""
    strict: bool = False
    """A row that cannot be used is an error; else it is reported and the others are kept."""

    @model_validator(mode="after")
    def _each_row_has_a_source(self) -> Self:
        sources = {file.source for file in self.files if file.source}
        nameless = [file.path for file in self.files if file.source is None]
        if self.columns.source:
            return self
        if nameless:
            raise ValueError(
                f"{nameless[0]} has no source; give it one, or name the column that does in columns.source"
            )
        unknown = [name for name in self.held_out if name not in sources]
        if unknown:
            raise ValueError(
                f"held_out names {unknown[0]!r}, the source of no file; allowed: {', '.join(sorted(sources))}"
            )
        return self


class Price(Section):
    """What a provider charges, in US dollars for a million tokens."""

    prompt: NonNegativeFloat
    completion: NonNegativeFloat


class _Teacher(Section):
    name: str = Field(min_length=1)
    """The source of its routes."""
    guided: NonNegativeInt = 0
    """Chains per training problem that are written with the guide in the prompt: to be taught, never shown."""
    routes: NonNegativeInt = 0
    """Routes per training problem, written without the guide."""
    eval_routes: NonNegativeInt = 0
    """Routes per problem of the other splits, written without the guide."""
    problems: PositiveInt | None = None
    """For how many training problems, the first ones; null: all."""

    @model_validator(mode="after")
    def _is_asked(self) -> Self:
        if not (self.guided or self.routes or self.eval_routes):
            raise ValueError(
                f"the teacher {self.name!r} is asked nothing; set guided, routes or eval_routes to 1 or more"
            )
        return self


class _Sampled(_Teacher):
    """A teacher that is a language model."""

    model: str
    temperature: NonNegativeFloat | None = 1.0
    """null: what the model or the endpoint decodes with by itself."""
    max_tokens: PositiveInt = 1024
    """Of one reply, the reasoning of a reasoning model included. A reply that is cut there states no answer."""

    @model_validator(mode="after")
    def _samples_differ(self) -> Self:
        most = max(self.guided, self.routes, self.eval_routes)
        if self.temperature == 0 and most > 1:
            raise ValueError(
                f"temperature 0 writes the same text each time, and the teacher {self.name!r} is asked for {most} of one prompt; "
                "set a temperature above 0, or ask for 1"
            )
        return self


class ApiTeacher(_Sampled):
    """A model behind an OpenAI-compatible endpoint."""

    kind: Literal["api"]
    base_url: str | None = None
    """null: OPENAI_BASE_URL of the environment, or the address of OpenAI. Most addresses end in /v1."""
    key_env: str | None = "OPENAI_API_KEY"
    """The environment variable that holds the key; null for a server that asks for none."""
    price: Price | None = None
    extra: dict[str, Any] = {}
    """More fields of the request, as the endpoint wants them, as `reasoning_effort: low`; they go to it untouched.
    `max_completion_tokens` takes the place of max_tokens, for the endpoints that refuse that name."""

    @field_validator("base_url")
    @classmethod
    def _holds_no_key(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "http://unset")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("this is no address; it needs the form http://host:port/v1")
        if parts.username or parts.password or parts.query:
            raise ValueError(
                "the address holds a user, a password or a query, which would be written to files; put the key into an "
                "environment variable and name that in key_env"
            )
        return url

    @field_validator("key_env")
    @classmethod
    def _names_a_variable(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch(r"[A-Z_][A-Z0-9_]{0,63}", name):
            raise ValueError(
                "this is no name of an environment variable (capital letters, digits, underscores); a key itself is never "
                "written into a config"
            )
        return name

    @field_validator("extra")
    @classmethod
    def _leaves_our_fields(cls, extra: dict[str, Any]) -> dict[str, Any]:
        ours = sorted(
            {"model", "messages", "n", "stream", "temperature", "max_tokens"} & set(extra)
        )
        if ours:
            raise ValueError(
                f"{ours[0]!r} is not set here: model, temperature and max_tokens are settings, the rest is ReaLM's"
            )
        limit = extra.get("max_completion_tokens", 1)
        if not isinstance(limit, int) or limit < 1:
            raise ValueError(
                f"max_completion_tokens: found {limit!r}; it is a whole number above 0"
            )
        secret = next(
            (
                name
                for name in extra
                if re.search(r"api.?key|secret|password|authorization", name, re.IGNORECASE)
            ),
            None,
        )
        if secret:
            raise ValueError(
                f"{secret!r} would be written to files; put the key into an environment variable and name it in key_env"
            )
        return extra

    @property
    def limit(self) -> int:
        """Return the most tokens that one reply may have."""
        return self.extra.get("max_completion_tokens", self.max_tokens)


class LocalTeacher(_Sampled):
    """A model on this machine."""

    kind: Literal["local"]
    engine: Literal["transformers", "vllm"] = "transformers"

    @property
    def limit(self) -> int:
        """Return the most tokens that one reply may have."""
        return self.max_tokens


class ReplayTeacher(_Teacher):
    """Replies that were written before, from a file."""

    kind: Literal["replay"]
    path: str
    """A file of rows with `problem_id`, `text` and optionally `guided`, `rationalized` and `source`, as routes.jsonl has them;
    where rows name a source, those of this teacher's name are taken."""


class ScriptedTeacher(_Teacher):
    """The scripted expert of the bundled domain; without the guide it writes as the source that it is called after."""

    kind: Literal["scripted"]


TeacherSettings = Annotated[
    ApiTeacher | LocalTeacher | ReplayTeacher | ScriptedTeacher, Field(discriminator="kind")
]


class Guide(Section):
    """What a guided prompt shows of the rules."""

    path: str | None = None
    """A Markdown or text file; null: the domain's rule book."""
    unit: Literal["rule", "passage"] = "rule"
    """What is chosen or left out as a whole: a numbered rule, or a paragraph under its heading."""
    tokens: PositiveInt = 4000
    """A longer guide is cut to the units nearest to the question that fit into so many tokens, in their order."""


class TeacherPrompts(Section):
    """What teachers are asked; null: the built-in text. A changed text asks all of its kind again."""

    system: str | None = None
    """Of guided prompts; "" for a model whose chat template has no system role."""
    guided: str | None = None
    unguided: str | None = None
    rationalized: str | None = None
    form: str | None = None
    """What follows "The answer is", in words; null: what suits the domain's kind of answer."""

    @field_validator("guided", "unguided", "rationalized")
    @classmethod
    def _has_placeholders(cls, template: str | None, info: Any) -> str | None:
        needed = {"unguided": ["{question}"], "rationalized": ["{question}", "{guide}", "{answer}"]}
        missing = [
            name
            for name in needed.get(info.field_name, ["{question}", "{guide}"])
            if template is not None and name not in template
        ]
        if missing:
            raise ValueError(f"the template lacks {' and '.join(missing)}")
        return template


class CollectedRoutes(Section):
    """Teachers are asked; every answer is kept at once and never paid for twice."""

    kind: Literal["collect"]
    teachers: list[TeacherSettings] = Field(min_length=1)
    held_out: list[str] = []
    """Teachers whose routes are shown in evaluation only."""
    guide: Guide = Guide()
    prompts: TeacherPrompts = TeacherPrompts()
    rationalize: bool = False
    """Where no guided chain of a problem is right, ask once more with the gold answer shown; the chain is marked as such."""
    store: str | None = None
    """The SQLite file of all answers, which runs may share; null: RUN/teacher.sqlite."""
    concurrency: PositiveInt = 32
    """Requests in flight."""
    request_seconds: PositiveFloat = 120.0
    """Time limit of one request."""
    total_seconds: PositiveFloat | None = None
    """Time limit of the whole collection; what is there by then is used."""
    attempts: PositiveInt = 12
    """How often one request is tried."""
    budget_usd: PositiveFloat | None = None
    """A hard cap on what this run pays for answers, earlier calls of the command included; what is there by then is used."""
    budget_tokens: PositiveInt | None = None
    """The same in tokens, of prompts and replies together."""

    @model_validator(mode="after")
    def _teachers_agree(self) -> Self:
        names = [teacher.name for teacher in self.teachers]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(
                f"two teachers are called {twice!r}; a name is the source of routes and must be unique"
            )
        unknown = next((name for name in self.held_out if name not in names), None)
        if unknown is not None:
            raise ValueError(
                f"held_out names {unknown!r}, which is no teacher; allowed: {', '.join(names)}"
            )
        return self

    @model_validator(mode="after")
    def _budget_has_prices(self) -> Self:
        free = next(
            (
                teacher.name
                for teacher in self.teachers
                if teacher.kind == "api" and teacher.price is None
            ),
            None,
        )
        if self.budget_usd is not None and free is not None:
            raise ValueError(
                f"budget_usd is set and the teacher {free!r} has no price; add price: {{prompt: ..., completion: ...}}, in "
                "dollars for a million tokens, or cap the tokens with budget_tokens"
            )
        return self

    @model_validator(mode="after")
    def _teachers_differ(self) -> Self:
        asked: dict[str, str] = {}
        for teacher in self.teachers:
            if teacher.kind == "api":
                request = json.dumps(
                    [teacher.model, teacher.temperature, teacher.limit, teacher.extra],
                    sort_keys=True,
                )
                if request in asked:
                    raise ValueError(
                        f"the teachers {asked[request]!r} and {teacher.name!r} ask the same model with the same settings, so "
                        "both would get the same stored answers (an address is no part of a request); name the models apart, or "
                        "let them differ in temperature, max_tokens or extra"
                    )
                asked[request] = teacher.name
        return self
