"""User errors. Each has one message with a fix, which the command line prints; exit code 2.

RealmError
├── ConfigError    a setting, a config file, a command-line option
├── DataError      a file of problems, routes or answers
├── ModelError     a model folder or hub id, its tokenizer, its context length
└── RunError       the run folder: something is missing, or another process is at work in it

Text that a model wrote never raises. A bug of ours is an `assert`.
"""

from __future__ import annotations

import difflib
import os
import re
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# Names of environment variables that hold a key, such as OPENAI_API_KEY or HF_TOKEN.
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)
_SECRET_TEXT = re.compile(
    # The usual prefixes, whole or shortened by a server ("sk-abc...xyz").
    r"\b(?:sk-|hf_)(?:[A-Za-z0-9_-]{16,}|[\w-]*\.{3}[\w-]*)"
    # An authorization header.
    r"|(?<=Bearer )[^\s\"',]{6,}"
    # A key that a server has starred out in part.
    r"|\b[\w-]{2,}\*{3,}[\w*-]*"
)
# Control characters, and those that turn the direction of writing.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_EXTRAS = {
    "deepspeed": "deepspeed",
    "optuna": "tune",
    "trackio": "trackio",
    "vllm": "vllm",
    "wandb": "wandb",
}
"""Optional packages, and the extra of pyproject.toml with the versions that work."""
_known: set[str] = set()
"""Secrets of this process that are not in an environment variable with a telling name."""


def keep_secret(value: str) -> None:
    """Make `mask_secrets` mask a key from now on.

    Values of less than 6 characters are no keys; masking them would mask parts of words.
    """
    if len(value) >= 6:
        _known.add(value)


def mask_secrets(text: str) -> str:
    """Return `text` with all secrets replaced by `***`: keys in use and what looks like a key.

    >>> mask_secrets("the key was hf_abcdefghijklmnopqrstuv")
    'the key was ***'
    """
    # The longest first, since a key may begin with another one.
    for value in sorted(find_secrets(), key=len, reverse=True):
        # A server may quote a key by its beginning and end: "abcdef...wxyz".
        shortened = f"{re.escape(value[:6])}[\\w-]*\\.{{2,}}[\\w-]*"
        text = re.sub(f"{re.escape(value)}|{shortened}", "***", text)
    return _SECRET_TEXT.sub("***", text)


def make_printable(text: str) -> str:
    """Return `text` with control characters written as escapes, line ends and tabs excepted.

    Names and texts come from files and models. A terminal obeys such characters.

    >>> make_printable("a\\x1b[2Jb")
    'a\\\\x1b[2Jb'
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def find_secrets() -> set[str]:
    """Return the secrets of this process: keys in use, and variables that are named like one."""
    # Shorter values are no keys: TOKENIZERS_PARALLELISM=false has a name like one.
    named = {
        value for name, value in os.environ.items() if _SECRET_NAME.search(name) and len(value) >= 8
    }
    return _known | named


def suggest_nearest(name: str, allowed: Sequence[str]) -> str:
    """Return a hint at the nearest allowed names, or an empty text if none is near.

    >>> suggest_nearest("cosin", ["linear", "cosine"])
    " Did you mean 'cosine'?"
    >>> suggest_nearest("question", ["QUESTION", "answer"])
    " Did you mean 'QUESTION'?"
    """
    spelled = {one.lower(): one for one in allowed}
    near = [spelled[one] for one in difflib.get_close_matches(name.lower(), spelled, n=3)]
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""


def suggest_file(path: Path, pattern: str = "*") -> str:
    """Return a hint at the file beside `path` with the nearest name, or an empty text."""
    names = [file.name for file in path.parent.glob(pattern)]
    near = difflib.get_close_matches(path.name, names, n=1)
    return f" Did you mean {path.parent / near[0]}?" if near else ""


class RealmError(Exception):
    """A user error. The message says where, what was found, what is allowed and what to try."""

    def __init__(self, message: str) -> None:
        # It may quote a server's reply or a setting, either of which may hold a key.
        super().__init__(make_printable(mask_secrets(message)))


class ConfigError(RealmError, ValueError):
    """A setting that is unknown, missing or out of range."""


def require_package(package: str, setting: str, otherwise: str = "") -> None:
    """Raise `ConfigError` if an optional package is not installed.

    Args:
        package: Name on PyPI; that of the module is the same, with underscores.
        setting: The setting that needs it.
        otherwise: A sentence about what to do without the package.
    """
    if find_spec(package.replace("-", "_")) is None:
        name = f'"realm-slm[{_EXTRAS[package]}]"' if package in _EXTRAS else package
        hint = f" {otherwise}" if otherwise else ""
        raise ConfigError(f"{setting} needs the package {package}: pip install {name}{hint}")


class DataError(RealmError, ValueError):
    """Wrong content of a row or a file; the message names the file and the line."""


class ModelError(RealmError, ValueError):
    """A model that cannot be loaded, or that does not suit the run."""


class RunError(RealmError, RuntimeError):
    """A run folder in which a stage cannot run."""
