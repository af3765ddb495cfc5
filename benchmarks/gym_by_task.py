"""How do the methods of a comparison on reasoning-gym differ task by task?

    python benchmarks/gym_by_task.py RUN        after `realm compare`

Hardware: any CPU, seconds.

Prints a Markdown table: for every task, split, method and mode the accuracy over the seeds, and
how far ReaLM leads each other method in the same mode. The statistics are those of the comparison,
but not corrected for many tests: one task is a look, not a claim.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from realm.evaluate.stats import Difference, nested_difference

OURS = "realm"
Key = tuple[str, str, str, str]
"""Task, split, mode, method."""


def read_outcomes(run: Path) -> dict[Key, dict[int, dict[str, float]]]:
    """Return by key, seed and problem what was right (1.0) and wrong (0.0)."""
    found: dict[Key, dict[int, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for path in sorted(run.glob("cells/*/outcomes/*.json")):
        if path.stem == "pilot":
            continue
        method, _, seed = path.parent.parent.name.rpartition("-")
        rows = (
            (run / "cells" / f"data-{seed}" / "problems.jsonl")
            .read_text(encoding="utf-8")
            .splitlines()
        )
        task = {row["id"]: row["answer"]["task"] for row in map(json.loads, rows)}
        for entry in json.loads(path.read_text(encoding="utf-8")):
            for problem_id, right in entry["outcomes"].items():
                found[task[problem_id.rpartition(":")[0]], entry["split"], entry["mode"], method][
                    int(seed)
                ][problem_id] = right
    return found


def format_rows(found: dict[Key, dict[int, dict[str, float]]]) -> Iterator[str]:
    """Yield the rows of a Markdown table."""
    yield "| task | split | mode | method | n | accuracy | realm leads by |"
    yield "|---|---|---|---|--:|--:|--:|"
    for task, split, mode, method in sorted(found):
        seeds = found[task, split, mode, method]
        mean = nested_difference([[(1.0, seeds[seed])] for seed in sorted(seeds)], seed=0)
        ours, lead = found.get((task, split, mode, OURS), {}), ""
        if method != OURS and ours:
            both = sorted({*seeds} & {*ours})
            differences = [
                [(1.0, {name: ours[seed][name] - right for name, right in seeds[seed].items()})]
                for seed in both
            ]
            lead = format_percent(nested_difference(differences, seed=0), "+")
        accuracy = format_percent(mean)
        yield f"| {task} | {split} | {mode} | {method} | {mean.n} | {accuracy} | {lead} |"


def format_percent(found: Difference, sign: str = "") -> str:
    """Return a mean in percent with its interval."""
    low, high = found.ci95
    return f"{100 * found.difference:{sign}.1f} [{100 * low:{sign}.1f}, {100 * high:{sign}.1f}]"


def main() -> None:
    """Print the table of one comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder of a comparison with at least one cell")
    found = read_outcomes(parser.parse_args().run)
    if not found:
        parser.error("the folder has no finished cell of a comparison on reasoning-gym")
    print("\n".join(format_rows(found)))


if __name__ == "__main__":
    main()
