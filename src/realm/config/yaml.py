"""Read a YAML file of settings, put `--set` overrides on top, and put pydantic's complaints into one message."""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from realm.core.errors import ConfigError

RENAMED = {
    "compare.own": "compare.extra_methods",
    "compare.pilot": "compare.pilot_problems",
    "compare.sft": "compare.further_sft",
    "distill.choose": "distill.select_by",
    "distill.fill": "distill.use_unguided_when_missing",
    "distill.per_problem": "distill.max_chains_per_problem",
    "train.fade.dial": "train.fade.mode",
    "train.fade.gate.far": "train.fade.gate.raise_above",
    "train.fade.gate.memory": "train.fade.gate.half_life",
    "train.fade.gate.near": "train.fade.gate.lower_below",
    "train.fade.gone_by": "train.fade.end",
    "train.fade.hold": "train.fade.start",
    "train.mix.plausible": "train.mix.prefer_plausible",
    "train.mix.wrong": "train.mix.show_wrong",
    "train.mix.wrong_majority": "train.mix.wrong_majority_share",
    "train.reward.label": "train.reward.verdict_label",
}
"""Old names of settings and the names that they have now."""


class _Loader(yaml.SafeLoader):
    """YAML in which a key may not come twice and `1e-5` is a number, not a text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:\d[\d_]*\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def _mapping_without_repeats(
    loader: _Loader, node: yaml.MappingNode, deep: bool = False
) -> dict[Any, Any]:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    for position, key in enumerate(keys):
        if key in keys[:position]:
            raise yaml.MarkedYAMLError(
                problem=f"the key {key!r} comes twice",
                problem_mark=node.value[position][0].start_mark,
            )
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


_Loader.add_constructor(
    yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG,
    lambda loader, node: _mapping_without_repeats(loader, node),
)


def read_settings(path: Path, overrides: list[str]) -> dict[str, Any]:
    """Return the mapping in `path` with each `a.b=value` of `overrides` put in; the value is read as YAML."""
    try:
        settings = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        near = difflib.get_close_matches(
            path.name, [file.name for file in path.parent.glob("*.yaml")], n=1
        )
        hint = f" Did you mean {path.parent / near[0]}?" if near else " Ready ones are in configs/."
        raise ConfigError(f"{path}: there is no such config file.{hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: cannot be read as a text file: {error}. A config is a YAML file."
        ) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{_place(path, error)}: not valid YAML: {_problem(error)}.") from None
    if not isinstance(settings, dict):
        raise ConfigError(
            f"{path}: holds {_kind(settings)}, not settings. A config is a YAML mapping, as in configs/demo.yaml."
        )
    for override in overrides:
        _override(settings, override)
    return settings


def _override(settings: dict[str, Any], override: str) -> None:
    dotted, equals, text = override.partition("=")
    names = dotted.strip().split(".")
    if not equals or not all(names):
        raise ConfigError(f"--set {override}: not KEY=VALUE. Try --set train.fade.kind=cosine")
    try:
        value = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ConfigError(
            f"--set {override}: the value is not valid YAML: {_problem(error)}."
        ) from None
    put_in(settings, names, value, f"--set {override}")


def put_in(settings: dict[str, Any], names: list[str], value: Any, said: str) -> None:
    """Put `value` into nested `settings`; `said` is what the user said, for the error."""
    section = settings
    for depth, name in enumerate(names[:-1], 1):
        if section.get(name) is None:
            section[name] = {}
        section = section[name]
        if not isinstance(section, dict):
            raise ConfigError(
                f"{said}: {'.'.join(names[:depth])} is {_kind(section)}, it holds no keys."
            )
    section[names[-1]] = value


def describe_mistakes(
    error: ValidationError, model: type[BaseModel], path: Path, overrides: list[str]
) -> str:
    """Return one message for all that is wrong: where, what was found, what is allowed, and the nearest right key."""
    lines = []
    for mistake in error.errors(include_url=False):
        keys, owner = _without_tags(model, mistake["loc"])
        dotted = ".".join(str(key) for key in keys)
        given = next(
            (override for override in overrides if override.partition("=")[0].strip() == dotted),
            None,
        )
        where = f"--set {given}" if given else f"{path}: {dotted}" if dotted else str(path)
        lines.append(f"{where}: {_describe(mistake, keys, owner)}")
    return "\n".join(lines)


def _describe(mistake: Any, keys: list[str | int], owner: type[BaseModel] | None) -> str:
    kind, context = mistake["type"], mistake.get("ctx", {})
    if kind == "extra_forbidden":
        assert owner is not None
        allowed = list(owner.model_fields)
        if new := RENAMED.get(".".join(map(str, keys))):
            return f"this key is now called {new}."
        near = difflib.get_close_matches(str(keys[-1]), allowed, n=1)
        return f"unknown key. Allowed here: {', '.join(allowed)}." + (
            f" Did you mean {near[0]!r}?" if near else ""
        )
    if kind == "missing":
        return "this key is needed and missing."
    if kind == "value_error":
        return f"{context['error']}."
    if kind == "union_tag_not_found":
        return f"the key 'kind' is needed and missing; allowed: {_tags(owner, keys)}."
    if kind == "union_tag_invalid":
        near = difflib.get_close_matches(
            str(context["tag"]), re.findall(r"'([^']*)'", context["expected_tags"]), n=1
        )
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return f"kind: found {context['tag']!r}; allowed: {context['expected_tags']}.{hint}"
    if kind == "literal_error":
        near = difflib.get_close_matches(
            str(mistake["input"]), re.findall(r"'([^']*)'", context["expected"]), n=1
        )
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return f"found {mistake['input']!r}; allowed: {context['expected']}.{hint}"
    reason = mistake["msg"][:1].lower() + mistake["msg"][1:]
    return f"found {mistake['input']!r}; {reason}."


def _without_tags(
    model: type[BaseModel], location: tuple[str | int, ...]
) -> tuple[list[str | int], type[BaseModel] | None]:
    """Return the keys as the file writes them, and the model that the last one was looked up in.

    Pydantic puts the tag of a union ("files" in domain.files.path) into the place of a mistake; the file has no such key.
    """
    keys: list[str | int] = []
    owner: type[BaseModel] | None = model
    inside: Any = model
    for key in location:
        choices = {
            choice.model_fields["kind"].annotation.__args__[0]: choice
            for choice in _union_members(inside)
        }
        if key in choices:
            inside = choices[key]
            continue
        if key == "[key]" or key in ("str", "list[str]"):
            continue
        keys.append(key)
        owner = inside if isinstance(inside, type) and issubclass(inside, BaseModel) else None
        inside = (
            owner.model_fields[key].annotation
            if owner and key in owner.model_fields
            else _item_type(inside)
        )
    return keys, owner


def _union_members(annotation: Any) -> Iterator[type[BaseModel]]:
    for member in (
        typing.get_args(annotation)
        if typing.get_origin(annotation) in (typing.Union, types.UnionType)
        else ()
    ):
        if (
            isinstance(member, type)
            and issubclass(member, BaseModel)
            and "kind" in member.model_fields
        ):
            yield member


def _item_type(annotation: Any) -> Any:
    return (
        typing.get_args(annotation)[-1] if typing.get_origin(annotation) in (list, dict) else None
    )


def _tags(owner: type[BaseModel] | None, keys: list[str | int]) -> str:
    assert owner is not None
    members = _union_members(owner.model_fields[str(keys[-1])].annotation)
    return ", ".join(repr(member.model_fields["kind"].annotation.__args__[0]) for member in members)


def _place(path: Path, error: yaml.YAMLError) -> str:
    mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
    return f"{path}:{mark.line + 1}" if mark else str(path)


def _problem(error: yaml.YAMLError) -> str:
    return str(
        error.problem if isinstance(error, yaml.MarkedYAMLError) and error.problem else error
    )


def _kind(value: Any) -> str:
    names = {
        type(None): "nothing",
        str: "a text",
        int: "a number",
        float: "a number",
        bool: "true or false",
        list: "a list",
    }
    return names.get(type(value), type(value).__name__)
