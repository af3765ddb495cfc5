"""What do distillation, GRPO and ReaLM reach on the hard claims, over the seeds run so far?

    python benchmarks/claims_hard.py                    print the figures of docs/testbed.md
    python benchmarks/claims_hard.py add RUN COMMIT     add the finished seeds of a comparison

Hardware: any CPU, seconds. A seed itself takes one core more than an hour:

    realm compare configs/claims-hard.yaml --run RUN --set seed=21 --set compare.seeds=1 \
        --set 'compare.extra_methods={grpo_both: {train.fade.kind: none}}' \
        --set 'compare.methods=[distilled, grpo_both, realm]' --set evaluate.probe=50 \
        --set 'compare.modes=[autonomous, assisted, probe]'

`grpo_both` is GRPO, asked both ways. benchmarks/results/claims_hard.jsonl keeps which problems each
method has solved with each seed.
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

KEPT = Path(__file__).with_name("results") / "claims_hard.jsonl"
METHODS = {"distilled": "distilled", "grpo_both": "GRPO", "realm": "ReaLM"}
MODES = {"autonomous": "alone", "assisted": "with routes"}
FIGURES = ("verdict_accuracy_sound", "verdict_accuracy_flawed", "first_flaw_named", "copy_rate")
Outcomes = dict[tuple[str, str, str], dict[int, list[float]]]
"""By split, mode and method, then by seed: 1.0 for each problem that was solved, else 0.0."""


def read_seeds(run: Path, commit: str) -> Iterator[dict[str, Any]]:
    """Yield a row for each method, mode and split of the seeds that have all methods and modes."""
    seeds = {int(path.name.rpartition("-")[2]) for path in run.glob("cells/realm-*")}
    for seed in sorted(seeds):
        files = [
            (method, mode, run / f"cells/{method}-{seed}/outcomes/{mode}.json")
            for method in METHODS
            for mode in MODES
        ]
        if not all(path.exists() for _, _, path in files):
            continue
        for method, mode, path in files:
            for one in json.loads(path.read_text(encoding="utf-8")):
                if one["mode"] == mode:
                    yield {
                        "seed": seed,
                        "method": METHODS[method],
                        "mode": MODES[mode],
                        "split": one["split"],
                        "right": write_bits(one["outcomes"]),
                        "figures": {
                            name: round(one["figures"][name], 4)
                            for name in FIGURES
                            if one["figures"].get(name) is not None
                        },
                        "commit": commit,
                    }


def write_bits(outcomes: dict[str, float]) -> str:
    """Return 1 or 0 for each problem; all methods of a seed are asked the same ones."""
    return "".join(str(int(outcomes[key])) for key in sorted(outcomes))


def group_outcomes(rows: list[dict[str, Any]]) -> Outcomes:
    found: Outcomes = defaultdict(dict)
    for row in rows:
        found[row["split"], row["mode"], row["method"]][row["seed"]] = [*map(float, row["right"])]
    return found


def format_difference(
    ours: dict[int, list[float]], theirs: dict[int, list[float]], *, is_over_seeds: bool
) -> str:
    """Return the mean difference in points and its 95% interval.

    The interval is over seeds and problems, or over the problems alone, of all seeds together.
    """
    if not is_over_seeds:
        one = paired_difference(
            *([right for seed in sorted(ours) for right in each[seed]] for each in (ours, theirs)),
            seed=0,
        )
        return _format(one)
    groups = [
        [(1.0, {f"{seed}-{place}": a - b for place, (a, b) in enumerate(
            zip(ours[seed], theirs[seed], strict=True))})]
        for seed in sorted(ours)
    ]  # fmt: skip
    return _format(nested_difference(groups, seed=0))


def _format(one: Difference) -> str:
    low, high = (100 * end for end in one.ci95)
    return f"{100 * one.difference:+.1f} [{low:+.1f}, {high:+.1f}]"


def print_table(rows: list[dict[str, Any]], *, is_over_seeds: bool) -> None:
    found = group_outcomes(rows)
    print("| split | asked | method | accuracy | by seed | less distilled | less GRPO |")
    print("|---|---|---|--:|---|--:|--:|")
    splits = dict.fromkeys(split for split, _, _ in found)
    for split, mode, method in product(splits, MODES.values(), METHODS.values()):
        seeds = found[split, mode, method]
        by_seed = [100 * fmean(seeds[seed]) for seed in sorted(seeds)]
        start, grpo = found[split, mode, "distilled"], found[split, mode, "GRPO"]
        columns = [
            split,
            mode,
            method,
            f"{fmean(by_seed):.1f}",
            ", ".join(f"{value:.1f}" for value in by_seed),
            ""
            if method == "distilled"
            else format_difference(seeds, start, is_over_seeds=is_over_seeds),
            format_difference(seeds, grpo, is_over_seeds=is_over_seeds)
            if method == "ReaLM"
            else "",
        ]
        print("| " + " | ".join(columns) + " |")


def main() -> None:
    """Add a comparison, or print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command")
    adding = commands.add_parser("add", help="add the finished seeds of a comparison")
    adding.add_argument("run", type=Path, help="the folder of `realm compare`")
    adding.add_argument("commit", help="the commit whose code trained them")
    arguments = parser.parse_args()
    kept = [json.loads(line) for line in KEPT.read_text().splitlines()] if KEPT.exists() else []
    if arguments.command == "add":
        new = list(read_seeds(arguments.run, arguments.commit))
        kept = [row for row in kept if row["seed"] not in {one["seed"] for one in new}] + new
        KEPT.write_text("".join(json.dumps(row) + "\n" for row in kept))
    print("Intervals over seeds and problems:")
    print_table(kept, is_over_seeds=True)
    print("Intervals over problems, for these trainings alone:")
    print_table(kept, is_over_seeds=False)


if __name__ == "__main__":
    main()
