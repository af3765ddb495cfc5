"""Read the rows of a user's own files (JSON, CSV, Excel, Parquet) and of datasets of the hub."""

from __future__ import annotations

import codecs
import csv
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, time
from pathlib import Path
from typing import IO, Any, cast
from zipfile import BadZipFile, ZipFile

from realm.core.errors import DataError, suggest_file
from realm.core.jsonl import MOST_CHARS, MOST_LINE_CHARS, parse_row, read_lines, require_file

HUB = "hub:"
NUM_NAMED = 5
"""Number of unusable rows that a message describes in full."""

Row = dict[str, Any]
# LaTeX after an odd number of backslashes: JSON reads \f as a form feed and \b as a backspace.
_LATEX = re.compile(r"(?<!\\)(?:\\\\)*\\(frac|forall|boxed|binom|begin|beta|bar|bullet)\b")

OnError = Callable[[DataError], None]

csv.field_size_limit(2**31 - 1)  # a cell may hold a whole table; the default stops at 128 KiB


def raise_error(error: DataError) -> None:
    """Raise `error`: a bad row ends the reading."""
    raise error


def read_rows(
    name: str, resolve: Callable[[str], Path] = Path, on_error: OnError = raise_error
) -> Iterator[tuple[str, Row]]:
    """Yield (place, row) of a file or of a dataset `hub:owner/name:split`; JSON can hold each row.

    The place is what a message calls the row, such as `problems.csv:12`. `resolve` makes the path
    of a file, `on_error` gets the error of a row that cannot be read. What makes the rest of the
    file unreadable is raised.
    """
    if name.startswith(HUB):
        yield from _hub_rows(name, resolve)
        return
    path = resolve(name)
    file_name = path.name.lower()
    read_binary = _BINARY_KINDS.get(file_name.rpartition(".")[2])
    read_text = _TEXT_KINDS.get(file_name.removesuffix(".gz").rpartition(".")[2])
    if not (read_binary or read_text):
        raise DataError(
            f"{path}: an unknown kind of file. Allowed: .jsonl or .ndjson (a JSON object a line), "
            ".json (a list of objects), .csv, .tsv, each of them with .gz, .xlsx, .parquet, and "
            f"{HUB}owner/name for a dataset of the hub, or {HUB}FOLDER for one on disk."
        )
    require_file(path)
    try:
        if read_binary:
            yield from read_binary(path)
        elif read_text:
            with _open_text(path) as file:
                yield from read_text(path, file, on_error)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file.{suggest_file(path)}") from None
    except gzip.BadGzipFile:
        raise DataError(f"{path}: is no gzip file. Take .gz off its name.") from None
    except (EOFError, zlib.error):
        raise DataError(f"{path}: is torn: the gzip file breaks off. Fetch it again.") from None
    except UnicodeError:
        raise DataError(f"{path}: is torn: not whole UTF-16 text. Save it as UTF-8.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}.") from None


def local_path(name: str, resolve: Callable[[str], Path] = Path) -> Path | None:
    """Return the file or folder that `name` stands for; None for a dataset of the hub."""
    if not name.startswith(HUB):
        return resolve(name)
    folder = resolve(_hub_parts(name)[0])
    return folder if folder.is_dir() else None


def make_absolute(name: str) -> str:
    """Return `name` so that it means the same from any folder."""
    path = local_path(name)
    if path is None:
        return name
    if not name.startswith(HUB):
        return path.absolute().as_posix()
    _, colon, part = name.removeprefix(HUB).partition(":")
    return f"{HUB}{path.absolute().as_posix()}{colon}{part}"


def describe_bad_rows(errors: Sequence[DataError]) -> str:
    """Return how many rows were left out and why, the first few in full."""
    lines = [f"{len(errors)} {'row' if len(errors) == 1 else 'rows'} left out:"]
    lines += map(str, errors[:NUM_NAMED])
    if len(errors) > NUM_NAMED:
        lines.append(f"and {len(errors) - NUM_NAMED} more")
    return "\n  ".join(lines)


