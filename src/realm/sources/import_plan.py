"""What `realm import` makes of a user's files: their sources, which column holds what, and the config that says so."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml

from realm.core.errors import ConfigError, DataError
from realm.core.jsonl import write_text
from realm.core.tables import HUB, absolute, read_rows

USUAL = {
    "question": (("question", "problem"), ("prompt",)),
    "answer": (("answer", "gold"), ("solution", "label")),
    "outputs": (
        ("outputs", "output", "completions", "completion", "responses", "response"),
        ("assistant_answer",),
    ),
}
"""How people call a column. A later group counts where there is none of an earlier one: a prompt holds more than the question."""

SEPARATORS = "_. -"
"""What stands between the words of a file's name."""

HEADER = """\
# Written by `realm import`: problems, and the answers that models wrote to them.
#
#   realm eval CONFIG      what the answers are worth: one of them, their majority, the best of them
#   realm report CONFIG    the same on a page
#
# To go on to a small model that reasons by itself: name it in `model` (a folder or a hub id, as Qwen/Qwen2.5-1.5B-Instruct),
# keep a source for evaluation in `held_out` if there are several, add `rules` (a Markdown file) to `domain` if there is a rule
# book, then:
#
#   realm run CONFIG
"""


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the command line says of the columns; `None` where it says nothing."""

    question: str | None = None
    answer: str | None = None
    outputs: str | None = None
    source: str | None = None
    id: str | None = None
    kind: str = "text"
    strict: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an import is going to do."""

    settings: dict[str, Any]
    taken: str
    """Which columns were found, and how answers are compared, in one line."""

    def text(self) -> str:
        """Return the content of the config file."""
        return HEADER + yaml.safe_dump(
            self.settings, sort_keys=False, allow_unicode=True, width=120
        )


def plan_import(files: Sequence[str], wishes: Wishes, run: Path) -> Plan:
    """Return what to do with `files`, each a file or NAME=FILE; `DataError` where a column is missing or cannot be guessed."""
    named = [_source_and_file(file) for file in files]
    _refuse_one_name_for_two(named, wishes)
    stems = _without_common_parts([_stem(file) for _, file in named])
    columns = _find_columns(named, wishes)
    asked = {"id": wishes.id, "question": columns["question"]}
    by_column = {"source": wishes.source} if wishes.source else {}
    settings = {
        "run": run.absolute().as_posix(),
        "model": None,
        "domain": {
            "kind": "files",
            "path": list(dict.fromkeys(absolute(file) for _, file in named)),
            "columns": asked | {"answer": columns["answer"]},
            "answer": wishes.kind,
            "strict": wishes.strict,
        },
        "routes": {
            "kind": "import",
            "files": [
                {"path": absolute(file)}
                | ({} if wishes.source and not name else {"source": name or stem})
                for (name, file), stem in zip(named, stems, strict=True)
            ],
            "columns": asked | {"outputs": columns["outputs"]} | by_column,
            "held_out": [],
            "strict": wishes.strict,
        },
    }
    taken = ", ".join(f"{role} {column!r}" for role, column in columns.items())
    return Plan(settings=settings, taken=f"{taken}; answers compared as {wishes.kind} (--kind)")


def default_folder(files: Sequence[str]) -> Path:
    """Return the run folder of an import that names none: what the names of its files have in common.

    >>> default_folder(["a/wtq_gpt4o.jsonl.gz", "a/wtq_llama.jsonl.gz"]).as_posix()
    'runs/wtq'
    """
    stems = [_stem(_source_and_file(file)[1]) for file in files]
    return Path("runs") / (
        (_common_words(stems) if len(stems) > 1 else "").strip(SEPARATORS) or stems[0]
    )


