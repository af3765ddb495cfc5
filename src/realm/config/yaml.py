"""Read YAML settings and overrides, and turn pydantic's errors into one message."""

from __future__ import annotations

import json
import math
import re
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from realm.core.errors import ConfigError, find_secrets, suggest_file, suggest_nearest
from realm.core.manifest import MADE_BY_CONFIG, read_manifest
from realm.core.settings import Section

if typing.TYPE_CHECKING:
    from pydantic import ValidationError

RENAMED = {
    "compare.own": "compare.extra_methods",
    "compare.pilot": "compare.pilot_problems",
    "compare.sft": "compare.further_sft",
    "distill.altered_share": "train.mix.perturbed_share",
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
    "train.mix.show_wrong": "train.mix.show_flawed",
    "train.mix.wrong": "train.mix.show_flawed",
    "train.mix.wrong_majority": "train.mix.flawed_majority_share",
    "train.mix.wrong_majority_share": "train.mix.flawed_majority_share",
    "train.reward.localization": "train.reward.first_flaw",
    "train.reward.label": "train.reward.verdict_label",
}
"""Old names of settings and the names that they have now."""
MOVED_KINDS = {
    "claims": " This domain moved to examples/: kind: python, target: PATH/claims:ClaimsDomain, "
    "settings: {sizes: ...}.",
}
"""Kinds that are no longer part of the package, and what to write in their place."""

_MOST_VALUES = 100_000
"""More values than any config has."""
PATHS = ("run", "model", "domain.path", "domain.rules", "routes.guide.path", "routes.store")
"""Settings that hold a path. `--set` takes it relative to the working directory, if it exists
there; in a config file it is relative to that file."""


