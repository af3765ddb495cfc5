"""Settings of the stage `routes`, by `kind`: the domain's expert, an import, teachers, or none."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from realm.config.teachers import (
    ApiTeacher,
    Guide,
    LocalTeacher,
    TeacherPrompts,
    TeacherSettings,
)
from realm.core.settings import Section


def _leave_some(sources: Collection[str], held_out: Collection[str]) -> None:
    """Raise ValueError if every source is held out."""
    if set(sources) <= set(held_out):
        raise ValueError("held_out names every source, so training has no routes; leave one out")


class ScriptedRoutes(Section):
    """The domain's own expert writes the routes (`Domain.write_routes`)."""

    kind: Literal["scripted"] = "scripted"
    guided_problems: NonNegativeInt = 2000
    """For how many training problems the expert writes guided chains."""
    sources: list[str] | None = None
    """Sources whose routes training shows; null: all sources of the domain but `held_out`."""
    held_out: list[str] = []
    """Sources whose routes only evaluation shows; without any, it shows those of training."""
    per_source: PositiveInt = 2
    """Routes per training problem and source."""
    eval_routes: PositiveInt = 4
    """Routes per evaluation problem and source."""

    @model_validator(mode="after")
    def _check_held_out(self) -> Self:
        if both := sorted(set(self.sources or ()) & set(self.held_out)):
            raise ValueError(
                f"{', '.join(both)} in both `sources` and `held_out`; training must not see a "
                "held-out source"
            )
        return self


class NoRoutes(Section):
    """No routes at all: the default of plain GRPO (recipe zero and train.fade.kind none)."""

    kind: Literal["none"] = "none"
    # It is here so that code can read `routes.held_out` whatever the kind.
    held_out: list[str] = Field(default=[], max_length=0)
    """Always empty: there are no sources."""


class RouteColumns(Section):
    """Columns of the files. A name may be a path: `input.question`, `completions[].text`."""

    id: str | None = "id"
    """What a problem is known by; null: its question."""
    question: str | None = None
    """The question, checked against that of the problem; null: not checked."""
    outputs: str | list[str] = "outputs"
    """A column with a text or a list of texts, or several columns, each of a source of its name.
    A null or empty output is a route that states no answer."""
    source: str | None = None
    """The column that says who wrote the outputs of a row, for files without a `source`."""

    @property
    def by_source(self) -> dict[str, str]:
        """Return several columns by the names of their sources: `a.text` and `b.text` are a and b.

        >>> RouteColumns(outputs=["gpt.text", "llama.text"]).by_source
        {'gpt': 'gpt.text', 'llama': 'llama.text'}
        """
        columns = self.outputs if isinstance(self.outputs, list) else []
        paths = [column.split(".") for column in columns]
        # What the last parts of all paths have in common says nothing about who wrote them.
        while len(paths) > 1 and all(len(path) > 1 and path[-1] == paths[0][-1] for path in paths):
            paths = [path[:-1] for path in paths]
        return dict(zip(map(".".join, paths), columns, strict=True))


class RouteFile(Section):
    """One file of outputs."""

    path: str
    """As in `domain.path`."""
    source: str | None = None
    """Who wrote the outputs; null: what `columns.source` says, or the names of several columns."""
    columns: RouteColumns | None = None
    """null: those of `routes.columns`."""


class ImportedRoutes(Section):
    """Answers that models already wrote."""

    kind: Literal["import"]
    files: list[RouteFile] = Field(min_length=1)
    """The files of outputs."""
    columns: RouteColumns = RouteColumns()
    """The columns of all files that name none of their own."""
    held_out: list[str] = []
    """Sources whose routes are shown in evaluation only."""
    max_chars: PositiveInt | None = None
    """How much of the end of a longer output is kept, for a model with a short context. The label
    is that of the whole output."""
    strict: bool = False
    """Whether a row that cannot be used is an error; else it is reported, the others are kept."""

    def columns_of(self, file: RouteFile) -> RouteColumns:
        """Return the columns of a file."""
        return file.columns or self.columns

    @model_validator(mode="after")
    def _check_sources(self) -> Self:
        columns = [(file, self.columns_of(file)) for file in self.files]
        by_hand = [file for file, one in columns if not (one.source or one.by_source)]
        if nameless := [file.path for file in by_hand if file.source is None]:
            raise ValueError(
                f"{nameless[0]} has no source; give it one, or name the column that holds it in "
                "columns.source"
            )
        # Sources that a column names are known when the files are read.
        if len(by_hand) < len(self.files):
            return self
        sources = {file.source for file in self.files if file.source}
        if unknown := [name for name in self.held_out if name not in sources]:
            raise ValueError(
                f"held_out names {unknown[0]!r}, the source of no file; allowed: "
                f"{', '.join(sorted(sources))}"
            )
        _leave_some(sources, self.held_out)
        return self


