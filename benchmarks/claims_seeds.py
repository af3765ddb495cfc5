"""What do the methods reach on the claims of two testbeds, over the seeds run so far?

    python benchmarks/claims_seeds.py services                  the figures of docs/new-services.md
    python benchmarks/claims_seeds.py hard                      those of docs/testbed.md
    python benchmarks/claims_seeds.py services add RUN COMMIT   keep the cells of a comparison

Hardware: any CPU, seconds. A seed itself takes one core half an hour (services) or two (hard):

    realm compare configs/claims-services.yaml --run RUN --set seed=31 --set compare.seeds=1 \
        --set 'compare.methods=[distilled, grpo, realm, two_rounds]' \
        --set 'compare.modes=[autonomous, assisted, probe, sampled]'
    realm compare configs/claims-hard.yaml --run RUN --set seed=21 --set compare.seeds=1 \
        --set 'compare.methods=[distilled, grpo, realm]' --set evaluate.probe=50 \
        --set 'compare.modes=[autonomous, assisted, probe]'

benchmarks/results/claims_seeds.jsonl keeps which problems each method has solved with each seed.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

from realm.evaluate.stats import Difference, nested_difference, paired_difference

KEPT = Path(__file__).with_name("results") / "claims_seeds.jsonl"
METHODS = {
    "distilled": "distilled",
    "further": "distil more",
    "grpo": "GRPO",
    "rft": "RFT",
    "cot_synthesizer": "CoT-Synthesizer",
    "grpo_routes": "GRPO, routes",
    "no_transfer": "ReaLM without transfer",
    "realm": "ReaLM",
    "two_rounds": "ReaLM, two rounds",
    "rft_routes": "RFT with routes",
}
MODES = {"autonomous": "alone", "sampled": "alone, sampled", "assisted": "with routes"}
FILES = {"sampled": "samples"}
"""Files of the modes that are not called as the mode."""
FIGURES = ("verdict_accuracy_sound", "verdict_accuracy_flawed", "first_flaw_named", "copy_rate")
Outcomes = dict[tuple[str, str, str], dict[int, list[float]]]
"""By split, mode and method, then by seed: for each problem the share of its answers that are
right."""


def read_cells(run: Path, testbed: str, commit: str) -> Iterator[dict[str, Any]]:
    """Yield a row for each mode and split of the finished cells of a comparison."""
    for cell in sorted(run.glob("cells/*-*")):
        method, _, seed = cell.name.rpartition("-")
        if method not in METHODS:
            continue
        for mode in MODES:
            path = cell / f"outcomes/{FILES.get(mode, mode)}.json"
            entries = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
            for one in entries:
                if one["mode"] != mode:
                    continue
                samples = int(one["figures"].get("samples", 1))
                yield {
                    "testbed": testbed,
                    "seed": int(seed),
                    "method": METHODS[method],
                    "mode": MODES[mode],
                    "split": one["split"],
                    "right": write_digits(one["outcomes"], samples),
                    "samples": samples,
                    "figures": {
                        name: round(one["figures"][name], 4)
                        for name in FIGURES
                        if one["figures"].get(name) is not None
                    },
                    "commit": commit,
                }


def write_digits(outcomes: dict[str, float], samples: int) -> str:
    """Return the number of right answers to each problem, a digit each, by the problem's id."""
    return "".join(str(round(outcomes[key] * samples)) for key in sorted(outcomes))


def group_outcomes(rows: list[dict[str, Any]]) -> Outcomes:
    found: Outcomes = defaultdict(dict)
    for row in rows:
        shares = [int(digit) / row["samples"] for digit in row["right"]]
        found[row["split"], row["mode"], row["method"]][row["seed"]] = shares
    return found


def format_difference(
    ours: dict[int, list[float]], theirs: dict[int, list[float]], *, is_over_seeds: bool
) -> str:
    """Return the mean difference in points and its 95% interval, of the seeds that both have.

    The interval is over seeds and problems, or over the problems alone, of all seeds together.
    """
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds:
        return ""
    if not is_over_seeds:
        pairs = ([right for seed in seeds for right in each[seed]] for each in (ours, theirs))
        return _format(paired_difference(*pairs, seed=0))
    if len(seeds) == 1:
        return "one seed"
    groups = [
        [(1.0, {f"{seed}-{place}": a - b for place, (a, b) in enumerate(
            zip(ours[seed], theirs[seed], strict=True))})]
        for seed in seeds
    ]  # fmt: skip
    return _format(nested_difference(groups, seed=0))


def _format(one: Difference) -> str:
    low, high = (100 * end for end in one.ci95)
    return f"{100 * one.difference:+.1f} [{low:+.1f}, {high:+.1f}]"


def print_table(rows: list[dict[str, Any]], *, is_over_seeds: bool) -> None:
    found = group_outcomes(rows)
    print("| split | asked | method | accuracy | by seed | less distilled | ReaLM less it |")
    print("|---|---|---|--:|---|--:|--:|")
    splits = dict.fromkeys(split for split, _, _ in found)
    for split, mode, method in product(splits, MODES.values(), METHODS.values()):
        seeds = found.get((split, mode, method))
        if not seeds:
            continue
        by_seed = [100 * fmean(seeds[seed]) for seed in sorted(seeds)]
        start, realm = (found.get((split, mode, name), {}) for name in ("distilled", "ReaLM"))
        columns = [
            split,
            mode,
            method,
            f"{fmean(by_seed):.1f}",
            ", ".join(f"{value:.1f}" for value in by_seed),
            format_difference(seeds, start, is_over_seeds=is_over_seeds)
            if method != "distilled"
            else "",
            format_difference(realm, seeds, is_over_seeds=is_over_seeds)
            if method != "ReaLM"
            else "",
        ]
        print("| " + " | ".join(columns) + " |")


def main() -> None:
    """Add a comparison, or print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("testbed", choices=["hard", "services"])
    commands = parser.add_subparsers(dest="command")
    adding = commands.add_parser("add", help="add the finished cells of a comparison")
    adding.add_argument("run", type=Path, help="the folder of `realm compare`")
    adding.add_argument("commit", help="the commit whose code trained them")
    arguments = parser.parse_args()
    kept = [json.loads(line) for line in KEPT.read_text(encoding="utf-8").splitlines()]
    if arguments.command == "add":
        new = {
            name_row(row): row
            for row in read_cells(arguments.run, arguments.testbed, arguments.commit)
        }
        # A cell that is kept already stays: its commit is the one that trained it.
        kept += [row for name, row in new.items() if name not in set(map(name_row, kept))]
        KEPT.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    rows = [row for row in kept if row["testbed"] == arguments.testbed]
    print("Intervals over seeds and problems:")
    print_table(rows, is_over_seeds=True)
    print("Intervals over problems, for these trainings alone:")
    print_table(rows, is_over_seeds=False)


def name_row(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[key] for key in ("testbed", "seed", "method", "mode", "split"))


if __name__ == "__main__":
    main()
