"""Settings of the stage `routes`: a scripted expert, answers that models already wrote, or teachers to be asked."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from realm.settings import Section


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
            raise ValueError(f"{', '.join(both)} in both `sources` and `held_out`; a held-out source must be unseen in training")
        return self


class RouteFile(Section):
    path: str
    source: str


class RouteColumns(Section):
    """Which column of the files holds what. A route finds its problem by `id`, or by `question` where `id` is null."""

    id: str | None = "id"
    question: str | None = None
    outputs: str = "outputs"
    """A text, or a list of texts; a null or empty one is a route that states no answer."""


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
    def _held_out_exist(self) -> Self:
        sources = {file.source for file in self.files}
        unknown = [name for name in self.held_out if name not in sources]
        if unknown:
            raise ValueError(f"held_out names {unknown[0]!r}, the source of no file; allowed: {', '.join(sorted(sources))}")
        return self


class Price(Section):
    """What a provider charges, in US dollars for a million tokens."""

    prompt: NonNegativeFloat
    completion: NonNegativeFloat


class _Teacher(Section):
    name: str
    """The source of its routes."""
    guided: NonNegativeInt = 0
    """Chains per training problem that are written with the guide in the prompt: to be taught, never shown."""
    routes: NonNegativeInt = 0
    """Routes per training problem, written without the guide."""
    eval_routes: NonNegativeInt = 0
    """Routes per problem of the other splits, written without the guide."""
    problems: PositiveInt | None = None
    """For how many training problems; null: all."""


class ApiTeacher(_Teacher):
    """A model behind an OpenAI-compatible endpoint."""

    kind: Literal["api"]
    model: str
    base_url: str | None = None
    """null: the address of OpenAI, or OPENAI_BASE_URL of the environment."""
    key_env: str | None = "OPENAI_API_KEY"
    """The environment variable that holds the key; null for a server that asks for none."""
    price: Price | None = None
    temperature: NonNegativeFloat = 1.0
    max_tokens: PositiveInt = 1024
    extra: dict[str, Any] = {}
    """More fields of the request, as the endpoint wants them; they go to it untouched."""


class LocalTeacher(_Teacher):
    """A model on this machine."""

    kind: Literal["local"]
    model: str
    engine: Literal["transformers", "vllm"] = "transformers"
    temperature: NonNegativeFloat = 1.0
    max_tokens: PositiveInt = 1024


class ReplayTeacher(_Teacher):
    """Replies that were written before, from a file."""

    kind: Literal["replay"]
    path: str
    """A file of rows with `problem_id`, `text` and optionally `guided` and `source`, as routes.jsonl has them."""


class ScriptedTeacher(_Teacher):
    """The scripted expert, by one of its sources; it knows the bundled domain only."""

    kind: Literal["scripted"]


TeacherSettings = Annotated[ApiTeacher | LocalTeacher | ReplayTeacher | ScriptedTeacher, Field(discriminator="kind")]


class Guide(Section):
    """What a guided prompt shows of the rules."""

    path: str | None = None
    """A Markdown or text file; null: the domain's rule book."""
    unit: Literal["rule", "passage"] = "rule"
    """What is chosen or left out as a whole: a numbered rule, or a paragraph under its heading."""
    tokens: PositiveInt = 4000
    """A longer guide is cut to the units nearest to the question that fit into so many tokens, in their order."""


class CollectedRoutes(Section):
    """Teachers are asked; every answer is kept at once and never paid for twice."""

    kind: Literal["collect"]
    teachers: list[TeacherSettings] = Field(min_length=1)
    held_out: list[str] = []
    """Teachers whose routes are shown in evaluation only."""
    guide: Guide = Guide()
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
    attempts: PositiveInt = 8
    """How often one request is tried."""
    budget_usd: PositiveFloat | None = None
    budget_tokens: PositiveInt | None = None
