"""Print docs/errors.md: bad inputs and what the command line says. `make docs` runs this."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from bad_inputs import GROUPS, fill_folder, get_message, make_finished_run, render_page, run_case


def main() -> None:
    """Run every case in a folder of its own, and print the page."""
    messages = {}
    with tempfile.TemporaryDirectory() as folder:
        finished = Path(folder) / "finished"
        finished.mkdir()
        os.chdir(finished)
        make_finished_run(finished)
        for case in [case for cases in GROUPS.values() for case in cases]:
            place = Path(folder) / f"case{len(messages)}"
            fill_folder(case, place, finished)
            os.chdir(place)
            messages[case.what] = get_message(run_case(case))
        os.chdir("/")
    print(render_page(messages), end="")


if __name__ == "__main__":
    main()
