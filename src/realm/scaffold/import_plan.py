"""Plan an import: find the columns, name the sources, and write the config that says so."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from realm.core.errors import ConfigError
from realm.core.jsonl import write_text
from realm.core.tables import HUB, make_absolute
from realm.scaffold.columns import (
    USUAL_NAMES,
    ImportOptions,
    find_columns,
    read_first_row,
    require_columns,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# What separates the words of a file name.
SEPARATORS = "_. -"

_SCHEMA = Path(__file__).parents[1] / "config/schema.json"
SCHEMA_NAME = "config.schema.json"
"""A copy of the JSON schema beside the config: editors look for it by a relative path."""

HEADER = f"""\
# yaml-language-server: $schema={SCHEMA_NAME}
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
    written_in = list(dict.fromkeys(file for _, file in named))
    problems_in = [options.problems] if options.problems else written_in
    rows = {file: read_first_row(file) for file in dict.fromkeys([*problems_in, *written_in])}
    require_columns(rows, options)
    problems = {file: find_columns(file, rows[file], options, "answer") for file in problems_in}
    outputs = {file: find_columns(file, rows[file], options, "outputs") for file in written_in}
    settings = {
        "run": run.absolute().as_posix(),
        "model": None,  # `realm run` then says what the answers are worth
        "domain": {
            "kind": "files",
            **_share_columns("path", [{"path": file} for file in problems], problems),
            "answer": options.kind,
            "strict": options.strict,
        },
        "routes": {
            "kind": "import",
            **_share_columns("files", _name_sources(named, outputs), outputs),
            "held_out": [],
            "strict": options.strict,
        },
    }
    described = {file: problems.get(file, {}) | outputs.get(file, {}) for file in rows}
    summary = f"{_describe_columns(described)}; answers compared as {options.kind} (--kind)"
    return ImportPlan(settings=settings, summary=summary)


def write_config(plan: ImportPlan, path: Path, *, force: bool) -> bool:
    """Write the config and its schema unless they are there, and return whether they are new.

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
        write_text(path.with_name(SCHEMA_NAME), _SCHEMA.read_text(encoding="utf-8"))
    return known is None


def default_folder(files: Sequence[str]) -> Path:
    """Return the run folder of an import that names none: what the names of its files share.

    >>> default_folder(["a/wtq_gpt4o.jsonl.gz", "a/wtq_llama.jsonl.gz"]).as_posix()
    'runs/wtq'
    """
    stems = [_get_stem(_split_name(file)[1]) for file in files]
    shared = _find_common_words(stems) if len(stems) > 1 else ""
    # Without separators at its ends: `...jsonl` must not name the folder above.
    return Path("runs") / (shared.strip(SEPARATORS) or stems[0].strip(SEPARATORS) or "import")


def _split_name(file: str) -> tuple[str | None, str]:
    """Return (name, file) of NAME=FILE; the name is `None` if `file` is just a file."""
    name, equals, rest = file.partition("=")
    # The path of a file may hold an equals sign too.
    is_named = equals and name and "/" not in name and not Path(file).exists()
    return (name, rest) if is_named else (None, file)


def _share_columns(
    key: str, entries: Sequence[dict[str, Any]], columns: Mapping[str, dict[str, Any]]
) -> dict[str, Any]:
    """Return a section of files under `key`, with the columns that all share or that each has."""
    first = next(iter(columns.values()))
    is_shared = all(one == first for one in columns.values())
    files: list[Any] = []
    for entry in entries:
        own = {} if is_shared else {"columns": columns[entry["path"]]}
        whole = entry | {"path": make_absolute(entry["path"])} | own
        files.append(whole["path"] if key == "path" and is_shared else whole)
    return {key: files} | ({"columns": first} if is_shared else {})


def _describe_columns(columns: Mapping[str, dict[str, Any]]) -> str:
    """Return the columns in one line, file by file if they differ."""
    lines = {
        file: ", ".join(f"{role} {found[role]!r}" for role in USUAL_NAMES if found.get(role))
        for file, found in columns.items()
    }
    if len(set(lines.values())) == 1:
        return next(iter(lines.values()))
    return "; ".join(f"{Path(file).name}: {line}" for file, line in lines.items())


def _name_sources(
    named: Sequence[tuple[str | None, str]], columns: Mapping[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the files with their sources: NAME, what a column says, or the name of the file."""
    # Several columns of outputs, and a column of authors, name their sources themselves.
    by_hand = [
        (name, file)
        for name, file in named
        if not ("source" in columns[file] or isinstance(columns[file]["outputs"], list))
    ]
    stems = [_get_stem(file) for _, file in by_hand]
    unnamed = Counter(stem for stem, (name, _) in zip(stems, by_hand, strict=True) if not name)
    if twice := [stem for stem, count in unnamed.items() if count > 1]:
        raise ConfigError(
            f"two files are called {twice[0]!r}, and file names say who wrote the outputs. Name "
            "the sources: NAME=FILE, such as gpt-4o=a/outputs.jsonl"
        )
    # What tells the names of the files apart.
    shorter = dict(zip([file for _, file in by_hand], _remove_common_parts(stems), strict=True))
    sources = [(file, name or shorter.get(file)) for name, file in named]
    return [{"path": file} | ({"source": source} if source else {}) for file, source in sources]


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