def _open_text(path: Path) -> IO[str]:
    """Open a text file so that a byte that is no UTF-8 makes a bad row and not a bad file.

    Excel's "Unicode text" and PowerShell write UTF-16, which begins with a mark of its own.
    """
    # newline="": a quoted cell of a CSV may hold line ends, which have to stay as they are.
    is_packed = path.suffix.lower() == ".gz"
    with gzip.open(path) if is_packed else path.open("rb") as file:
        start = file.read(64)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        how: dict[str, Any] = {"encoding": "utf-16", "newline": ""}
    elif b"\0" in start[:4]:  # Latin letters in UTF-16; UTF-8 text holds no zero byte
        raise DataError(
            f"{path}: looks like UTF-16 text without a byte order mark. Save the file as UTF-8, or "
            "convert it: iconv -f utf-16le -t utf-8 FILE"
        )
    else:
        # "-sig" drops the mark that Excel writes before UTF-8. A byte that is no UTF-8 becomes half
        # of a surrogate pair, which `_require_utf8` finds in its row.
        how = {"encoding": "utf-8-sig", "errors": "surrogateescape", "newline": ""}
    # The caller closes the file.
    file = gzip.open(path, "rt", **how) if is_packed else path.open(**how)  # noqa: SIM115
    return cast("IO[str]", file)


