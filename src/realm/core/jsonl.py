"""Read and write the files of a run folder. Writes are atomic; errors name the file and line."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import IO, Any, TypeVar

from realm.core.errors import DataError, RunError
from realm.core.records import Problem, Route, find_required, to_row

Record = TypeVar("Record", Problem, Route)
MOST_LINE_CHARS, MOST_CHARS = 2**26, 2**31
"""A row as large would not fit into any prompt, and a file as large not into memory."""
_NONE = type(None)
_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("id", "split", "question", "problem_id", "source", "text"), (str,)),
    **dict.fromkeys(("guided", "rationalized"), (bool,)),
    **dict.fromkeys(("correct", "process"), (bool, _NONE)),
    "fix": (str, _NONE),
    "flaw": (int, _NONE),
    **dict.fromkeys(("meta", "usage"), (dict,)),
    "choices": (list, _NONE),
    "guide": (list,),
    "cost_usd": (int, float, _NONE),
}
"""JSON types of the fields of problems and routes. An answer may be anything."""


def make_folder(folder: Path) -> None:
    """Make a folder unless it is there; raise `RunError` where that is not allowed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"{folder}: the folder cannot be made: {error.strerror}. Choose another place."
        ) from None


@contextmanager
def replacing_file(path: Path, *, is_private: bool = False) -> Iterator[Path]:
    """Yield a temporary file that atomically replaces `path` on success.

    With `is_private` nobody but the user may read it.
    """
    # In the same folder, because os.replace is atomic only within one file system.
    temporary = path.with_name(f".{path.name}.part")
    make_folder(path.parent)
    # A link of this name, in a folder that somebody else made, would lead the text elsewhere.
    temporary.unlink(missing_ok=True)
    mode = 0o600 if is_private else 0o666  # less what the umask takes away
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        error.filename, error.filename2 = str(path), None  # a full disk does not say which file
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically."""
    with replacing_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON atomically; NaN is an error."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def write_jsonl(
    path: Path, rows: Iterable[dict[str, Any] | Problem | Route], *, is_private: bool = False
) -> None:
    """Write one row or record per line atomically."""
    with (
        replacing_file(path, is_private=is_private) as temporary,
        temporary.open("w", encoding="utf-8") as file,
    ):
        for row in rows:
            file.write(_format_line(row))


@contextmanager
def append_jsonl(path: Path) -> Iterator[Callable[[dict[str, Any] | Problem | Route], None]]:
    """Yield a function that appends one row, after cutting off a line that a kill has torn."""
    make_folder(path.parent)
    repair_torn_line(path)
    with path.open("a", encoding="utf-8") as file:

        def append(row: dict[str, Any] | Problem | Route) -> None:
            file.write(_format_line(row))
            file.flush()  # a killed process loses at most the row that it is writing

        yield append


def repair_torn_line(path: Path) -> None:
    """Cut off a last line without a line end, since that row was not fully written."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        content = file.read()
        if content and not content.endswith(b"\n"):
            file.truncate(content.rfind(b"\n") + 1)


@contextmanager
def explain_damage(path: Path, stage: str = "") -> Iterator[None]:
    """Name the file if what is read in this block turns out torn or edited, and what to do.

    Args:
        path: A file of a run folder.
        stage: What makes the file again; empty for unfinished work.
    """
    remedy = f"`realm {stage} --force` makes it again." if stage else "Remove it and run again."
    try:
        yield
    except DataError as error:
        raise DataError(f"{error} {remedy}") from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise RunError(f"{path}: is damaged ({reason}). {remedy}") from None


def read_json(path: Path, stage: str = "") -> Any:
    """Return what a JSON file of a run folder holds; see `explain_damage`."""
    with explain_damage(path, stage):
        return json.loads(path.read_text(encoding="utf-8"))


def require_file(path: Path) -> None:
    """Raise `DataError` for a pipe or a device, which may never end; a missing file passes."""
    if path.exists() and not path.is_file():
        what = "a folder" if path.is_dir() else "a pipe or a device"
        raise DataError(f"{path}: is {what}, not a file.")


