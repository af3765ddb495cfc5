"""Corrections of labels by a person: a file of the run folder that `realm review` appends to.

The stages `data` and `routes` apply them, so that all later stages see the corrected labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realm.core.errors import DataError
from realm.core.jsonl import append_jsonl, read_numbered_rows
from realm.core.records import Problem, Route, to_row
from realm.domains.cells import hash_text

if TYPE_CHECKING:
    from realm.verify.verifier import Verifier

CORRECTIONS = "corrections.jsonl"
KINDS = {
    "gold": (object,),
    "excluded": (bool,),
    "correct": (bool,),
    "process": (bool,),
}
"""What a correction is about, and the types of its value: the gold answer, whether the problem is
left out, whether a route's answer is right, whether all its steps hold."""
_OF_ROUTES = ("correct", "process")


@dataclass(frozen=True, kw_only=True)
class Correction:
    """One corrected label; of several about the same thing the last one counts.

    Example: `Correction(problem_id="p1", kind="gold", value="deny late", note="rule 4")`.
    """

    problem_id: str
    kind: str
    """One of `KINDS`."""
    value: Any
    """The right value. None withdraws earlier corrections of the same thing."""
    source: str = ""
    """The author of the route; empty if the correction is about the problem."""
    text_hash: str = ""
    """The hash of the route's text, or of the problem's question (see `hash_text`): with another
    seed another problem may have the same id. Empty: any question."""
    flaw: int | None = None
    """Number, from 1, of the first step that does not hold, if `process` is False."""
    note: str = ""
    time: str = ""
    """When it was made, in UTC."""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What the correction is about."""
        return self.problem_id, self.kind, self.source, self.text_hash


def label_problem(problem: Problem, kind: str, value: Any, note: str = "") -> Correction:
    """Return the correction of a problem, of the kind `gold` or `excluded`."""
    digest = hash_text(problem.question)
    return Correction(problem_id=problem.id, kind=kind, value=value, text_hash=digest, note=note)


def label_route(route: Route, kind: str, value: bool | None, flaw: int | None = None) -> Correction:
    """Return the correction that gives a route a label, of the kind `correct` or `process`."""
    return Correction(
        problem_id=route.problem_id,
        kind=kind,
        value=value,
        source=route.source,
        text_hash=hash_text(route.text),
        flaw=flaw,
    )


def add_correction(path: Path, correction: Correction) -> None:
    """Append a correction, with the time, to the file."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with append_jsonl(path) as append:
        row = to_row(replace(correction, time=now))
        append({name: value for name, value in row.items() if value != ""})


def read_corrections(path: Path) -> list[Correction]:
    """Return the corrections that count; none if there is no file.

    Raises:
        DataError: A row is not a correction.
    """
    found: dict[tuple[str, str, str, str], Correction] = {}
    for number, row in read_numbered_rows(path) if path.exists() else ():
        correction = _read_correction(row, f"{path}:{number}")
        found.pop(correction.key, None)
        if correction.value is not None:
            found[correction.key] = correction
    return list(found.values())


def _read_correction(row: dict[str, Any], place: str) -> Correction:
    known = [field.name for field in fields(Correction)]
    missing = [name for name in ("problem_id", "kind", "value") if name not in row]
    unknown = [name for name in row if name not in known]
    if missing or unknown or row["kind"] not in KINDS:
        raise DataError(
            f"{place}: is no correction. A row has problem_id, value and the kind "
            f"{', '.join(KINDS)}, and may have {', '.join(known[3:])}."
        )
    value, kind = row["value"], row["kind"]
    if value is not None and not isinstance(value, KINDS[kind]):
        raise DataError(f"{place}: its value is {value!r}; {kind} is true, false or null.")
    is_of_route = kind in _OF_ROUTES
    if bool(row.get("source")) != is_of_route or (is_of_route and not row.get("text_hash")):
        raise DataError(
            f"{place}: source and text_hash name a route: {' and '.join(_OF_ROUTES)} need both, "
            "and other kinds have no source."
        )
    flaw = row.get("flaw")
    if flaw is not None and not (type(flaw) is int and flaw > 0 and value is False):
        raise DataError(
            f"{place}: its flaw is {flaw!r}; it is the number of a step, from 1, and goes with "
            "kind process and value false."
        )
    return Correction(**row)


def correct_problems(
    problems: Sequence[Problem], corrections: Sequence[Correction]
) -> tuple[list[Problem], int]:
    """Return the problems with corrected gold answers, without those excluded.

    Returns:
        The problems, and the number of those that were changed or left out.
    """
    golds = _find_values(problems, corrections, "gold")
    excluded = _find_values(problems, corrections, "excluded")
    kept = []
    num_changed = 0
    for problem in problems:
        corrected = replace(problem, answer=golds.get(problem.id, problem.answer))
        is_excluded = excluded.get(problem.id, False)
        num_changed += is_excluded or corrected != problem
        if not is_excluded:
            kept.append(corrected)
    return kept, num_changed


def _find_values(
    problems: Sequence[Problem], corrections: Sequence[Correction], kind: str
) -> dict[str, Any]:
    """Return the values of one kind by the id of the problem, for those with the same question."""
    found = {one.problem_id: one for one in corrections if one.kind == kind}
    return {
        one.id: found[one.id].value
        for one in problems
        if one.id in found and found[one.id].text_hash in ("", hash_text(one.question))
    }


def correct_routes(
    routes: Sequence[Route],
    corrections: Sequence[Correction],
    problems: Sequence[Problem],
    verifier: Verifier,
) -> tuple[list[Route], int]:
    """Return the routes with corrected labels.

    The routes of a problem with a corrected gold answer are compared with it: a domain that writes
    its own routes has labelled them by what it takes to be right.

    Returns:
        The routes, and the number of labels that were changed one by one.
    """
    by_key = {one.key: one for one in corrections}
    answers = _find_values(problems, corrections, "gold")
    corrected = []
    num_changed = 0
    for route in routes:
        if route.problem_id in answers and route.answer is not None:
            is_right = verifier.same(route.answer, answers[route.problem_id])
            route = replace(route, correct=is_right)
        # A text is hashed only if there is something to look for.
        for kind in _OF_ROUTES if corrections else ():
            if one := by_key.get(label_route(route, kind, None).key):
                labels = _list_labels(one)
                num_changed += any(getattr(route, name) != labels[name] for name in labels)
                route = replace(route, **labels)
        corrected.append(route)
    return corrected, num_changed


def _list_labels(correction: Correction) -> dict[str, Any]:
    """Return the fields of a route that a correction sets."""
    if correction.kind == "correct":
        return {"correct": correction.value}
    return {"process": correction.value, "flaw": correction.flaw, "fix": None}
