"""What do the methods reach on the hard claims, over all seeds that were run so far?

    python benchmarks/claims_hard.py             print the tables of docs/testbed.md
    python benchmarks/claims_hard.py add RUN     add the finished seeds of a `realm compare`

Hardware: any CPU, seconds.

Five seeds take a day of two cores. So they are run when there is time, and
benchmarks/results/claims_hard.jsonl keeps of each seed which problems each method has solved.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

from realm.evaluate.stats import nested_difference

KEPT = Path(__file__).with_name("results") / "claims_hard.jsonl"
MODES = {"autonomous": "alone", "assisted": "with routes"}
OURS = "realm"
Outcomes = dict[tuple[str, str, str], dict[int, dict[str, float]]]
"""By method, mode and split, then by seed: 1.0 for a problem that was solved, else 0.0."""


def add(run: Path, commit: str) -> Iterator[dict[str, object]]:
    """Yield a row for each method, mode and split of the seeds that have all methods."""
    cells = [path.parent for path in sorted(run.glob("cells/*/outcomes"))]
    seeds = defaultdict(set)
    for cell in cells:
        method, _, seed = cell.name.rpartition("-")
        if (cell / "outcomes/assisted.json").exists():
            seeds[int(seed)].add(method)
    methods = set.union(*seeds.values())
    for cell in cells:
        method, _, seed = cell.name.rpartition("-")
        if seeds[int(seed)] != methods:
            continue
        for task in (*MODES, "probe"):
            path = cell / f"outcomes/{task}.json"
            for one in json.loads(path.read_text(encoding="utf-8")) if path.exists() else []:
                if one["mode"] == task:
                    problems = sorted(one["outcomes"])
                    right = "".join(str(int(one["outcomes"][name])) for name in problems)
                    yield {
                        "seed": int(seed), "method": method, "mode": task, "split": one["split"],
                        "source": one["source"], "right": right, "figures": one["figures"],
                        "commit": commit,
                    }  # fmt: skip


def read_outcomes(rows: list[dict[str, object]]) -> Outcomes:
    """Return the outcomes; all methods of a seed were asked the same problems."""
    found: Outcomes = defaultdict(dict)
    for row in rows:
        if row["mode"] in MODES:
            key = str(row["method"]), str(row["mode"]), str(row["split"])
            right = {str(place): float(char) for place, char in enumerate(str(row["right"]))}
            found[key][int(str(row["seed"]))] = right
    return found


def format_rows(found: Outcomes) -> Iterator[str]:
    """Yield the rows of a Markdown table: accuracy, and how far ReaLM leads."""
    yield "| split | asked | method | accuracy | by seed | ReaLM leads by |"
    yield "|---|---|---|--:|---|--:|"
    splits = list(dict.fromkeys(split for _, _, split in found))
    methods = list(dict.fromkeys(method for method, _, _ in found))
    for split in splits:
        for mode, name in MODES.items():
            ours = found[OURS, mode, split]
            for method in methods:
                seeds = found[method, mode, split]
                by_seed = [100 * fmean(seeds[seed].values()) for seed in sorted(seeds)]
                lead = ""
                if method != OURS:
                    pairs = [
                        [(1.0, {f"{seed} {key}": ours[seed][key] - right
                                for key, right in seeds[seed].items()})]
                        for seed in sorted(seeds)
                    ]  # fmt: skip
                    one = nested_difference(pairs, seed=0)
                    low, high = (100 * end for end in one.ci95)
                    lead = f"{100 * one.difference:+.1f} [{low:+.1f}, {high:+.1f}]"
                each = ", ".join(f"{value:.1f}" for value in by_seed)
                yield f"| {split} | {name} | {method} | {fmean(by_seed):.1f} | {each} | {lead} |"


def main() -> None:
    """Add a comparison, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    commands = parser.add_subparsers(dest="command")
    adding = commands.add_parser("add", help="add the finished seeds of a comparison")
    adding.add_argument("run", type=Path, help="the folder of `realm compare`")
    adding.add_argument("commit", help="the commit that trained them")
    arguments = parser.parse_args()
    kept = [json.loads(line) for line in KEPT.read_text().splitlines()] if KEPT.exists() else []
    if arguments.command == "add":
        new = list(add(arguments.run, arguments.commit))
        seeds = {row["seed"] for row in new}
        kept = [row for row in kept if row["seed"] not in seeds] + new
        KEPT.write_text("".join(json.dumps(row) + "\n" for row in kept))
    for line in format_rows(read_outcomes(kept)):
        print(line)


if __name__ == "__main__":
    main()
