"""The command line: one function per verb, whose docstring is its help text."""

from __future__ import annotations

import sys
import traceback

# Each module adds its verbs to `app`; this order is that of `realm --help`.
from realm.cli import start, stages, models  # noqa: F401  # isort: skip
from realm.cli.app import app
from realm.core.errors import mask_secrets


def main() -> None:
    """Run the command line. A bug of ours shows its traceback, with all keys masked."""
    try:
        app(prog_name="realm")
    except Exception:
        sys.exit(mask_secrets(traceback.format_exc()))
