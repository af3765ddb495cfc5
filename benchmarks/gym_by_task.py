"""Take a comparison on reasoning-gym apart by task: `python benchmarks/gym_by_task.py RUN`, after `realm compare`.

Prints, for every task, split, method and mode, the accuracy over the seeds, and how ReaLM differs from each other method in the
same mode, with the same nested statistics as the comparison (not corrected: one task at a time is a look, not a claim).
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from realm.evaluate.stats import nested_difference

OURS = "realm"
Key = tuple[str, str, str, str]
"""Task, split, mode, method."""


def outcomes(run: Path) -> dict[Key, dict[int, dict[str, float]]]:
    """Return which problems each seed's cell solved."""
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


def lines(found: dict[Key, dict[int, dict[str, float]]]) -> Iterator[str]:
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
            lead = percent(nested_difference(differences, seed=0), "+")
        yield f"| {task} | {split} | {mode} | {method} | {mean.n} | {percent(mean)} | {lead} |"


def percent(found, sign: str = "") -> str:
    """Return a mean in percent with its interval."""
    low, high = found.ci95
    return f"{100 * found.difference:{sign}.1f} [{100 * low:{sign}.1f}, {100 * high:{sign}.1f}]"


if __name__ == "__main__":
    if len(sys.argv) != 2 or not (measured := outcomes(Path(sys.argv[1]))):
        sys.exit(
            f"usage: python {sys.argv[0]} RUN, the folder of a `realm compare` on reasoning-gym with at least one cell done"
        )
    print("\n".join(lines(measured)))