class _Loader(yaml.SafeLoader):
    """YAML without repeated keys and `{key:value}`, in which `1e-5` is a number, not a text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        # YAML itself takes the last value of a repeated key without a word.
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for position, key in enumerate(keys):
            name, value = node.value[position]
            problem = None
            # Not in a set: a list as a key has no hash, and YAML itself reports it below.
            if key in keys[:position]:
                problem = f"the key {key!r} comes twice"
            elif ":" in str(key) and value.value == "":  # YAML reads {end:0.5} as a key
                problem = f"a space is missing after the colon of {key!r}"
            if problem:
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=name.start_mark)
        return super().construct_mapping(node, deep)


# YAML 1.1 takes a number with an exponent for a text unless it has a dot: 1e-5 would be a text.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:\d[\d_]*\.?\d*|\.\d+)[eE][-+]?\d+$"),
    # The first characters of such numbers, by which PyYAML finds the pattern.
    list("-+.0123456789"),
)


def read_settings(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file.

    Raises:
        ConfigError: The file cannot be read.
    """
    try:
        if path.exists() and not path.is_file():
            raise OSError("is not a file")  # reading a pipe would wait for ever
        settings = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        hint = suggest_file(path, "*.yaml") or " Ready ones are in configs/."
        raise ConfigError(f"{path}: there is no such config file.{hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as a text file: {error}.") from None
    except RecursionError:
        raise ConfigError(f"{path}: is nested too deeply to be settings.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigError(f"{place}: not valid YAML: {_describe_problem(error)}.") from None
    if not isinstance(settings, dict):
        raise ConfigError(
            f"{path}: holds {_name_type(settings)}, not settings. A config is a YAML mapping, as "
            "in configs/demo.yaml."
        )
    return settings


def read_run(folder: Path) -> tuple[dict[str, Any], Path, list[str]]:
    """Return settings, config file and overrides that a run folder was made with.

    Raises:
        ConfigError: It is not a run folder, or more than a config is needed to continue it.
    """
    manifest = read_manifest(folder)
    if not manifest:
        raise ConfigError(
            f"{folder}: is a folder without config.yaml and manifest.json, so not a run folder. "
            "Give a config file, its folder, or the folder of a run."
        )
    made_by = manifest.get("made_by", "an earlier version of ReaLM")
    if made_by != MADE_BY_CONFIG:
        raise ConfigError(
            f"{folder}: was made by {made_by}, and cannot be continued without it. Run that again."
        )
    settings, source, overrides = (manifest.get(key) for key in ("config", "source", "overrides"))
    if not (isinstance(settings, dict) and isinstance(source, str) and isinstance(overrides, list)):
        raise ConfigError(
            f"{folder / 'manifest.json'}: is damaged: it lacks config, source or overrides. Give "
            "the config file in the place of the folder."
        )
    # The folder may have been moved since.
    return settings | {"run": str(folder.absolute())}, Path(source), list(map(str, overrides))


def apply_override(settings: dict[str, Any], override: str, folder: Path) -> str:
    """Apply `a.b=value` to `settings`, and return it so that it means the same from any folder.

    Args:
        settings: Changed in place.
        override: What follows `--set`.
        folder: The folder of the config file, where a path is looked for second.

    Raises:
        ConfigError: The override cannot be read.
    """
    dotted, equals, text = override.partition("=")
    names = dotted.strip().split(".")
    if not equals or not all(names):
        raise ConfigError(f"--set {override}: not KEY=VALUE. Try --set train.fade.kind=cosine")
    try:
        # As YAML, so that null, true, numbers and lists mean the same as in the file.
        value = yaml.load(text, _Loader)
    except RecursionError:
        raise ConfigError(f"--set {dotted}: the value is nested too deeply.") from None
    except yaml.YAMLError as error:
        problem = _describe_problem(error)
        raise ConfigError(f"--set {override}: the value is not valid YAML: {problem}.") from None
    if dotted.strip() in PATHS and isinstance(value, str):
        path = Path(value).expanduser()
        # The run folder is made later, so it need not exist.
        if dotted.strip() == "run" or path.exists():
            value = str(path.absolute())
        elif (folder / path).exists():
            value = str((folder / path).absolute())
        # The manifest keeps it, and the next command may run in another folder.
        override = format_override(dotted.strip(), value)
    put_in(settings, names, value, f"--set {override}")
    return override


def format_override(dotted: str, value: Any) -> str:
    """Return a setting as `--set` takes it: KEY=VALUE, where the value is YAML."""
    # JSON is YAML, and quotes a text that YAML would read as a number, a boolean or a list.
    try:
        is_plain = isinstance(value, str) and yaml.load(value, _Loader) == value
    except yaml.YAMLError:
        is_plain = False
    return f"{dotted}={value if is_plain else json.dumps(value)}"


def put_in(settings: dict[str, Any], names: list[str], value: Any, origin: str) -> None:
    """Set a value in nested settings. `origin` begins the error message if that is impossible."""
    section = settings
    for depth, name in enumerate(names[:-1], 1):
        if section.get(name) is None:  # also `train:` with nothing below it, which YAML makes null
            section[name] = {}
        section = section[name]
        if not isinstance(section, dict):
            parent = ".".join(names[:depth])
            raise ConfigError(f"{origin}: {parent} is {_name_type(section)}, it holds no keys.")
    section[names[-1]] = value


def refuse_secrets(value: Any, path: Path, name: str) -> None:
    """Raise `ConfigError` for a setting that holds a secret of the environment.

    The settings go to files of the run folder, which people share.
    """
    if isinstance(value, dict):
        for key, part in value.items():
            refuse_secrets(part, path, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for part in value:
            refuse_secrets(part, path, name)
    elif isinstance(value, str) and any(secret in value for secret in find_secrets()):
        raise ConfigError(
            f"{path}: {name} holds a secret of the environment, which would be written to files. "
            "Leave it in the environment; a teacher names its variable in key_env."
        )


def require_plain_values(settings: dict[str, Any], path: Path) -> None:
    """Raise `ConfigError` for infinity, NaN, and settings that aliases of YAML make endless."""
    left: list[tuple[str, Any]] = [("", settings)]
    num_values = 0
    # A loop and no recursion: an alias inside itself is endless, and stops at _MOST_VALUES.
    while left:
        name, value = left.pop()
        num_values += 1
        if num_values > _MOST_VALUES:
            raise ConfigError(
                f"{path}: holds more than {_MOST_VALUES:,} values, counting each use of an alias "
                "(*name). Write them out, without an alias inside itself."
            )
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{path}: {name}: found {value}; a number is needed.")
        if isinstance(value, dict):
            left += [(f"{name}.{key}" if name else str(key), part) for key, part in value.items()]
        elif isinstance(value, list):
            left += [(name, part) for part in value]


def describe_errors(
    error: ValidationError,
    model: type[Section],
    settings: Any,
    path: Path,
    overrides: list[str],
) -> str:
    """Return one message about all mistakes: where, what was found, what is allowed."""
    given = {override.partition("=")[0].strip(): override for override in overrides}
    lines = []
    for mistake in error.errors(include_url=False):
        if mistake["type"] == "default_factory_not_called":
            continue  # only says that another setting is wrong
        keys, sections = _locate(model, settings, mistake)
        dotted = ".".join(map(str, keys))
        where = f"{path}: {dotted}" if dotted else str(path)
        if dotted in given:
            where = f"--set {given[dotted]}"
        lines.append(f"{where}: {_describe(mistake, dotted, sections)}")
    return "\n".join(lines)


def _locate(
    model: type[Section], settings: Any, mistake: Any
) -> tuple[list[str | int], list[type[Section]]]:
    """Return the keys of a mistake as the file has them, and the section(s) that it is about.

    Pydantic's location also names union tags ("files" in domain.files.path), which are in no file.
    """
    keys: list[str | int] = []
    sections = [model]
    value = settings
    for key in mistake["loc"]:
        is_index = isinstance(value, list) and isinstance(key, int)
        if is_index or (isinstance(value, dict) and key in value):
            value = value[key]
        elif mistake["type"] != "missing" or key != mistake["loc"][-1]:
            # A key that is in no file is the tag of a union, and chooses the section.
            sections = [one for one in sections if key == _tag_of(one)] or sections
            continue
        keys.append(key)
        field = sections[0].model_fields.get(key) if sections else None
        is_last = key == mistake["loc"][-1] and not mistake["type"].startswith("union_tag")
        if field is not None and not is_last:
            sections = list(_find_sections(field.annotation))
    return keys, sections


def _find_sections(annotation: Any) -> Iterable[type[Section]]:
    """Yield the sections in a type such as `list[A | B]` or `dict[str, A]`."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _find_sections(part)


def _tag_of(section: type[Section]) -> str | None:
    kind = section.model_fields.get("kind")
    return typing.get_args(kind.annotation)[0] if kind else None


def _describe(mistake: Any, dotted: str, sections: list[type[Section]]) -> str:
    context = mistake.get("ctx", {})
    match mistake["type"]:
        case "extra_forbidden":
            if dotted in RENAMED:
                return f"this key is now called {RENAMED[dotted]}."
            allowed = list(sections[0].model_fields)
            hint = suggest_nearest(dotted.rpartition(".")[2], allowed)
            return f"unknown key. Allowed here: {', '.join(allowed)}.{hint}"
        case "missing":
            return "this key is needed and missing."
        case "value_error":  # raised by a validator of ours, whose text says it all
            return f"{context['error']}."
        case "union_tag_not_found":
            tags = ", ".join(repr(_tag_of(section)) for section in sections)
            return f"the key 'kind' is needed and missing; allowed: {tags}."
        case "union_tag_invalid":
            found, allowed_text = context["tag"], context["expected_tags"]
            # pydantic gives the allowed values as one text: 'files', 'python'.
            known = re.findall(r"'([^']*)'", allowed_text)
            hint = MOVED_KINDS.get(str(found)) or suggest_nearest(str(found), known)
            return f"kind: found {found!r}; allowed: {allowed_text}.{hint}"
        case "literal_error":
            found, allowed_text = mistake["input"], context["expected"]
            hint = suggest_nearest(str(found), re.findall(r"'([^']*)'", allowed_text))
            return f"found {found!r}; allowed: {allowed_text}.{hint}"
        case "model_type":
            name = dotted.rpartition(".")[2]
            return f"found {mistake['input']!r}; {name} is a section, which holds keys."
    # pydantic's messages are sentences of their own; here they end one.
    reason = mistake["msg"][:1].lower() + mistake["msg"][1:]
    return f"found {mistake['input']!r}; {reason}."


def _describe_problem(error: yaml.YAMLError) -> str:
    return str(getattr(error, "problem", None) or error)


def _name_type(value: Any) -> str:
    names: dict[type, str] = {
        type(None): "nothing",
        str: "a text",
        int: "a number",
        float: "a number",
        bool: "true or false",
        list: "a list",
    }
    return names.get(type(value), type(value).__name__)
