"""The command line: one function per verb, whose docstring is its help text."""

from __future__ import annotations

import sys
import traceback

# Each module adds its verbs to `app`; this order is that of `realm --help`.
from realm.cli import start, stages, models  # noqa: F401  # isort: skip
from realm.cli.app import app
from realm.core.errors import mask_secrets
from realm.core.ranks import claim_failure


def main() -> None:
    """Run the command line. A bug of ours shows its traceback, with all keys masked."""
    try:
        app(prog_name="realm")
    except Exception:
        text = mask_secrets(traceback.format_exc())
        sys.exit(text if claim_failure() else 1)
