"""How often do 95% intervals over a few seeds hold the truth, and how wide are they?

    python benchmarks/nested_intervals.py
    python benchmarks/nested_intervals.py --trials 50 --seeds 5
    python benchmarks/nested_intervals.py --families --trials 100 --seeds 5 3

Hardware: any CPU, about five minutes with the defaults, and as long for the last command.

Compares three ways on simulated differences between two methods: `stats.nested_difference`, the t
interval over the means of the seeds, and a bootstrap that draws seeds and then problems of each.
With --families: where none of several claims is true, how often is one found?
"""

from __future__ import annotations

import argparse
import json
from itertools import product

import numpy as np
from scipy.stats import t as student

from realm.evaluate import stats

PROBLEMS = 200
TRUTH = 0.03
"""The true difference."""
DISCORDANT = 0.15
"""Share of problems that only one of the two methods solves."""
RESAMPLES = 2_000
CLAIMS = 8
"""Claims of a family: one method is compared with as many others."""


def simulate(rng: np.random.Generator, num_seeds: int, spread: float) -> np.ndarray:
    """Return differences (seeds, problems); the means of seeds scatter by `spread`."""
    return draw_problems(rng, TRUTH + rng.normal(0, spread, size=num_seeds))


def draw_problems(rng: np.random.Generator, effects: np.ndarray) -> np.ndarray:
    """Return differences (seeds, problems) whose expectation is the effect of each seed."""
    half = DISCORDANT / 2
    return np.stack(
        [
            rng.choice(
                [1.0, -1.0, 0.0], p=[half + d / 2, half - d / 2, 1 - DISCORDANT], size=PROBLEMS
            )
            for d in np.clip(effects, -DISCORDANT, DISCORDANT)
        ]
    )


def compare_methods(values: np.ndarray, trial: int) -> stats.Difference:
    groups = [
        [(1.0, {f"{seed}:{place}": float(x) for place, x in enumerate(row)})]
        for seed, row in enumerate(values)
    ]
    return stats.nested_difference(groups, seed=trial)


def nested_bootstrap(values: np.ndarray, trial: int) -> tuple[float, float]:
    return compare_methods(values, trial).ci95


def seed_means(values: np.ndarray, trial: int) -> tuple[float, float]:
    means = values.mean(axis=1)
    half = student.ppf(0.975, len(means) - 1) * means.std(ddof=1) / len(means) ** 0.5
    return means.mean() - half, means.mean() + half


def two_stages(values: np.ndarray, trial: int) -> tuple[float, float]:
    rng = np.random.default_rng(trial)
    draws = [
        np.mean(
            [
                rng.choice(values[seed], size=PROBLEMS).mean()
                for seed in rng.integers(len(values), size=len(values))
            ]
        )
        for _ in range(RESAMPLES // 4)
    ]
    return tuple(np.quantile(draws, [0.025, 0.975]))


def find_false_claims(
    rng: np.random.Generator, num_seeds: int, spread: float, trials: int
) -> tuple[float, float]:
    """Return how often a family without a true claim has a corrected p below 0.05.

    All methods are equally good, and the accuracy of each scatters by `spread` over the seeds. The
    second figure is that of the t tests over the means of the seeds.
    """
    found = np.zeros((trials, 2))
    for trial in range(trials):
        ours, *others = rng.normal(0, spread, size=(1 + CLAIMS, num_seeds))
        rows = [compare_methods(draw_problems(rng, ours - other), trial) for other in others]
        for column, values in enumerate(([row.p for row in rows], [row.p_seeds for row in rows])):
            found[trial, column] = min(stats.holm([1.0 if p is None else p for p in values])) < 0.05
    ours_share, t_share = found.mean(axis=0)
    return float(ours_share), float(t_share)


def print_false_claims(rng: np.random.Generator, numbers: list[int], trials: int) -> None:
    print(f"{CLAIMS} claims a family, none of them true, {trials} families\n")
    print("seeds   spread of a method's seeds   one is found   by the t test")
    for num_seeds, spread in product(numbers, (0.0, 0.01, 0.03)):
        ours, t_test = find_false_claims(rng, num_seeds, spread, trials)
        print(f"{num_seeds:>5}   {100 * spread:>26.0f}   {ours:>12.1%}   {t_test:>13.1%}")


def main() -> None:
    """Print a table, and all figures as one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=400, help="simulated comparisons per spread")
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 3, 5], help="numbers of seeds")
    parser.add_argument("--families", action="store_true", help="count false claims instead")
    arguments = parser.parse_args()
    trials = arguments.trials
    stats.RESAMPLES = RESAMPLES
    rng = np.random.default_rng(5)
    if arguments.families:
        print_false_claims(rng, arguments.seeds, trials)
        return
    figures = []
    print(f"{PROBLEMS} problems per seed, {DISCORDANT:.0%} discordant, {trials} trials\n")
    print("seeds   spread of seeds   way              covers   width, points")
    for num_seeds, spread in product(arguments.seeds, (0.0, 0.01, 0.03)):
        samples = [simulate(rng, num_seeds, spread) for _ in range(trials)]
        for way in (nested_bootstrap, seed_means, two_stages):
            found = np.array([way(values, trial) for trial, values in enumerate(samples)])
            covers = float(((found[:, 0] <= TRUTH) & (found[:, 1] >= TRUTH)).mean())
            width = float((found[:, 1] - found[:, 0]).mean())
            row = {"seeds": num_seeds, "spread": spread, "way": way.__name__}
            figures.append(row | {"covers": covers, "width": width})
            print(
                f"{num_seeds:>5}   {100 * spread:>15.0f}   {way.__name__:<16} {covers:>6.1%} "
                f"{100 * width:>15.1f}"
            )
    print(json.dumps({"problems": PROBLEMS, "trials": trials, "figures": figures}))


if __name__ == "__main__":
    main()