def _find_columns(named: Sequence[tuple[str | None, str]], wishes: Wishes) -> dict[str, str]:
    """Return the column of each role: the one asked for, or the one that the first file calls so; all files must have them."""
    columns: dict[str, str] = {}
    for name, file in named:
        found = _columns_of(file)
        columns = columns or {
            role: getattr(wishes, role) or _guess(role, found, file) for role in USUAL
        }
        needed = columns | ({"source": wishes.source} if wishes.source and not name else {})
        for role, column in needed.items():
            if column not in found:
                raise DataError(
                    f"{file}: there is no column {column!r} for --{role}. Found: {', '.join(found)}."
                )
    return columns


def _source_and_file(file: str) -> tuple[str | None, str]:
    """Return (name, file) of NAME=FILE; no name where `file` is just a file."""
    name, equals, rest = file.partition("=")
    return (
        (name, rest)
        if equals and name and "/" not in name and not Path(file).exists()
        else (None, file)
    )


def _stem(file: str) -> str:
    """Return the name of a file without its endings, or of a data set without its owner."""
    name = file.removeprefix(HUB).partition(":")[0] if file.startswith(HUB) else file
    name = Path(name).name.removesuffix(".gz")
    return name if file.startswith(HUB) else name.rpartition(".")[0] or name


def _without_common_parts(stems: Sequence[str]) -> list[str]:
    """Return `stems` without the words that all of them begin with, and those that all of them end with.

    >>> _without_common_parts(["wtq_gpt4o_5ans", "wtq_llama3-8b_5ans"])
    ['gpt4o', 'llama3-8b']
    """
    if len(stems) < 2:
        return list(stems)
    before, after = len(_common_words(stems)), len(_common_words([stem[::-1] for stem in stems]))
    shorter = [stem[before : len(stem) - after] for stem in stems]
    return shorter if all(shorter) else list(stems)


def _common_words(stems: Sequence[str]) -> str:
    """Return the words that all of `stems` begin with, each with the separator behind it."""
    words = zip(*(re.split(f"(?<=[{SEPARATORS}])", stem) for stem in stems), strict=False)
    return "".join(first for first, *others in takewhile(lambda each: len(set(each)) == 1, words))


def _refuse_one_name_for_two(named: Sequence[tuple[str | None, str]], wishes: Wishes) -> None:
    stems = Counter(_stem(file) for name, file in named if not (name or wishes.source))
    twice = [stem for stem, count in stems.items() if count > 1]
    if twice:
        raise ConfigError(
            f"two files are called {twice[0]!r}, and their names say who wrote the outputs. Name the sources: NAME=FILE, as in "
            "gpt-4o=a/outputs.jsonl"
        )


def _columns_of(file: str) -> list[str]:
    """Return the columns of the first row that can be read."""
    if Path(file).suffix in (".yaml", ".yml"):
        raise ConfigError(
            f"{file}: is a config. Its routes are imported by `realm routes {file}`; `realm import` takes data files."
        )
    bad: list[DataError] = []
    for _, row in read_rows(file, on_bad=bad.append):
        return list(row)
    raise (
        bad[0]
        if bad
        else DataError(f"{file}: holds no rows. Give a file with a row for each problem or output.")
    )


def _guess(role: str, columns: Sequence[str], file: str) -> str:
    """Return the one column that people usually call so."""
    for names in USUAL[role]:
        found = [column for column in columns if column.strip().lower() in names]
        if len(found) == 1:
            return found[0]
        if found:
            raise DataError(
                f"{file}: {' and '.join(found)} may both be the {role}. Say which one: --{role} {found[0]}"
            )
    raise DataError(
        f"{file}: no column is called like the {role}. Say which one is: --{role} COLUMN. Found: {', '.join(columns)}."
    )


def write_config(plan: Plan, path: Path, *, force: bool) -> bool:
    """Write the config, and return whether it was not there before; one that says something else is kept."""
    text, known = plan.text(), _read(path)
    if known is not None and known != text and not force:
        raise ConfigError(
            f"{path}: is there already and says something else. `realm run {path}` goes on with it as it is; --force writes it "
            "anew, and --run DIR takes another folder."
        )
    if known != text:
        write_text(path, text)
    return known is None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
