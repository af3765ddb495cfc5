"""Run the commands of documentation pages, and write what they print back into the pages.

    python docs/run_pages.py docs/quickstart.md examples/tour.ipynb

A block with a title is a file, which is written as it stands. A block of the language `console`
holds commands, each after "$ ", and what they print. A notebook's cells run in one process, without
Jupyter. A test compares what is printed, numbers aside.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# Opening fence, language, title, content. A console block has no title.
_BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)


def run_page(text: str, folder: Path) -> str:
    """Return a page with the real output of its commands.

    Args:
        text: The page.
        folder: An empty folder. The page runs in a new folder in it.

    Raises:
        subprocess.CalledProcessError: A command failed.
    """
    place = folder / "work"
    place.mkdir()
    environment = _make_environment(folder)

    def replace(block: re.Match[str]) -> str:
        language, title, content = block.groups()
        if title:
            (place / title).parent.mkdir(parents=True, exist_ok=True)
            (place / title).write_text(content, encoding="utf-8")
        if language != "console":
            return block[0]
        commands = re.findall(r"^\$ (.*(?:\\\n.*)*)", content, re.MULTILINE)
        shown = [f"$ {command}\n{_run(command, place, environment)}" for command in commands]
        return f"```console\n{''.join(shown)}```"

    return _BLOCK.sub(replace, text)


def _make_environment(folder: Path) -> dict[str, str]:
    """Return an environment where `realm` and `python` are those of this process."""
    programs = folder / "programs"
    programs.mkdir()
    for name, arguments in {"realm": "-m realm", "python": ""}.items():
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        program.chmod(0o755)
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    programs_first = f"{programs}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": programs_first, "PYTHONPATH": path, "COLUMNS": "100"}


def _run(command: str, place: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        done.check_returncode()
    # A folder of this run would be another one for the reader.
    lines = done.stdout.replace(f"{place}/", "").splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines).rstrip("\n") + "\n" if lines else ""


def run_notebook(notebook: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return a notebook with what its cells print; the value of a last line is not shown.

    Args:
        notebook: The content of an .ipynb file.
        folder: An empty folder, which gets links to what examples/ of the repository holds.
    """
    place = folder / "examples"
    place.mkdir()
    for source in (ROOT / "examples").iterdir():
        (place / source.name).symlink_to(source)
    names: dict[str, Any] = {"__name__": "__main__"}
    number = 0
    with contextlib.chdir(place):
        for cell in notebook["cells"]:
            if cell["cell_type"] != "code":
                continue
            number += 1
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
            lines = printed.getvalue().splitlines(keepends=True)
            output = {"output_type": "stream", "name": "stdout", "text": lines}
            cell |= {"execution_count": number, "outputs": [output] if lines else []}
    return notebook


def mask_numbers(text: str) -> str:
    """Return text in which figures, and words that depend on them, are alike on all machines."""
    text = re.sub(r"no evidence of a difference|\w+ is better", "FINDING", text)
    # What a trained model writes differs between processors.
    text = re.sub(r"<reason>.*?</answer>\s+answer\s+\S+", "ANSWER", text, flags=re.DOTALL)
    # A dash in a table is a number that could not be computed.
    text = re.sub(r"[<+-]?\d[\d.,]*%?|(?<=\s)-(?=\s)", "#", text)
    text = text.replace("# / #", "#")
    return re.sub(r"[\s─]+", " ", text)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        text = Path(name).read_text(encoding="utf-8")
        with tempfile.TemporaryDirectory() as folder:
            if name.endswith(".ipynb"):
                notebook = run_notebook(json.loads(text), Path(folder))
                text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
            else:
                text = run_page(text, Path(folder))
        Path(name).write_text(text, encoding="utf-8")
