"""Answers that models already wrote, as routes: each is read by the verifier and labelled."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from realm.config import ImportedRoutes
from realm.domains import Domain, files
from realm.errors import DataError
from realm.jsonl import numbered_rows
from realm.progress import progress
from realm.records import Problem, Route

NAMED = 5
"""How many mistakes of one kind are named in full."""


@dataclass
class Imported:
    """What an import found."""

    routes: list[Route] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    """One message per row that could not be used, with file and line."""
    unmatched: list[str] = field(default_factory=list)
    """The places of rows whose problem is not in the problem set."""

    def describe(self) -> str:
        """Return what was read and what was left out, a line each."""
        unsaid = sum(route.answer is None for route in self.routes)
        sources = {route.source for route in self.routes}
        lines = [f"{len(self.routes)} routes of {len(sources)} sources; {unsaid} state no answer"]
        if self.unmatched:
            lines.append(f"{len(self.unmatched)} rows are of no problem in the set, the first at {self.unmatched[0]}")
        if self.bad:
            more = f"\n  and {len(self.bad) - NAMED} more" if len(self.bad) > NAMED else ""
            lines.append(f"{len(self.bad)} rows left out:\n  " + "\n  ".join(self.bad[:NAMED]) + more)
        return "\n".join(lines)


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
    known = {problem.id: problem for problem in problems}
    by_question = {files.hash_text(problem.meta.get("question", problem.question)): problem for problem in problems}
    on_bad = None if settings.strict else lambda error: found.bad.append(str(error))
    with progress("labelling outputs", len(settings.files)) as advance:
        for file in settings.files:
            path = resolve(file.path)
            for number, row in _rows(path, on_bad):
                place = f"{path}:{number}"
                try:
                    identity, texts = _read_row(row, settings, place)
                except DataError as error:
                    if on_bad is None:
                        raise
                    on_bad(error)
                    continue
                problem = known.get(identity) or by_question.get(identity)
                if problem is None:
                    found.unmatched.append(place)
                    continue
                found.routes += [_label(problem, file.source, text, domain, settings.max_chars) for text in texts]
            advance(1)
    _refuse_nothing(found, settings)
    return found


def _rows(path: Path, on_bad: Callable[[DataError], None] | None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, row) of a file; a line that is no JSON object goes to `on_bad` and the rest is still read.

    A malformed CSV ends the reading in any case: nobody can tell where its next row begins.
    """
    if on_bad is None or not path.name.removesuffix(".gz").endswith(".jsonl") or not path.is_file():
        yield from numbered_rows(path)
        return
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                try:
                    row = json.loads(line) if line.strip() else None
                except (ValueError, RecursionError) as error:
                    on_bad(DataError(f"{path}:{number}: not valid JSON: {error}. Each line is one JSON object."))
                    continue
                if isinstance(row, dict):
                    yield number, row
                elif line.strip():
                    on_bad(DataError(f"{path}:{number}: not a JSON object. Each line is one JSON object."))
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}. Allowed: UTF-8 text, or its .gz.") from None


def _read_row(row: Mapping[str, Any], settings: ImportedRoutes, place: str) -> tuple[str, list[str]]:
    """Return the id of the row's problem and its outputs, an empty text for one that is null."""
    columns = settings.columns
    question = "" if columns.id else files.cell(row, columns.question or "question", place, "routes.columns.question")
    identity = files.identify(row, columns.id, str(question), place, "routes.columns.id")
    outputs = files.cell(row, columns.outputs, place, "routes.columns.outputs")
    if isinstance(outputs, str) and outputs.lstrip().startswith("["):
        with suppress(ValueError):
            outputs = json.loads(outputs)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    for output in outputs:
        if not (output is None or isinstance(output, str)):
            raise DataError(
                f"{place}: column {columns.outputs!r} holds {type(output).__name__} {str(output)[:40]!r}. Allowed: a text, null, "
                "or a list of them."
            )
    return identity, [output or "" for output in outputs]


def _label(problem: Problem, source: str, text: str, domain: Domain, max_chars: int | None) -> Route:
    """Return the route, labelled by the whole of `text` and cut to its last `max_chars` after that."""
    answer = domain.extract(text) if text.strip() else None
    correct = answer is not None and domain.same(answer, problem.answer)
    if max_chars is not None and len(text) > max_chars:
        text = "... " + text[-max_chars:].partition(" ")[2]
    return Route(problem_id=problem.id, source=source, text=text, answer=answer, correct=correct)


def _refuse_nothing(found: Imported, settings: ImportedRoutes) -> None:
    if settings.strict and found.unmatched:
        raise DataError(
            f"{found.unmatched[0]}: its problem is not in the problem set. Correct routes.columns, or set routes.strict: false "
            "to leave such rows out."
        )
    if found.routes:
        return
    why = "they hold no rows"
    if found.bad:
        why = found.bad[0]
    elif found.unmatched:
        why = f"the row at {found.unmatched[0]} is of no problem in the set"
    raise DataError(
        f"{', '.join(file.path for file in settings.files)}: no output could be used: {why}. A route finds its problem by "
        "routes.columns.id, or by routes.columns.question where id is null; it must give the same id as domain.columns."
    )
