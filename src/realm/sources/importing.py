"""Answers that models already wrote, as routes: each is read by the verifier and labelled."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from realm.config.routes import ImportedRoutes, RouteFile
from realm.core.errors import DataError
from realm.core.progress import progress
from realm.core.records import Problem, Route
from realm.core.tables import OnBad, describe_bad, read_rows, refuse
from realm.domains import Domain, files
from realm.verify.judge import judge_all


@dataclass(frozen=True)
class Output:
    """One text that a model wrote to a problem, not yet read."""

    problem: Problem
    source: str
    text: str


@dataclass
class Imported:
    """What an import found."""

    routes: list[Route] = field(default_factory=list)
    bad: list[DataError] = field(default_factory=list)
    """One message per row that could not be used, with file and line."""
    unmatched: list[str] = field(default_factory=list)
    """The places of rows whose problem is not in the problem set."""

    def describe(self) -> str:
        """Return what was read and what was left out, a line each."""
        sources = {route.source for route in self.routes}
        lines = [
            f"{len(self.routes)} routes of {len(sources)} {'source' if len(sources) == 1 else 'sources'}"
        ]
        if self.unmatched:
            lines.append(
                f"{len(self.unmatched)} rows are of no problem in the set, the first at {self.unmatched[0]}"
            )
        return "\n".join([*lines, *([describe_bad(self.bad)] if self.bad else [])])


def import_outputs(
    problems: Sequence[Problem],
    domain: Domain,
    settings: ImportedRoutes,
    *,
    resolve: Callable[[str], Path] = Path,
) -> Imported:
    """Return the routes in the files of `settings`, labelled by `domain`; a null or empty output is a route that says nothing.

    A bad row is reported and the others are kept; with `routes.strict` it is an error.
    """
    found = Imported()
    on_bad = refuse if settings.strict else found.bad.append
    known = _by_name(problems)
    with progress("labelling outputs", len(settings.files)) as advance:
        for file in settings.files:
            outputs = list(_outputs(file, known, settings, resolve, on_bad, found.unmatched))
            found.routes += _label(outputs, domain, settings.max_chars)
            advance(1)
    _refuse_nothing(found, settings)
    return found


def _by_name(problems: Sequence[Problem]) -> dict[str, Problem]:
    """Return the problems by all that a row may call them: the hash of their question, and their id, which comes first."""
    by_question = {
        files.hash_text(problem.meta.get("question", problem.question)): problem
        for problem in problems
    }
    return by_question | {problem.id: problem for problem in problems}


def _outputs(
    file: RouteFile,
    problems: Mapping[str, Problem],
    settings: ImportedRoutes,
    resolve: Callable[[str], Path],
    on_bad: OnBad,
    unmatched: list[str],
) -> Iterator[Output]:
    """Yield the outputs of one file; the places of rows of no problem go to `unmatched`."""
    columns, in_cells = settings.columns, ".csv" in Path(file.path).suffixes
    for place, row in read_rows(file.path, resolve, on_bad):
        try:
            question = (
                ""
                if columns.id
                else files.cell(
                    row, columns.question or "question", place, "routes.columns.question"
                )
            )
            identity = files.identify(row, columns.id, str(question), place, "routes.columns.id")
            source = file.source or _source(row, str(columns.source), place)
            texts = _texts(
                files.cell(row, columns.outputs, place, "routes.columns.outputs"),
                columns.outputs,
                place,
                in_cells,
            )
        except DataError as error:
            on_bad(error)
            continue
        if identity in problems:
            yield from (Output(problems[identity], source, text) for text in texts)
        else:
            unmatched.append(place)


def _source(row: Mapping[str, Any], column: str, place: str) -> str:
    source = str(files.cell(row, column, place, "routes.columns.source") or "").strip()
    if not source:
        raise DataError(
            f"{place}: column {column!r}, which says who wrote the output, is empty. Fill it in or remove the row."
        )
    return source


def _texts(value: Any, column: str, place: str, in_cells: bool) -> list[str]:
    """Return the outputs that a value is, an empty text for one that is null; a cell may write a list as JSON."""
    if in_cells and isinstance(value, str) and value.lstrip().startswith("["):
        with suppress(ValueError):
            value = json.loads(value)
    outputs = value if isinstance(value, list) else [value]
    for output in outputs:
        if isinstance(output, bool) or not isinstance(output, str | int | float | None):
            raise DataError(
                f"{place}: column {column!r} holds {type(output).__name__} {str(output)[:40]!r}. Allowed: a text, null, or a "
                "list of them."
            )
    return ["" if output is None else str(output) for output in outputs]


def _label(outputs: Sequence[Output], domain: Domain, max_chars: int | None) -> list[Route]:
    """Return the routes, each labelled by the whole of its text and cut to the last `max_chars` of it after that."""
    judged = judge_all(
        [output.text for output in outputs],
        golds=[output.problem.answer for output in outputs],
        verifier=domain.verifier,
    )
    return [
        Route(
            problem_id=output.problem.id,
            source=output.source,
            text=_ending(output.text, max_chars),
            answer=one.answer,
            correct=one.correct,
        )
        for output, one in zip(outputs, judged, strict=True)
    ]


def _ending(text: str, max_chars: int | None) -> str:
    if max_chars is None or len(text) <= max_chars:
        return text
    return "... " + text[-max_chars:].partition(" ")[2]


def _refuse_nothing(found: Imported, settings: ImportedRoutes) -> None:
    if settings.strict and found.unmatched:
        raise DataError(
            f"{found.unmatched[0]}: its problem is not in the problem set. Correct routes.columns, or set routes.strict: false "
            "to leave such rows out."
        )
    sources = {route.source for route in found.routes}
    if unknown := [
        source for source in settings.held_out if found.routes and source not in sources
    ]:
        raise DataError(
            f"routes.held_out names {unknown[0]!r}, who wrote none of the outputs. Found: {', '.join(sorted(sources))}."
        )
    if found.routes:
        return
    why = "they hold no rows"
    if found.bad:
        why = str(found.bad[0])
    elif found.unmatched:
        why = f"the row at {found.unmatched[0]} is of no problem in the set"
    raise DataError(
        f"{', '.join(file.path for file in settings.files)}: no output could be used: {why}. A route finds its problem by "
        "routes.columns.id, or by routes.columns.question where id is null; it must give the same id as domain.columns."
    )
