"""What do the methods reach on the claims of two testbeds, over the seeds run so far?

    python benchmarks/claims_seeds.py services                  the figures of docs/new-services.md
    python benchmarks/claims_seeds.py hard                      those of docs/testbed.md
    python benchmarks/claims_seeds.py services add RUN COMMIT METHOD ...
                                                                keep cells of a comparison

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
from collections.abc import Iterator, Sequence
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
    "rft at 2e-3": "RFT, 2e-3",
    "rft at its best": "RFT, best rate",
    "cot_synthesizer": "CoT-Synthesizer",
    "cot_synthesizer at 6e-4": "CoT-Synthesizer, 6e-4",
    "cot_synthesizer at 2e-3": "CoT-Synthesizer, 2e-3",
    "cot_synthesizer at its best": "CoT-Synthesizer, best rate",
    "grpo_routes": "GRPO, routes",
    "rft_routes": "RFT with routes",
    "realm": "ReaLM",
    "two_rounds": "ReaLM, two rounds",
    "no_transfer": "without transfer",
    "no_mrpv": "without verdicts",
    "no_eaai": "without fade",
    "no_negatives": "without wrong routes",
    "no_guidance": "without guidance",
    "zero": "without distillation",
}
"""Names in the tables by those of cells. Those that tell no rate had 2e-4 for further training."""
COMPARED = ("GRPO", "ReaLM", "ReaLM, two rounds")
"""Methods that are compared with all others."""
MODES = {
    "autonomous": "alone",
    "sampled": "alone, sampled",
    "assisted": "with routes",
    "self_consistency": "majority of samples",
    "self_routes": "own samples as routes",
    "votes_at_self_routes": "votes for its tokens",
    "votes_at_assisted": "votes for the tokens with routes",
}
COLUMNS = {
    "alone": ("test", "alone"),
    "one sample": ("test", "alone, sampled"),
    "with routes": ("test", "with routes"),
    "rules, alone": ("test_rules", "alone"),
    "rules, with routes": ("test_rules", "with routes"),
    "larger, alone": ("test_larger", "alone"),
    "larger, with routes": ("test_larger", "with routes"),
}
"""Split and mode of the columns of the tables by method."""
FIGURES = ("verdict_accuracy_sound", "verdict_accuracy_flawed", "first_flaw_named", "copy_rate")
Outcomes = dict[tuple[str, str, str], dict[int, list[float]]]
"""By split, mode and method, then by seed: for each problem the share of its answers that are
right."""


def read_cells(
    run: Path, testbed: str, commit: str, methods: Sequence[str], rate: str | None = None
) -> Iterator[dict[str, Any]]:
    """Yield a row for each mode and split of the finished cells of these methods.

    `rate` is the learning rate of cells whose method was trained with several.
    """
    for path in sorted(run.glob("cells/*-*/outcomes/*.json")):
        method, _, seed = path.parts[-3].rpartition("-")
        entries = json.loads(path.read_text(encoding="utf-8")) if method in methods else []
        for one in entries:
            # The probe asks of fewer problems, and has a page of its own in the report.
            if not isinstance(one, dict) or one.get("mode") not in MODES:
                continue
            samples = int(one["figures"].get("samples", 1)) if one["mode"] == "sampled" else 1
            yield {
                "testbed": testbed,
                "seed": int(seed),
                "method": METHODS[f"{method} at {rate}" if rate else method],
                "mode": MODES[one["mode"]],
                "split": one["split"],
                "right": write_digits(one["outcomes"], samples),
                "samples": samples,
                "tokens": round(one["tokens_per_problem"], 1),
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


def take_best_rates(found: Outcomes) -> None:
    """Add RFT and CoT-Synthesizer with the learning rate that is best on `test` for each seed.

    No method may choose so. It bounds what another choice of the rate could have gained.
    """
    for method, mode in {"RFT": "alone", "CoT-Synthesizer": "with routes"}.items():
        names = [name for name in METHODS.values() if name.split(",")[0] == method]
        *rates, best = names
        of_test = {rate: found.get(("test", mode, rate), {}) for rate in rates}
        for seed in of_test[method]:
            run = [rate for rate in rates if seed in of_test[rate]]
            chosen = max(run, key=lambda rate: fmean(of_test[rate][seed]))
            for split in ("test", "test_rules"):
                found[split, mode, best][seed] = found[split, mode, chosen][seed]


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
    groups = [[(1.0, subtract_by_problem(ours[seed], theirs[seed], seed))] for seed in seeds]
    return _format(nested_difference(groups, seed=0))


def format_drop(found: Outcomes, mode: str, ours: str, theirs: str) -> str:
    """Return how much more `ours` loses from `test` to `test_rules`, of the seeds that both have.

    The interval is over seeds and problems.
    """
    splits = {"test": 1.0, "test_rules": -1.0}
    pairs = {
        split: [found.get((split, mode, method), {}) for method in (ours, theirs)]
        for split in splits
    }
    seeds = sorted(set.intersection(*(set(cell) for pair in pairs.values() for cell in pair)))
    groups = [
        [
            (sign, subtract_by_problem(*(cell[seed] for cell in pairs[split]), seed, split))
            for split, sign in splits.items()
        ]
        for seed in seeds
    ]
    return _format(nested_difference(groups, seed=0)) if len(seeds) > 1 else ""


def subtract_by_problem(
    ours: list[float], theirs: list[float], seed: int, split: str = ""
) -> dict[str, float]:
    """Return the differences by problem."""
    pairs = enumerate(zip(ours, theirs, strict=True))
    return {f"{seed}-{split}-{place}": a - b for place, (a, b) in pairs}


def _format(one: Difference) -> str:
    low, high = (100 * end for end in one.ci95)
    return f"{100 * one.difference:+.1f} [{low:.1f}, {high:.1f}]"


def print_accuracy(found: Outcomes) -> None:
    """Print the mean over seeds for each method, then the seeds one by one."""
    columns = [name for name, place in COLUMNS.items() if any(key[:2] == place for key in found)]
    print_row("", "seeds", *columns)
    print_row("---", *["--:"] * (len(columns) + 1))
    for method in METHODS.values():
        cells = [found.get((*COLUMNS[name], method), {}) for name in columns]
        if any(cells):
            means = [f"{100 * mean_over(cell):.1f}" if cell else "" for cell in cells]
            print_row(method, str(max(map(len, cells))), *means)
    for name, method in product(columns, METHODS.values()):
        seeds = found.get((*COLUMNS[name], method), {})
        by_seed = ", ".join(f"{seed}: {100 * fmean(seeds[seed]):.1f}" for seed in sorted(seeds))
        if seeds:
            print(f"{name}, {method}: {by_seed}")


def print_differences(found: Outcomes, ours: str, *, is_over_seeds: bool) -> None:
    """Print what `ours` has more than each method, of the seeds that both have."""
    columns = [name for name, place in COLUMNS.items() if (*place, ours) in found]
    kind = "seeds and problems" if is_over_seeds else "problems, for these trainings alone"
    print(f"\n{ours} less another method; intervals over {kind}:")
    print_row("less", "seeds", *columns)
    print_row("---", *["--:"] * (len(columns) + 1))
    for method in METHODS.values():
        pairs = [(found[*COLUMNS[name], ours], found.get((*COLUMNS[name], method), {}))
                 for name in columns]  # fmt: skip
        shared = max(len(one.keys() & other.keys()) for one, other in pairs)
        if method != ours and shared:
            cells = [format_difference(*pair, is_over_seeds=is_over_seeds) for pair in pairs]
            print_row(method, str(shared), *cells)


def print_drops(found: Outcomes, ours: str) -> None:
    """Print how much more `ours` loses from `test` to `test_rules` than each method."""
    print(f"\nLoss from test to test_rules, {ours} less another method; below 0 it loses less:")
    print_row("less", "alone", "with routes")
    print_row("---", "--:", "--:")
    for method in METHODS.values():
        cells = [format_drop(found, mode, ours, method) for mode in ("alone", "with routes")]
        if method != ours and any(cells):
            print_row(method, *cells)


def print_equal_tokens(rows: list[dict[str, Any]]) -> None:
    """Print accuracy on `test` beside tokens, in the modes that cost different numbers of them."""
    found = group_outcomes(rows)
    costs: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        if row["split"] == "test" and "tokens" in row:
            costs[row["method"], row["mode"]].append(row["tokens"])
    print("\nAccuracy on test and tokens of an answer, and what votes for as many tokens reach:")
    print_row("", "mode", "seeds", "accuracy", "tokens", "less the votes")
    print_row("---", "---", "--:", "--:", "--:", "--:")
    votes = {
        "own samples as routes": "votes for its tokens",
        "with routes": "votes for the tokens with routes",
    }
    for method, mode in product(METHODS.values(), MODES.values()):
        seeds, rival = found.get(("test", mode, method), {}), votes.get(mode, "")
        if seeds and ("test", "votes for its tokens", method) in found:
            theirs = found.get(("test", rival, method), {})
            is_over_seeds = len(seeds.keys() & theirs.keys()) > 1
            difference = format_difference(seeds, theirs, is_over_seeds=is_over_seeds)
            tokens = f"{fmean(costs[method, mode]):.0f}"
            accuracy = f"{100 * mean_over(seeds):.1f}"
            print_row(method, mode, str(len(seeds)), accuracy, tokens, difference)


def mean_over(seeds: dict[int, list[float]]) -> float:
    return fmean(fmean(shares) for shares in seeds.values())


def print_row(*cells: str) -> None:
    print("| " + " | ".join(cells) + " |")


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
    adding.add_argument("methods", nargs="+", choices=METHODS, metavar="METHOD")
    adding.add_argument("--rate", help="of methods that were trained at several rates")
    arguments = parser.parse_args()
    kept = [json.loads(line) for line in KEPT.read_text(encoding="utf-8").splitlines()]
    if arguments.command == "add":
        named = (arguments.testbed, arguments.commit, arguments.methods, arguments.rate)
        new = {name_row(row): row for row in read_cells(arguments.run, *named)}
        # A cell that is kept already stays: its commit is the one that trained it.
        kept += [row for name, row in new.items() if name not in set(map(name_row, kept))]
        KEPT.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    rows = [row for row in kept if row["testbed"] == arguments.testbed]
    found = group_outcomes(rows)
    if arguments.testbed == "services":
        take_best_rates(found)
    print_accuracy(found)
    for ours in COMPARED:
        if any(key[2] == ours for key in found):
            print_differences(found, ours, is_over_seeds=True)
            print_differences(found, ours, is_over_seeds=False)
            print_drops(found, ours)
    print_equal_tokens(rows)


def name_row(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[key] for key in ("testbed", "seed", "method", "mode", "split"))


if __name__ == "__main__":
    main()
