"""Print docs/cli.md: the help of every verb, from the real command line. `make docs` runs this."""

from __future__ import annotations

import os

os.environ["COLUMNS"] = "80"  # whatever the terminal is

from typer.testing import CliRunner

from realm.cli import app


def render_page() -> str:
    """Return the text of docs/cli.md."""
    parts = [
        "# The command line\n",
        "Written by `make docs` from the real `--help`; a test keeps it up to date.\n",
    ]
    for verb in ("", *(command.name for command in app.registered_commands)):
        name = f"realm {verb}".strip()
        result = CliRunner().invoke(app, [*verb.split(), "--help"], prog_name="realm")
        assert result.exit_code == 0, result.output
        parts.append(f"## {name}\n\n```\n{result.output.strip()}\n```\n")
    parts.append(
        "Exit codes: 0 done, 1 a bug of ours, 2 user error (one message, no traceback), 130\n"
        "interrupted with Ctrl-C.\n"
    )
    return "\n".join(parts)


if __name__ == "__main__":
    print(render_page(), end="")
