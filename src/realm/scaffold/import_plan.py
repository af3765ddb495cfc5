"""Plan an import: find the columns, name the sources, and write the config that says so."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from realm.core.errors import ConfigError, DataError
from realm.core.jsonl import write_text
from realm.core.tables import HUB, Row, make_absolute, read_rows
from realm.domains.cells import get_cell

if TYPE_CHECKING:
    from collections.abc import Sequence

# Usual names of a column. A later group counts if no column has a name of an earlier one: a column
# `prompt` often holds more than the question.
USUAL_NAMES = {
    "question": (("question", "problem"), ("prompt",)),
    "answer": (("answer", "gold"), ("solution", "label")),
    "outputs": (
        ("outputs", "output", "completions", "completion", "responses", "response"),
        ("assistant_answer",),
    ),
}

# What separates the words of a file name.
SEPARATORS = "_. -"

HEADER = """\
# Written by `realm import`: problems, and the answers that models wrote to them.
#
#   realm eval CONFIG      what the answers are worth: one of them, their majority, the best of them
#   realm report CONFIG    the same on a page
#
# To train a small model that reasons by itself: name it in `model` (a folder or a hub id, such as
# Qwen/Qwen2.5-1.5B-Instruct), keep a source for evaluation in `held_out` if there are several, add
# `rules` (a Markdown file) to `domain` if there is a rule book, then:
#
#   realm run CONFIG
"""


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """What the command line says about the columns; `None` where it says nothing."""

    question: str | None = None
    answer: str | None = None
    outputs: str | None = None
    source: str | None = None
    id: str | None = None
    kind: str = "text"
    strict: bool = False


@dataclass(frozen=True, kw_only=True)
class ImportPlan:
    """What an import is going to do."""

    settings: dict[str, Any]
    summary: str
    """Which columns were found and how answers are compared, in one line."""

    def render_config(self) -> str:
        """Return the content of the config file."""
        text = yaml.safe_dump(self.settings, sort_keys=False, allow_unicode=True, width=120)
        return HEADER + text


def plan_import(files: Sequence[str], options: ImportOptions, run: Path) -> ImportPlan:
    """Return what to do with `files`, each a file or NAME=FILE.

    Raises:
        DataError: A column is missing or cannot be guessed.
        ConfigError: Two files would give their sources the same name.
    """
    named = [_split_name(file) for file in files]
    columns = _find_columns(named, options)
    identity = {"id": options.id, "question": columns["question"]}
    route_columns = identity | {"outputs": columns["outputs"]}
    if options.source:
        route_columns["source"] = options.source
    settings = {
        "run": run.absolute().as_posix(),
        "model": None,  # `realm run` then says what the answers are worth
        "domain": {
            "kind": "files",
            "path": list(dict.fromkeys(make_absolute(file) for _, file in named)),
            "columns": identity | {"answer": columns["answer"]},
            "answer": options.kind,
            "strict": options.strict,
        },
        "routes": {
            "kind": "import",
            "files": _name_sources(named, options, by_column=isinstance(columns["outputs"], list)),
            "columns": route_columns,
            "held_out": [],
            "strict": options.strict,
        },
    }
    found = ", ".join(f"{role} {column!r}" for role, column in columns.items())
    summary = f"{found}; answers compared as {options.kind} (--kind)"
    return ImportPlan(settings=settings, summary=summary)


def write_config(plan: ImportPlan, path: Path, *, force: bool) -> bool:
    """Write the config unless it is there already, and return whether it is new.

    Raises:
        ConfigError: There is a config that says something else, and `force` is not set.
    """
    text = plan.render_config()
    known = path.read_text(encoding="utf-8") if path.exists() else None
    if known is not None and known != text and not force:
        raise ConfigError(
            f"{path}: exists and says something else. `realm run {path}` goes on with it as it is; "
            "--force overwrites it, and --run DIR takes another folder."
        )
    if known != text:
        write_text(path, text)
    return known is None


def default_folder(files: Sequence[str]) -> Path:
    """Return the run folder of an import that names none: what the names of its files share.

    >>> default_folder(["a/wtq_gpt4o.jsonl.gz", "a/wtq_llama.jsonl.gz"]).as_posix()
    'runs/wtq'
    """
    stems = [_get_stem(_split_name(file)[1]) for file in files]
    shared = _find_common_words(stems) if len(stems) > 1 else ""
    return Path("runs") / (shared.strip(SEPARATORS) or stems[0])


def _split_name(file: str) -> tuple[str | None, str]:
    """Return (name, file) of NAME=FILE; the name is `None` if `file` is just a file."""
    name, equals, rest = file.partition("=")
    # The path of a file may hold an equals sign too.
    is_named = equals and name and "/" not in name and not Path(file).exists()
    return (name, rest) if is_named else (None, file)


def _find_columns(
    named: Sequence[tuple[str | None, str]], options: ImportOptions
) -> dict[str, Any]:
    """Return the column of each role, as asked for or as the first file has it.

    All files must have these columns. `--outputs A,B` names two columns, of two sources.
    """
    rows = [_read_first_row(file) for _, file in named]
    columns: dict[str, Any] = {}
    for role in USUAL_NAMES:
        asked = getattr(options, role)
        columns[role] = asked or _guess_column(role, list(rows[0]), named[0][1])
        if role == "outputs" and asked and asked not in rows[0] and "," in asked:
            columns[role] = [name.strip() for name in asked.split(",")]
    for (name, file), row in zip(named, rows, strict=True):
        by_column = {"source": options.source} if options.source and not name else {}
        for role, column in (columns | by_column).items():
            for each in column if isinstance(column, list) else [column]:
                get_cell(row, each, file, f"--{role}")  # raises if there is no such column
    return columns


def _read_first_row(file: str) -> Row:
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


def _guess_column(role: str, columns: Sequence[str], file: str) -> str:
    """Return the one column that has a usual name of its role."""
    for names in USUAL_NAMES[role]:
        found = [column for column in columns if column.strip().lower() in names]
        if len(found) == 1:
            return found[0]
        if found:
            raise DataError(
                f"{file}: {' and '.join(found)} may both be the {role}. Name one: --{role} "
                f"{found[0]}"
            )
    raise DataError(
        f"{file}: no column has a usual name for the {role}. Name it: --{role} COLUMN. Found: "
        f"{', '.join(columns)}."
    )


def _name_sources(
    named: Sequence[tuple[str | None, str]], options: ImportOptions, *, by_column: bool
) -> list[dict[str, Any]]:
    """Return the files with their sources: NAME, or what tells the names of the files apart."""
    if options.source or by_column:
        return [
            {"path": make_absolute(file)} | ({"source": name} if name else {})
            for name, file in named
        ]
    stems = [_get_stem(file) for _, file in named]
    unnamed = Counter(stem for stem, (name, _) in zip(stems, named, strict=True) if not name)
    if twice := [stem for stem, count in unnamed.items() if count > 1]:
        raise ConfigError(
            f"two files are called {twice[0]!r}, and file names say who wrote the outputs. Name "
            "the sources: NAME=FILE, such as gpt-4o=a/outputs.jsonl"
        )
    shorter = _remove_common_parts(stems)
    return [
        {"path": make_absolute(file), "source": name or stem}
        for (name, file), stem in zip(named, shorter, strict=True)
    ]


def _get_stem(file: str) -> str:
    """Return the name of a file without its endings, or of a dataset without its owner."""
    if file.startswith(HUB):
        return Path(file.removeprefix(HUB).partition(":")[0]).name
    name = Path(file).name.removesuffix(".gz")
    return name.rpartition(".")[0] or name


def _remove_common_parts(stems: Sequence[str]) -> list[str]:
    """Return `stems` without the words that all of them begin with and end with.

    >>> _remove_common_parts(["wtq_gpt4o_5ans", "wtq_llama3-8b_5ans"])
    ['gpt4o', 'llama3-8b']
    """
    if len(stems) < 2:
        return list(stems)
    before = len(_find_common_words(stems))
    after = len(_find_common_words([stem[::-1] for stem in stems]))
    shorter = [stem[before : len(stem) - after] for stem in stems]
    # A stem that is nothing but common parts would leave its source without a name.
    return shorter if all(shorter) else list(stems)


def _find_common_words(stems: Sequence[str]) -> str:
    """Return the words that all of `stems` begin with, each with the separator behind it."""
    common = ""
    split = [re.split(f"(?<=[{SEPARATORS}])", stem) for stem in stems]
    for word, *others in zip(*split, strict=False):
        if set(others) - {word}:
            break
        common += word
    return common
