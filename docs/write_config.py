"""Write docs/reference/config.md and the JSON schema of the config, from the pydantic models.

`make docs` runs this; a test checks that both files are current.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from realm.config import Config

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/reference/config.md"
SCHEMA = ROOT / "src/realm/config/schema.json"

INTRO = """# Config keys

Every key of a config file, with its type, its default and what it means. Written by `make docs`
from the code; a test keeps it current. `realm init` and [configs](../../configs) hold complete
files. Paths in a config are relative to the config file. On the command line, `--set
train.fade.kind=cosine` overrides a key.

An editor that speaks YAML completes and checks the keys as you type, if the first line of the file
names the schema, as `realm init` writes it:

```yaml
# yaml-language-server: $schema=config.schema.json
```

The schema is in the package: `src/realm/config/schema.json`.
"""

Schema = Mapping[str, Any]


def make_schema() -> dict[str, Any]:
    """Return the JSON schema of a config, with descriptions as one line of text."""
    schema = _tidy(Config.model_json_schema())
    schema["title"] = "ReaLM config"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema


def _tidy(value: Any) -> Any:
    """Return a schema without titles, which repeat the key, and without breaks in descriptions."""
    if isinstance(value, list):
        return [_tidy(part) for part in value]
    if not isinstance(value, dict):
        return value
    tidy = {key: _tidy(part) for key, part in value.items() if not _is_title(key, part)}
    if isinstance(tidy.get("description"), str):
        tidy["description"] = _join_lines(tidy["description"])
    return tidy


def _is_title(key: str, value: Any) -> bool:
    return key == "title" and isinstance(value, str)


def _join_lines(text: str) -> str:
    """Return text with single line breaks as spaces; an empty line remains a paragraph."""
    return re.sub(r"(?<!\n)\n(?!\n)", " ", text).strip()


def render_page() -> str:
    """Return the text of docs/reference/config.md."""
    schema = make_schema()
    parts = [INTRO, "## Top level\n", *_render_keys(schema, schema, "", {}, {})]
    return "\n".join(parts)


def _render_keys(
    root: Schema, section: Schema, path: str, defaults: Any, seen: dict[str, str]
) -> Iterator[str]:
    """Yield the table of a section, its long defaults, and then the sections below it.

    Args:
        root: The whole schema.
        section: The schema of the section.
        path: The dotted key of the section.
        defaults: The defaults of its keys that the section above gives.
        seen: The headings of the sections that are on the page, by their keys. Changed in place.
    """
    rows, texts, below = [], [], []
    for key, field in section["properties"].items():
        if "const" in field:
            continue  # the heading has it
        dotted = f"{path}.{key}" if path else key
        default = field.get("default", defaults.get(key) if isinstance(defaults, dict) else None)
        is_given = "default" in field or (isinstance(defaults, dict) and key in defaults)
        sections = list(_find_sections(root, field, dotted))
        below += [(*one, default) for one in sections]
        shown = "required" if key in section.get("required", ()) else "see below"
        if is_given and not (sections and isinstance(default, dict)):
            shown = _format_default(default)
        if isinstance(default, str) and len(default) > 60:
            shown = "see below"
            texts.append(f"Default of `{dotted}`:\n\n```text\n{default}\n```\n")
        meaning = field.get("description") or _describe_sections(root, sections)
        rows.append((f"`{key}`", _name_type(root, field), shown, meaning))
    if not rows:
        return
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(map(_escape, row))} |" for row in rows]
    yield "\n".join(lines) + "\n"
    yield from texts
    for title, one, default in below:
        yield f"## {title}\n"
        keys = json.dumps(one["properties"])
        if keys in seen:
            yield f"The keys of {seen[keys]}.\n"
            continue
        seen[keys] = title
        yield _escape(one["description"].split("\n\n")[0], is_cell=False) + "\n"
        yield from _render_keys(root, one, title.split(",")[0].strip("`"), default, seen)


def _find_sections(root: Schema, field: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Yield (heading, schema) of each section that a field may hold."""
    if "$ref" in field:
        section = root["$defs"][field["$ref"].rpartition("/")[2]]
        kind = section["properties"].get("kind", {})
        tag = f", `kind: {kind['const']}`" if "const" in kind else ""
        yield f"`{path}`{tag}", section
    for part in (*field.get("oneOf", ()), *field.get("anyOf", ())):
        yield from _find_sections(root, part, path)
    if "items" in field:
        yield from _find_sections(root, field["items"], f"{path}[]")
    if isinstance(values := field.get("additionalProperties"), dict):
        yield from _find_sections(root, values, f"{path}.NAME")


def _describe_sections(root: Schema, sections: list[tuple[str, Schema]]) -> str:
    """Return the first paragraph about the section that a field without a description holds."""
    return str(sections[0][1]["description"]).split("\n\n")[0]


def _name_type(root: Schema, field: Schema) -> str:
    """Return the type of a field in words."""
    if options := [*field.get("oneOf", ()), *field.get("anyOf", ())]:
        return " or ".join(dict.fromkeys(_name_type(root, one) for one in options))
    if "$ref" in field:
        return "section"
    if "const" in field or "enum" in field:
        return ", ".join(f"`{one}`" for one in field.get("enum", [field.get("const")]))
    if field.get("type") == "array":
        name = _name_type(root, field["items"])
        plural = {"text": "texts", "section": "sections"}.get(name, name)
        return f"list of {plural}"
    if field.get("type") in ("integer", "number"):
        return _name_number(field)
    names = {"object": "mapping", "boolean": "true or false", "string": "text", "null": "null"}
    return names.get(field.get("type", ""), "any value")


def _name_number(field: Schema) -> str:
    name = {"integer": "whole number", "number": "number"}[field["type"]]
    if field.get("minimum") == 0 and field.get("maximum") == 1:
        return "number from 0 to 1"
    if "exclusiveMinimum" in field:
        return f"{name} above {field['exclusiveMinimum']}"
    if "minimum" in field:
        return f"{name}, at least {field['minimum']}"
    return name


def _format_default(default: Any) -> str:
    return f"`{json.dumps(default, ensure_ascii=False)}`" if default != "" else '`""`'


def _escape(text: str, *, is_cell: bool = True) -> str:
    """Return text for Markdown: no tags and, in a cell of a table, no breaks and no bars."""
    # Every second part is code, which Markdown takes as it is.
    parts = text.split("`")
    parts[::2] = [part.replace("<", "&lt;") for part in parts[::2]]
    text = "`".join(parts)
    return text.replace("|", "\\|").replace("\n", " ") if is_cell else text


if __name__ == "__main__":
    PAGE.write_text(render_page(), encoding="utf-8")
    SCHEMA.write_text(json.dumps(make_schema(), indent=1) + "\n", encoding="utf-8")