def _json_rows(path: Path, file: IO[str], on_error: OnError) -> Iterator[tuple[str, Row]]:
    for number, line in enumerate(read_lines(file, path), 1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        try:
            _require_utf8(line, place)
            row = parse_row(line, place, on_object=_require_unique_keys)
            if latex := _LATEX.search(line):
                raise DataError(f"{place}: in JSON the backslash of \\{latex[1]} must be doubled.")
        except DataError as error:
            on_error(error)
            continue
        # UTF-8 text cannot hold half of a surrogate pair, but an escape such as \ud83d can.
        yield place, _plain(row) if "\\u" in line else row


def _json_list_rows(path: Path, file: IO[str], on_error: OnError) -> Iterator[tuple[str, Row]]:
    """Yield the objects of a JSON list, or of the one list of objects in a JSON object."""
    try:
        value = json.loads("".join(read_lines(file, path)))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON: {error}. A .json file holds a list.") from None
    found = [value] if isinstance(value, list) else []
    if isinstance(value, dict):
        # A log of inspect_ai holds other lists beside its samples.
        values = [value["samples"]] if {"eval", "samples"} <= value.keys() else value.values()
        found = [
            part for part in values if isinstance(part, list) and part and isinstance(part[0], dict)
        ]
    if len(found) != 1:
        raise DataError(
            f"{path}: holds no list of objects. A .json file is a list of objects, or an object "
            "with one such list in it; .jsonl has one object a line."
        )
    for number, row in enumerate(found[0], 1):
        place = f"{path}: row {number}"
        if isinstance(row, dict):
            yield place, _plain(row)
        else:
            on_error(DataError(f"{place}: not a JSON object. Each row is one JSON object."))


def _excel_rows(path: Path) -> Iterator[tuple[str, Row]]:
    """Yield the rows of the first sheet; the first row holds the names of the columns."""
    try:
        from openpyxl import load_workbook
        from openpyxl.utils.exceptions import InvalidFileException
    except ImportError:
        raise DataError(
            f"{path}: reading it needs the package openpyxl: pip install 'realm-slm[excel]'. Or "
            "save the sheet as CSV UTF-8."
        ) from None
    try:
        with ZipFile(path) as packed:
            if sum(part.file_size for part in packed.infolist()) > MOST_CHARS:
                raise DataError(f"{path}: unpacks to more than {MOST_CHARS:,} bytes. Split it.")
        # data_only: what Excel has computed, not the formulas.
        sheet = load_workbook(path, read_only=True, data_only=True).worksheets[0]
    except (InvalidFileException, BadZipFile, KeyError, ValueError) as error:
        raise DataError(f"{path}: is no whole .xlsx file: {error}. Save it again.") from None
    rows = sheet.iter_rows(values_only=True)
    columns = [str(name) for name in next(rows, ()) if name is not None]
    for number, cells in enumerate(rows, 2):
        if any(cell is not None for cell in cells):
            yield f"{path}:{number}", _plain(dict(zip(columns, cells, strict=False)))


def _csv_rows(path: Path, file: IO[str], on_error: OnError) -> Iterator[tuple[str, Row]]:
    start = file.readline(MOST_LINE_CHARS)
    file.seek(0)
    # The separator that the first line has most of; a tie goes to the comma.
    separator = max(",;\t", key=start.count)
    reader = csv.DictReader(read_lines(file, path), strict=True, delimiter=separator)
    try:
        columns = list(reader.fieldnames or [])
        _require_utf8(",".join(columns), f"{path}:1")
        if twice := sorted({column for column in columns if column and columns.count(column) > 1}):
            raise DataError(f"{path}:1: the column {twice[0]!r} comes twice. Rename one of them.")
        for row in reader:
            place = f"{path}:{reader.line_num}"
            try:
                # DictReader puts surplus cells under the key None, and None for missing ones.
                if None in row or None in row.values():
                    raise DataError(
                        f"{place}: more or fewer cells than the {len(columns)} columns of the "
                        "first line. A cell that holds a comma or a line end stands in quotes: "
                        '"a, b".'
                    )
                _require_utf8("".join(row.values()), place)
            except DataError as error:
                on_error(error)
                continue
            yield place, row
    except csv.Error as error:
        raise DataError(
            f"{path}:{reader.line_num}: not valid CSV: {error}. Where the next row begins cannot "
            'be told; close the quotes, and write a quote inside a cell twice: "a ""b"" c".'
        ) from None


def _parquet_rows(path: Path) -> Iterator[tuple[str, Row]]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            rows = (row for batch in file.iter_batches() for row in batch.to_pylist())
            for number, row in enumerate(rows, 1):
                yield f"{path}: row {number}", _plain(row)
    except ArrowException as error:
        reason = str(error).rstrip(".")
        raise DataError(f"{path}: is no whole Parquet file: {reason}. Write it again.") from None


def _refuse_inspect_log(path: Path) -> Iterator[tuple[str, Row]]:
    raise DataError(
        f"{path}: is a packed log of inspect_ai. Convert it, and import the .json file: "
        f"inspect log convert {path.name} --to json --output-dir DIR"
    )


def _hub_rows(name: str, resolve: Callable[[str], Path]) -> Iterator[tuple[str, Row]]:
    """Yield the rows of a dataset of the hub, or of a folder that `datasets` can load."""
    from datasets import DatasetDict, disable_progress_bars, load_dataset
    from datasets.exceptions import DatasetsError

    from realm.core.terminal import quiet_libraries

    repository, subset, split = _hub_parts(name)
    disable_progress_bars()
    quiet_libraries()
    try:
        found = load_dataset(str(local_path(name, resolve) or repository), subset, split=split)
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise DataError(
            f"{name}: cannot be loaded: {reason}. Allowed: {HUB}owner/name, {HUB}owner/name:split "
            f"and {HUB}owner/name:subset/split, or a folder in the place of owner/name."
        ) from None
    if isinstance(found, DatasetDict):
        if len(found) > 1:
            one = f"{HUB}{repository}:{subset + '/' if subset else ''}{next(iter(found))}"
            raise DataError(f"{name}: has the splits {', '.join(found)}. Say which one: {one}")
        found = next(iter(found.values()))
    for number, row in enumerate(found, 1):
        yield f"{name}: row {number}", _plain(row)


def _hub_parts(name: str) -> tuple[str, str | None, str | None]:
    """Return repository (or folder), subset and split.

    >>> _hub_parts("hub:openai/gsm8k:main/test"), _hub_parts("hub:owner/name")
    (('openai/gsm8k', 'main', 'test'), ('owner/name', None, None))
    """
    repository, _, part = name.removeprefix(HUB).partition(":")
    subset, _, split = part.rpartition("/")
    return repository, subset or None, split or None


def _plain(row: Row) -> Row:
    """Return `row` as JSON can hold it.

    A date becomes text, bytes the text that they encode, NaN `None`, and half of a surrogate pair
    a question mark.
    """
    text = json.dumps(row, ensure_ascii=False, default=_to_text).encode(errors="replace")
    plain: Row = json.loads(text, parse_constant=lambda _: None)
    return plain


def _require_unique_keys(pairs: list[tuple[str, Any]]) -> Row:
    row: Row = {}
    for name, value in pairs:
        if name in row:
            raise ValueError(f"the key {name!r} comes twice, so its value is unclear")
        row[name] = value
    return row


def _to_text(value: Any) -> str:
    if isinstance(value, datetime) and value.time() == time.min:
        value = value.date()  # pandas and Excel have no dates without a time
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _require_utf8(text: str, place: str) -> None:
    """Raise DataError if `text`, read with surrogateescape, holds a byte that is not UTF-8."""
    if not text.isascii() and any("\udc80" <= letter <= "\udcff" for letter in text):
        raise DataError(
            f"{place}: not UTF-8 text. Save the file as UTF-8 (in a spreadsheet: CSV UTF-8), or "
            "convert it: iconv -f latin1 -t utf-8 FILE"
        )


_TEXT_KINDS = {
    "jsonl": _json_rows,
    "ndjson": _json_rows,
    "json": _json_list_rows,
    "csv": _csv_rows,
    "tsv": _csv_rows,
}
_BINARY_KINDS = {"parquet": _parquet_rows, "xlsx": _excel_rows, "eval": _refuse_inspect_log}
