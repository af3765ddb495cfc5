"""Import answers that models already wrote, as labelled routes."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realm.core.errors import DataError
from realm.core.records import Problem, Route
from realm.core.tables import OnError, Row, describe_bad_rows, raise_error, read_rows
from realm.core.terminal import progress
from realm.domains import Domain, cells
from realm.method.thoughts import split_thoughts
from realm.sources import Reply, read_choice
from realm.verify.judge import judge_all

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from realm.config.routes import ImportedRoutes, RouteColumns, RouteFile
    from realm.verify.verifier import Verifier


@dataclass
class Imported:
    """What an import found."""

    routes: list[Route] = field(default_factory=list)
    bad: list[DataError] = field(default_factory=list)
    """One message per row that could not be used, with file and line."""
    unmatched: list[str] = field(default_factory=list)
    """The places of rows whose problem is not in the problem set."""

    def describe_result(self) -> str:
        """Return what was read and what was left out, a line each."""
        count = len({route.source for route in self.routes})
        lines = [f"{len(self.routes)} routes of {count} source{'s' * (count != 1)}"]
        if self.unmatched:
            count, first = len(self.unmatched), self.unmatched[0]
            rows = "row is" if count == 1 else "rows are"
            lines.append(f"{count} {rows} of no problem in the set, the first at {first}")
        if self.bad:
            lines.append(describe_bad_rows(self.bad))
        return "\n".join(lines)


Output = tuple[Problem, str, Reply]
"""A problem, who wrote to it, and what."""


def import_outputs(
    problems: Sequence[Problem],
    domain: Domain,
    settings: ImportedRoutes,
    *,
    resolve: Callable[[str], Path] = Path,
    excluded: Collection[str] = (),
) -> Imported:
    """Return the routes in the files of `settings`, labelled by the domain's verifier.

    Rows of the problems `excluded`, by id, are passed over. A null or empty output is a route that
    states no answer. A bad row is reported and the others are kept; with `routes.strict` it is an
    error.
    """
    found = Imported()
    on_error = raise_error if settings.strict else found.bad.append
    known = dict.fromkeys(excluded) | _index_problems(problems)
    with progress("labelling outputs", len(settings.files)) as advance:
        for file in settings.files:
            outputs = list(_read_outputs(file, known, settings, resolve, on_error, found.unmatched))
            found.routes += _label_outputs(outputs, domain.verifier, settings.max_chars)
            advance(1)
    _check_result(found, settings)
    return found


def _index_problems(problems: Sequence[Problem]) -> dict[str, Problem]:
    """Return the problems by the hash of their question and by their id, which comes first."""
    # A template may have put more than the question into the prompt; the question alone is known.
    by_question = {
        cells.hash_text(problem.meta.get("question", problem.question)): problem
        for problem in problems
    }
    return by_question | {problem.id: problem for problem in problems}


def _read_outputs(
    file: RouteFile,
    problems: Mapping[str, Problem | None],
    settings: ImportedRoutes,
    resolve: Callable[[str], Path],
    on_error: OnError,
    unmatched: list[str],
) -> Iterator[Output]:
    """Yield the outputs of one file; the places of rows of no problem go to `unmatched`."""
    columns = settings.columns_of(file)
    has_text_cells = bool({".csv", ".tsv", ".xlsx"} & set(Path(file.path).suffixes))
    first_filter = None
    for place, row in read_rows(file.path, resolve, on_error):
        # lm-evaluation-harness repeats a row for each of its ways to filter the outputs.
        first_filter = first_filter or row.get("filter")
        if "resps" in row and row.get("filter") != first_filter:
            continue
        try:
            problem = _find_problem(row, columns, problems, place)
            if problem is None:
                continue  # excluded
            outputs = dict(_read_row(row, file, columns, place, has_text_cells))
        except KeyError:
            unmatched.append(place)
            continue
        except DataError as error:
            on_error(error)
            continue
        for source, replies in outputs.items():
            yield from ((problem, source, reply) for reply in replies)


def _find_problem(
    row: Row, columns: RouteColumns, problems: Mapping[str, Problem | None], place: str
) -> Problem | None:
    """Return the problem of a row; `None` if it is excluded.

    Raises:
        KeyError: It is not in the problem set.
        DataError: A column is missing, or the row has a problem's id and another question.
    """
    question = ""
    if columns.question or not columns.id:
        name = columns.question or "question"
        question = cells.get_text(row, name, place, "routes.columns.question")
    identity = cells.get_identity(row, columns.id, question, place, "routes.columns.id")
    problem = problems[identity]
    if problem is None or not question:
        return problem
    known = problem.meta.get("question", problem.question)
    if cells.hash_text(question) != cells.hash_text(known):
        raise DataError(
            f"{place}: the problem {identity!r} has another question here: {question[:60]!r}. One "
            "id is one problem: correct the row, choose another routes.columns.id, or set "
            "routes.columns.question: null to go by the id alone."
        )
    return problem


def _read_row(
    row: Row, file: RouteFile, columns: RouteColumns, place: str, has_text_cells: bool
) -> Iterator[tuple[str, list[Reply]]]:
    """Yield the sources of a row with their outputs."""
    setting = "routes.columns.outputs"
    if isinstance(columns.outputs, list):
        for name, column in columns.by_source.items():
            value = cells.get_cell(row, column, place, setting)
            yield name, _read_replies(value, column, place, has_text_cells)
        return
    source = file.source
    if source is None:
        source = cells.get_text(row, str(columns.source), place, "routes.columns.source")
    if not source:
        raise DataError(
            f"{place}: column {columns.source!r}, which says who wrote the output, is empty. Fill "
            "it in or remove the row."
        )
    value = cells.get_cell(row, columns.outputs, place, setting)
    yield source, _read_replies(value, columns.outputs, place, has_text_cells)


def _read_replies(value: Any, column: str, place: str, has_text_cells: bool) -> list[Reply]:
    """Return the outputs in a value, an empty one for null; a cell may hold a list as JSON.

    Of a chat the assistant's last message is the output. Lists in a list are outputs too, as
    lm-evaluation-harness writes them.
    """
    # Only where a cell is always text: in JSON a text that begins with [ is meant as a text.
    if has_text_cells and isinstance(value, str) and value.lstrip().startswith("["):
        with suppress(ValueError):
            value = json.loads(value)
    value = cells.read_message(value, "assistant")
    replies = []
    for output in value if isinstance(value, list) else [value]:
        one = cells.read_message(output, "assistant")
        many = one if isinstance(one, list) else [one]
        replies += [_read_reply(each, column, place) for each in many]
    return replies


def _read_reply(output: Any, column: str, place: str) -> Reply:
    """Return one output: a text, null, or a choice of a chat completion."""
    if isinstance(output, dict) and "message" in output:
        with suppress(ValueError):
            return read_choice(output)
    if isinstance(output, bool) or not isinstance(output, str | int | float | None):
        raise DataError(
            f"{place}: column {column!r} holds {type(output).__name__} {str(output)[:40]!r}. "
            "Allowed: a text, null, or a list of them."
        )
    thoughts, text = split_thoughts("" if output is None else str(output))
    return Reply(text=text, reasoning=thoughts)


def _label_outputs(
    outputs: Sequence[Output], verifier: Verifier, max_chars: int | None
) -> list[Route]:
    """Return the routes: labelled by the whole text, then cut to its last `max_chars`."""
    judged = judge_all(
        ["" if reply.is_cut else reply.text for _, _, reply in outputs],
        golds=[problem.answer for problem, _, _ in outputs],
        verifier=verifier,
        is_exact=False,
    )
    routes = []
    for (problem, source, reply), one in zip(outputs, judged, strict=True):
        chain = reply.chain
        if max_chars is not None and len(chain) > max_chars:
            # Begin at a whole word.
            chain = "... " + chain[-max_chars:].partition(" ")[2]
        route = Route(
            problem_id=problem.id,
            source=source,
            text=chain,
            answer=one.answer,
            correct=one.correct,
        )
        routes.append(route)
    return routes


def _check_result(found: Imported, settings: ImportedRoutes) -> None:
    """Raise `DataError` if there is no route, or if the settings do not allow what is missing."""
    if settings.strict and found.unmatched:
        raise DataError(
            f"{found.unmatched[0]}: its problem is not in the problem set. Correct routes.columns, "
            "or set routes.strict: false to leave such rows out."
        )
    sources = {route.source for route in found.routes}
    unknown = [source for source in settings.held_out if source not in sources]
    if found.routes and unknown:
        raise DataError(
            f"routes.held_out names {unknown[0]!r}, who wrote none of the outputs. Found: "
            f"{', '.join(sorted(sources))}."
        )
    if found.routes:
        return
    # Name the likeliest reason first: a row that could not be read, then one without a problem.
    why = "they hold no rows"
    if found.bad:
        why = str(found.bad[0])
    elif found.unmatched:
        why = f"the row at {found.unmatched[0]} is of no problem in the set"
    names = ", ".join(file.path for file in settings.files)
    raise DataError(
        f"{names}: no output could be used: {why.rstrip('.')}. A route finds its problem by "
        "routes.columns.id, or by routes.columns.question if id is null; it must give the same id "
        "as domain.columns."
    )
