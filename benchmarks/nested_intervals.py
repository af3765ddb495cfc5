"""How often do 95% intervals over a few seeds cover the truth, and how wide are they?

Three ways on simulated differences: `stats.nested_difference`; the t interval over the means of the seeds; a bootstrap that draws
whole seeds and then problems in each. Run from the root: python benchmarks/nested_intervals.py
"""

from __future__ import annotations

import json

import numpy as np
from scipy.stats import t as student

from realm.evaluate import stats

SEEDS, PROBLEMS, TRUTH, DISCORDANT, TRIALS, RESAMPLES = 5, 200, 0.03, 0.15, 400, 2_000


def simulate(rng: np.random.Generator, spread: float) -> np.ndarray:
    """Return differences by seed and problem: seeds scatter around the truth by `spread`, each with problems of its own."""
    effects = TRUTH + rng.normal(0, spread, size=SEEDS)
    half = DISCORDANT / 2
    return np.stack(
        [
            rng.choice(
                [1.0, -1.0, 0.0], p=[half + d / 2, half - d / 2, 1 - DISCORDANT], size=PROBLEMS
            )
            for d in effects
        ]
    )


def nested(values: np.ndarray, trial: int) -> tuple[float, float]:
    groups = [
        [(1.0, {f"{seed}:{place}": float(x) for place, x in enumerate(row)})]
        for seed, row in enumerate(values)
    ]
    return stats.nested_difference(groups, seed=trial).ci95


def over_seeds(values: np.ndarray, trial: int) -> tuple[float, float]:
    means = values.mean(axis=1)
    half = student.ppf(0.975, SEEDS - 1) * means.std(ddof=1) / SEEDS**0.5
    return means.mean() - half, means.mean() + half


def two_stage(values: np.ndarray, trial: int) -> tuple[float, float]:
    rng = np.random.default_rng(trial)
    draws = [
        np.mean(
            [
                rng.choice(values[seed], size=PROBLEMS).mean()
                for seed in rng.integers(SEEDS, size=SEEDS)
            ]
        )
        for _ in range(RESAMPLES // 4)
    ]
    return tuple(np.quantile(draws, [0.025, 0.975]))


def main() -> None:
    stats.RESAMPLES = RESAMPLES
    rng, figures = np.random.default_rng(5), []
    print(f"{SEEDS} seeds x {PROBLEMS} problems, {DISCORDANT:.0%} discordant, {TRIALS} trials\n")
    print("spread of seeds   way          covers   width, points")
    for spread in (0.0, 0.01, 0.03):
        samples = [simulate(rng, spread) for _ in range(TRIALS)]
        for way in (nested, over_seeds, two_stage):
            found = np.array([way(values, trial) for trial, values in enumerate(samples)])
            covers = float(((found[:, 0] <= TRUTH) & (found[:, 1] >= TRUTH)).mean())
            width = float((found[:, 1] - found[:, 0]).mean())
            print(f"{100 * spread:>15.0f}   {way.__name__:<12} {covers:>6.1%} {100 * width:>15.1f}")
            figures.append(
                {"spread": spread, "way": way.__name__, "covers": covers, "width": width}
            )
    print(json.dumps({"seeds": SEEDS, "problems": PROBLEMS, "trials": TRIALS, "figures": figures}))


if __name__ == "__main__":
    main()
