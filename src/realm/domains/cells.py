"""Read the cells of a row: a column, a part of a nested column, a chat, a template over columns."""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from realm.core.errors import DataError, suggest_nearest
from realm.method.thoughts import read_parts

if TYPE_CHECKING:
    from collections.abc import Mapping

_NO_IMAGES = (
    "Models are trained and asked on text alone, so it would not be seen. Say in the question what "
    "it shows, and remove the image."
)
_FIELD = re.compile(r"\{([^{}]+)\}")  # a column in a template, as in "{table} {question}"


def look_up(row: Any, column: str) -> Any:
    """Return what `row` holds in `column`, a name or a path; `KeyError` if there is no such value.

    >>> look_up({"input": {"question": "1 + 1?"}}, "input.question")
    '1 + 1?'
    >>> look_up({"choices": [{"text": "2"}, {"text": "3"}]}, "choices[].text")
    ['2', '3']
    """
    # The whole name first: a column may have a dot in its own name.
    if isinstance(row, dict) and column in row:
        return row[column]
    first, _, rest = column.partition(".")
    name = first.removesuffix("[]")
    if not isinstance(row, dict) or name not in row or not (rest or name != first):
        raise KeyError(column)
    value = row[name]
    if name == first:
        return look_up(value, rest)
    if not isinstance(value, list):
        raise KeyError(column)
    return [look_up(item, rest) for item in value] if rest else value


def get_cell(row: Mapping[str, Any], column: str, place: str, setting: str) -> Any:
    """Return what `row` holds in `column`, a name or a path such as `input.question`.

    A DataError names the columns that there are.
    """
    try:
        return look_up(row, column)
    except KeyError:
        raise DataError(
            f"{place}: there is no column {column!r}, which {setting} names. "
            f"Found: {', '.join(map(str, row))}.{suggest_nearest(column, list(map(str, row)))}"
        ) from None


def get_text(row: Mapping[str, Any], column: str, place: str, setting: str) -> str:
    """Return the text in `column`; of a chat, what the user says last."""
    cell = get_cell(row, column, place, setting)
    if _has_image_part(cell):
        raise DataError(f"{place}: column {column!r} holds a message with an image. {_NO_IMAGES}")
    value = read_message(cell, "user")
    if isinstance(value, dict):
        raise describe_object(value, f"{place}: column {column!r}", column)
    return to_text(value)


def require_no_image(row: Mapping[str, Any], template: str | None, place: str) -> None:
    """Raise a DataError if a column `image` or `images` holds what `template` does not show."""
    for column in ("image", "images"):
        if row.get(column) and "{" + column + "}" not in (template or ""):
            raise DataError(f"{place}: column {column!r} holds an image. {_NO_IMAGES}")


def _has_image_part(cell: Any) -> bool:
    """Return whether `cell` is a chat with an image: `{"type": "image_url", ...}` in a message."""
    messages = cell if isinstance(cell, list) else []
    contents = [one.get("content") for one in messages if isinstance(one, dict)]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    return any(isinstance(part, dict) and "image" in str(part.get("type")) for part in parts)


def read_message(value: Any, role: str) -> Any:
    """Return the text of the last message by `role` if `value` is a chat; else return `value`.

    >>> read_message([{"role": "user", "content": "1 + 1?"}], "user")
    '1 + 1?'
    """
    messages = value if isinstance(value, list) else []
    said = [one for one in messages if isinstance(one, dict) and one.get("role") == role]
    if not said:
        return value
    # The last one: a few-shot prompt puts its examples before the question.
    content = said[-1].get("content")
    if isinstance(content, list):
        thoughts, text = read_parts(content)
        # In tags, which `split_thoughts` tells from the reply later on.
        return f"<think>{thoughts}</think>{text}" if thoughts else text
    return content


def fill_template(template: str, row: Mapping[str, Any], place: str, setting: str) -> str:
    """Return `template` with each {column} replaced by the row's text.

    All are replaced at once, so that braces inside a cell stay text.
    """
    return _FIELD.sub(lambda field: get_text(row, field[1], place, setting), template)


def get_identity(
    row: Mapping[str, Any], column: str | None, question: str, place: str, setting: str
) -> str:
    """Return a problem's id: a column, the hash of a template, or the hash of the question."""
    if column is None:
        return hash_text(question)
    if "{" in column:
        return hash_text(fill_template(column, row, place, setting))
    identity = get_text(row, column, place, setting)
    if not identity:
        raise DataError(
            f"{place}: column {column!r}, which {setting} names, is empty. Each problem needs an "
            "id. Set the setting to null to take the hash of the question."
        )
    return identity


def hash_text(text: str) -> str:
    """Return a short id for `text` that does not depend on its white space."""
    # 48 bits: among a million texts two get the same id with a chance of 0.2%.
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()[:12]


def to_text(value: Any) -> str:
    """Return the text of a cell; of a list, its items with commas between them."""
    if value is None:
        return ""
    # A table with gaps in a column of whole numbers gives floats: 7.0 is 7.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return ", ".join(map(to_text, value)) if isinstance(value, list) else str(value).strip()


def to_list(value: Any) -> list[str] | None:
    """Return a list from a list, from JSON (`["a", "b"]`) or from a cell (`a | b`)."""
    # A cell of a CSV that is no JSON after all is split at its bars below.
    if isinstance(value, str) and value.lstrip().startswith("["):
        with suppress(ValueError):
            value = json.loads(value)
    items = value if isinstance(value, list) else str(value or "").split("|")
    return [text for item in items if (text := to_text(item))] or None


def describe_object(value: dict[str, Any], place: str, column: str) -> DataError:
    """Return the error for an object in a column that should hold a single value."""
    names = [str(name) for name in value]
    part = f" Name a part of it, such as {column}.{names[0]}." if names else ""
    return DataError(f"{place}: holds an object with {', '.join(names) or 'nothing'}.{part}")
