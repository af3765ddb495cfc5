"""Find which columns of a file hold the question, the answers and the outputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from realm.core.errors import ConfigError, DataError
from realm.core.tables import Row, read_rows
from realm.domains.cells import get_cell, look_up

if TYPE_CHECKING:
    from collections.abc import Mapping

# Usual names of a column. A later group counts if no column has a name of an earlier one: a column
# `prompt` often holds more than the question. A chat holds both the question and the output.
_CHATS = ("messages", "conversation")
USUAL_NAMES = {
    "question": (("question", "problem"), ("prompt",), _CHATS),
    "answer": (("answer", "gold"), ("solution", "label")),
    "outputs": (
        ("outputs", "output", "completions", "completion", "responses", "response"),
        ("assistant_answer",),
        _CHATS,
    ),
}

# Logs of other tools: the columns that tell them, and which column holds what. Of several the first
# that there is counts.
_LOGS: tuple[tuple[set[str], dict[str, tuple[str, ...]]], ...] = (
    (  # lm-evaluation-harness, --log_samples
        {"doc", "target", "resps"},
        {
            "question": ("doc.question", "doc.problem", "doc.query", "doc.input", "doc"),
            "answer": ("target",),
            "outputs": ("resps",),
        },
    ),
    (  # inspect_ai, as JSON
        {"epoch", "input", "target", "output"},
        {
            "question": ("input",),
            "answer": ("target",),
            "outputs": ("output.choices",),
            "source": ("output.model",),
        },
    ),
    (  # OpenAI's batches
        {"custom_id", "response"},
        {
            "id": ("custom_id",),
            "outputs": ("response.body.choices",),
            "source": ("response.body.model",),
        },
    ),
    (  # verl
        {"prompt", "reward_model"},
        {"answer": ("reward_model.ground_truth",)},
    ),
)


_ELSEWHERE = " (gold answers in a file of their own: --problems FILE)"


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """What the command line says about the columns; `None` where it says nothing."""

    question: str | None = None
    answer: str | None = None
    outputs: str | None = None
    source: str | None = None
    id: str | None = None
    problems: str | None = None
    """The file of problems, if the files of outputs hold no gold answers."""
    kind: str = "text"
    strict: bool = False


def require_columns(rows: Mapping[str, Row], options: ImportOptions) -> None:
    """Raise `DataError` if the command line names a column that no file has."""
    for role in (*USUAL_NAMES, "source"):
        asked = getattr(options, role)
        if asked and not any(_has_column(row, asked) for row in rows.values()):
            file, row = next(iter(rows.items()))
            for name in _split_names(row, asked) if role == "outputs" else [asked]:
                get_cell(row, name, file, f"--{role}")  # raises


def find_columns(
    file: str, row: Row, options: ImportOptions, last: Literal["answer", "outputs"]
) -> dict[str, Any]:
    """Return the columns of a file: id, question, and the answers or the outputs (`last`).

    A column that the command line names is taken where the file has it; else that of the log, or
    of a usual name.
    """
    log = next((names for signs, names in _LOGS if signs <= row.keys()), {})

    def find(role: str) -> str | None:
        asked, known = getattr(options, role), log.get(role, ())
        if asked and _has_column(row, asked):
            return str(asked)
        # The first row of a log may be of a request that failed: then the last name is taken.
        there = [name for name in known if _has_column(row, name)] or known[-1:]
        return there[0] if there else None

    columns: dict[str, Any] = {"id": None}
    if options.id:
        # A batch has a column `id` too, which numbers its requests.
        columns["id"] = next(iter(log.get("id", ())), options.id)
        if "{" not in columns["id"]:
            get_cell(row, columns["id"], file, "--id")  # raises if there is no such column
    # Outputs to problems of another file may do without the question.
    is_needed = not (options.problems and options.id and last == "outputs")
    columns["question"] = find("question") or _guess_column("question", row, file, is_needed)
    columns[last] = find(last) or _guess_column(last, row, file)
    if last == "outputs":
        if columns[last] not in row and "," in columns[last]:
            columns[last] = _split_names(row, columns[last])
        if source := find("source"):
            columns["source"] = source
    return columns


def _has_column(row: Row, column: str) -> bool:
    """Whether `row` has a column, or each of several with commas between them."""
    for name in [column] if column in row else _split_names(row, column):
        try:
            look_up(row, name)
        except KeyError:
            return False
    return True


def _split_names(row: Row, columns: str) -> list[str]:
    """Return the names in a list with commas; a header may begin or end with a space itself."""
    return [name if name in row else name.strip() for name in columns.split(",")]


def read_first_row(file: str) -> Row:
    """Return the first row that can be read."""
    if Path(file).suffix in (".yaml", ".yml"):
        raise ConfigError(
            f"{file}: is a config. `realm routes {file}` imports its routes; `realm import` takes "
            "data files."
        )
    bad: list[DataError] = []
    for _, row in read_rows(file, on_error=bad.append):
        return row
    if bad:
        raise bad[0]
    raise DataError(f"{file}: holds no rows. Give a file with a row for each problem or output.")


def _guess_column(role: str, row: Row, file: str, is_needed: bool = True) -> str | None:
    """Return the one column that has a usual name of its role."""
    for names in USUAL_NAMES[role]:
        found = [column for column in row if column.strip().lower() in names]
        if len(found) == 1:
            return found[0]
        if found:
            raise DataError(
                f"{file}: {' and '.join(found)} may both be the {role}. Name one: --{role} "
                f"{found[0]}"
            )
    if not is_needed:
        return None
    raise DataError(
        f"{file}: no column has a usual name for the {role}. Name it: --{role} COLUMN"
        f"{_ELSEWHERE if role == 'answer' else ''}. Found: {', '.join(row)}."
    )
