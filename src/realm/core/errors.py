"""Mistakes of the user, each one message with a cure. The command line prints it and exits with 2.

RealmError
├── ConfigError    a setting, a config file, a command-line option
├── DataError      a file of problems, routes or answers
├── ModelError     a model folder or hub id, its tokenizer, its context length
└── RunError       the run folder: something is missing, or another process is at work in it

Text that a model wrote never raises, and a mistake of ours is an `assert`.
"""

from __future__ import annotations

import difflib
import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)
_SECRET_TEXT = re.compile(
    r"\b(?:sk-|hf_)(?:[A-Za-z0-9_-]{16,}|[\w-]*\.{3}[\w-]*)|(?<=Bearer )[^\s\"',]{6,}|\b[\w-]{2,}\*{3,}[\w*-]*"
)
"""What reads like a key: the usual prefixes, an authorization header, a key that a server has starred out in part."""
_known: set[str] = set()
"""Secrets of this process that the environment does not name like one."""


def keep_secret(value: str) -> None:
    """Let every message of this process mask `value`, a key in use; one that is too short to be a key would mask words."""
    if len(value) >= 6:
        _known.add(value)


def mask_secrets(text: str) -> str:
    """Return `text` with API keys, those in use and the values of environment variables named like one replaced by `***`.

    >>> mask_secrets("the key was hf_abcdefghijklmnopqrstuv")
    'the key was ***'
    """
    for value in sorted(find_secrets(), key=len, reverse=True):  # a key may begin with another
        text = re.sub(
            f"{re.escape(value)}|{re.escape(value[:6])}[\\w-]*\\.{{2,}}[\\w-]*", "***", text
        )
    return _SECRET_TEXT.sub("***", text)


def find_secrets() -> set[str]:
    """Return the secrets of this process: keys in use, and variables that are named like one."""
    named = {
        value for name, value in os.environ.items() if _SECRET_NAME.search(name) and len(value) >= 8
    }
    return _known | named


def suggest_nearest(name: str, allowed: Sequence[str]) -> str:
    """Return a hint at the nearest allowed names, or an empty text if none is near.

    >>> suggest_nearest("cosin", ["linear", "cosine"])
    " Did you mean 'cosine'?"
    """
    near = difflib.get_close_matches(name, allowed, n=3)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""


class RealmError(Exception):
    """Something the user can put right: where, what was found, what is allowed, what to try."""

    def __init__(self, message: str) -> None:
        super().__init__(mask_secrets(message))


class ConfigError(RealmError, ValueError):
    """A setting that is unknown, missing or out of range."""


class DataError(RealmError, ValueError):
    """A row or a file that does not hold what it should; names the file and the line."""


class ModelError(RealmError, ValueError):
    """A model that cannot be loaded, or cannot do what the run asks of it."""


class RunError(RealmError, RuntimeError):
    """A run folder that is not ready for what was asked."""
