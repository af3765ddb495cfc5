"""Print docs/cli.md: the help of every verb, from the real command line. `make docs` puts it in place."""

from __future__ import annotations

import os

os.environ["COLUMNS"] = "80"  # whatever the terminal is

from typer.testing import CliRunner

from realm.cli import HELP, app


def page() -> str:
    """Return the text of docs/cli.md."""
    parts = [
        "# The command line\n",
        "Written by `make docs` from the real `--help`; a test holds it up to date.\n",
    ]
    for verb in ("", *HELP):
        name = f"realm {verb}".strip()
        result = CliRunner().invoke(app, [*verb.split(), "--help"], prog_name="realm")
        assert result.exit_code == 0, result.output
        parts.append(f"## {name}\n\n```\n{result.output.strip()}\n```\n")
    parts.append(
        "Exit codes: 0 done, 2 a mistake of the user (one message, no traceback), 1 anything else, Ctrl-C included.\n"
    )
    return "\n".join(parts)


if __name__ == "__main__":
    print(page(), end="")