class CollectedRoutes(Section):
    """Teachers are asked. Every reply is stored at once and never paid for twice."""

    kind: Literal["collect"]
    teachers: list[TeacherSettings] = Field(min_length=1)
    """The teachers to ask. Each is a source of routes."""
    held_out: list[str] = []
    """Teachers whose routes are shown in evaluation only."""
    guide: Guide = Guide()
    prompts: TeacherPrompts = TeacherPrompts()
    rationalize: bool = False
    """Whether to ask once more with the gold answer shown where no guided chain of a problem is
    right. Such a chain is marked."""
    store: str | None = None
    """The SQLite file of all replies, which runs may share; null: RUN/teacher.sqlite."""
    concurrency: PositiveInt = 32
    """Requests in flight."""
    request_seconds: PositiveFloat = 120.0
    """Time limit of one attempt at a request."""
    total_seconds: PositiveFloat | None = None
    """Time limit of the whole collection. The replies by then are used."""
    # The client waits half a second, then twice as long each time up to 8: about a minute in all.
    attempts: PositiveInt = 12
    """How often one request is tried."""
    budget_usd: PositiveFloat | None = None
    """Hard cap on what this run pays for replies, over all calls of the command."""
    budget_tokens: PositiveInt | None = None
    """The same in tokens, of prompts and replies together."""

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        names = [teacher.name for teacher in self.teachers]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(
                f"two teachers are called {twice[0]!r}; a name is the source of routes and must be "
                "unique"
            )
        if unknown := [name for name in self.held_out if name not in names]:
            allowed = ", ".join(names)
            raise ValueError(f"held_out names {unknown[0]!r}, no teacher; allowed: {allowed}")
        _leave_some(names, self.held_out)
        return self

    @model_validator(mode="after")
    def _check_checks(self) -> Self:
        checkers = [teacher.name for teacher in self.teachers if teacher.checks]
        if len(checkers) > 1:
            raise ValueError(
                f"{checkers[0]!r} and {checkers[1]!r} both have `checks`; a route has one process "
                "label: let one of them check"
            )
        writes = (one for one in self.teachers if one.routes and one.name not in self.held_out)
        if checkers and next(writes, None) is None:
            raise ValueError(
                f"{checkers[0]!r} has `checks`, and no teacher that is not held out writes `routes`"
            )
        return self

    @model_validator(mode="after")
    def _check_prices(self) -> Self:
        # Only these charge: the others are models on this machine, files and the domain itself.
        paid = [teacher for teacher in self.teachers if teacher.kind == "api"]
        unpriced = [teacher.name for teacher in paid if teacher.price is None]
        if self.budget_usd is not None and unpriced:
            raise ValueError(
                f"budget_usd is set and the teacher {unpriced[0]!r} has no price; add price: "
                "{prompt: ..., completion: ...}, in dollars per million tokens, or cap the tokens "
                "with budget_tokens"
            )
        return self

    @model_validator(mode="after")
    def _check_teachers_differ(self) -> Self:
        asked: dict[str, str] = {}
        for teacher in self.teachers:
            if not isinstance(teacher, ApiTeacher | LocalTeacher):
                continue  # replies that are free are not stored
            # What the store knows a reply by, besides the messages.
            names = {"kind", "model", "temperature", "extra", "engine"}
            fields = teacher.model_dump(include=names) | {"limit": teacher.limit}
            # As JSON, since a dict cannot be a key itself.
            first = asked.setdefault(json.dumps(fields, sort_keys=True), teacher.name)
            if first != teacher.name:
                raise ValueError(
                    f"the teachers {first!r} and {teacher.name!r} ask the same model with the same "
                    "settings, so both would get the same stored replies (an address is no part of "
                    "a request); let them differ in model, temperature, max_tokens or extra"
                )
        return self