def read_lines(file: IO[str], path: Path) -> Iterator[str]:
    """Yield the lines of a text file; `DataError` if it grows beyond what memory can hold.

    A gzip file of a megabyte may unpack to gigabytes.
    """
    size = 0
    while line := file.readline(MOST_LINE_CHARS + 1):
        size += len(line)
        if len(line) > MOST_LINE_CHARS or size > MOST_CHARS:
            raise DataError(
                f"{path}: is too large: a line may have {MOST_LINE_CHARS:,} characters and a file "
                f"{MOST_CHARS:,}. Split it."
            )
        yield line


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a .jsonl or .jsonl.gz file.

    Raises:
        DataError: A line is not a JSON object.
    """
    return [row for _, row in read_numbered_rows(path)]


def read_numbered_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, row) of a .jsonl or .jsonl.gz file; empty lines are skipped."""
    require_file(path)
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8") as file
        ):
            for number, line in enumerate(read_lines(file, path), 1):
                if line.strip():
                    yield number, parse_row(line, f"{path}:{number}")
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file.") from None
    # A torn .gz raises EOFError or zlib.error, and neither is an OSError.
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}. Allowed: UTF-8 text, .gz.") from None


def parse_row(
    line: str,
    place: str,
    on_object: Callable[[list[tuple[str, Any]]], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Return the JSON object in `line`; NaN, which is no value, becomes `None`.

    Args:
        line: The text.
        place: What an error calls the row.
        on_object: Makes a dict of the pairs of each object.

    Raises:
        DataError: It is not a JSON object.
    """
    try:
        row = json.loads(line, parse_constant=lambda _: None, object_pairs_hook=on_object)
    except (ValueError, RecursionError) as error:  # thousands of open brackets recurse
        reason = (
            f"{error.msg} at column {error.colno}"
            if isinstance(error, json.JSONDecodeError)
            else error
        )
        raise DataError(f"{place}: not valid JSON: {reason}. {_quote_start(line)}") from None
    if not isinstance(row, dict):
        raise DataError(f"{place}: not a JSON object. {_quote_start(line)}")
    return row


def read_problems(path: Path) -> list[Problem]:
    """Return the problems of a problems.jsonl; each id occurs once."""
    with explain_damage(path, "data"):
        problems = _read_records(path, Problem)
        ids = Counter(problem.id for problem in problems)
        if repeated := [identity for identity, count in ids.items() if count > 1]:
            raise DataError(
                f"{path}: {len(repeated)} ids occur more than once, the first is {repeated[0]!r}."
            )
        return problems


def read_routes(path: Path) -> list[Route]:
    """Return the routes of a routes.jsonl."""
    with explain_damage(path, "routes"):
        return _read_records(path, Route)


def _read_records(path: Path, kind: type[Record]) -> list[Record]:
    known = {field.name for field in fields(kind)}
    needed = find_required(kind)
    records = []
    for number, row in read_numbered_rows(path):
        missing = [name for name in needed if name not in row]
        unknown = sorted(set(row) - known)
        mistyped = [name for name in row if not isinstance(row[name], _TYPES.get(name, object))]
        if missing or unknown or mistyped:
            faults = (
                ("lacks", missing),
                ("has unknown fields:", unknown),
                ("holds a value of the wrong type in", mistyped),
            )
            what = " and ".join(f"{fault} {', '.join(names)}" for fault, names in faults if names)
            optional = ", ".join(sorted(known - set(needed)))
            raise DataError(
                f"{path}:{number}: the row {what}. A row has {', '.join(needed)} and may have "
                f"{optional}."
            )
        records.append(kind(**row))
    return records


def _format_line(row: dict[str, Any] | Problem | Route) -> str:
    plain = row if isinstance(row, dict) else to_row(row)
    # NaN is not JSON, and other programs would refuse the whole file.
    return json.dumps(plain, ensure_ascii=False, allow_nan=False) + "\n"


def _quote_start(line: str) -> str:
    line = line.strip()
    quoted = line if len(line) <= 60 else line[:60] + "..."
    return f"Found: {quoted}. Each line is one JSON object."
