"""Confidence intervals and paired tests.

Every number returned is finite. A value that cannot be computed is `None`, never NaN.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

# The usual ones: one false alarm in twenty, and four of five true differences found.
LEVEL, POWER = 0.05, 0.8
# The smallest p-value that can come out is 2 / (RESAMPLES + 1), see `nested_difference`.
RESAMPLES = 10_000
# Problems that differ, up to which the exact test is computed; 13 give p = 0.0002 at best.
MOST_FLIPPED = 12
# Below this, two sums of outcomes differ by rounding only.
ROUNDING = 1e-12
# Resamples drawn at once. Each holds a weight for every problem, so all would fill the memory.
CHUNK = 1_000


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How much two methods differ on the same problems: the first minus the second.

    Example: 0.75 against 0.5 on 200 problems is `difference=0.25`, with `ci95=(0.17, 0.33)`.
    """

    n: int
    """Pairs of outcomes, over all seeds."""
    difference: float
    """The mean over seeds of the mean over the seed's problems."""
    ci95: tuple[float, float]
    smallest_detectable: float | None
    """The smallest true difference seen with 80% power; `None` if there is none."""
    p_mcnemar: float | None = None
    """Exact McNemar test of one seed; `None` if outcomes are means over samples."""
    p: float | None = None
    """Two-sided, from the resamples; at least that of the exact test if few problems differ, and
    at least `p_seeds`. `None` where `p_mcnemar` is known."""
    p_seeds: float | None = None
    """t test on one number per seed; `None` with one seed or equal seeds."""
    per_seed: tuple[float, ...] = ()


def wilson_interval(num_right: int, n: int) -> tuple[float, float]:
    """Return the 95% Wilson interval of `num_right` out of `n`."""
    from statsmodels.stats.proportion import proportion_confint

    assert 0 <= num_right <= n and n > 0, (num_right, n)
    low, high = proportion_confint(num_right, n, alpha=0.05, method="wilson")
    return max(0.0, float(low)), min(1.0, float(high))


def bootstrap_interval(values: Sequence[float], *, seed: int) -> tuple[float, float]:
    """Return the 95% percentile-bootstrap interval of the mean of `values`, one per problem.

    Used for outcomes that are means over samples, and for paired differences.
    """
    import numpy as np
    from scipy.stats import bootstrap

    sample = np.asarray(values, dtype=float)
    assert sample.size > 0 and np.isfinite(sample).all()
    if (sample == sample[0]).all():
        return float(sample[0]), float(sample[0])  # scipy would return NaN
    result = bootstrap(
        (sample,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=max(1, 2_000_000 // sample.size),  # at most 16 MB at once
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def mcnemar_p(a: Sequence[bool], b: Sequence[bool]) -> float:
    """Return the p-value of the exact McNemar test on paired right/wrong outcomes."""
    from statsmodels.stats.contingency_tables import mcnemar

    # The table of both right, only one right, and both wrong.
    pairs = [(bool(x), bool(y)) for x, y in zip(a, b, strict=True)]
    table = [[pairs.count((x, y)) for y in (True, False)] for x in (True, False)]
    return float(mcnemar(table, exact=True).pvalue)


def smallest_detectable(n: int, discordant: float, *, level: float = LEVEL) -> float | None:
    """Return the smallest true difference that `n` pairs show at this level with 80% power.

    Solves for d (Connor 1987):
    n = (z_{alpha/2} sqrt(discordant) + z_{power} sqrt(discordant - d^2))^2 / d^2.
    No difference exceeds the discordant share, so with few pairs the result may be `None`.

    Args:
        n: number of pairs.
        discordant: share of pairs on which the two methods differ.
        level: two-sided significance level.

    >>> round(smallest_detectable(1740, 0.15), 3)
    0.026
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    if discordant <= 0:
        return None
    z_level, z_power = norm.ppf(1 - level / 2), norm.ppf(POWER)

    def shortfall(d: float) -> float:
        return (
            z_level * math.sqrt(discordant)
            + z_power * math.sqrt(max(discordant - d * d, 0.0))
            - d * math.sqrt(n)
        )

    if shortfall(discordant) > 0:
        return None  # even the largest possible difference is too small to show
    return float(brentq(shortfall, 0.0, discordant))


def paired_difference(a: Sequence[float], b: Sequence[float], *, seed: int) -> Difference:
    """Compare two methods on the same problems of one seed.

    Args:
        a: the outcome of the first method on each problem: 0 or 1, or a mean in [0, 1].
        b: the outcomes of the second method on the same problems in the same order.
        seed: of the bootstrap.
    """
    assert len(a) == len(b) > 0, (len(a), len(b))
    differences = [float(x) - float(y) for x, y in zip(a, b, strict=True)]
    is_binary = all(value in (0, 1) for value in (*a, *b))
    found = Difference(
        n=len(a),
        difference=math.fsum(differences) / len(a),
        ci95=bootstrap_interval(differences, seed=seed),
        smallest_detectable=None,
    )
    if not is_binary:
        by_problem = {str(place): value for place, value in enumerate(differences)}
        return replace(found, p=nested_difference([[(1.0, by_problem)]], seed=seed).p)
    discordant = sum(map(abs, differences)) / len(a)
    return replace(
        found,
        p_mcnemar=mcnemar_p([x == 1 for x in a], [y == 1 for y in b]),
        smallest_detectable=smallest_detectable(len(a), discordant),
    )


Parts = Sequence[tuple[float, Mapping[str, float]]]
"""What one seed measured: (sign, outcome by problem) pairs.

The signed means add up to the seed's figure; a drop between splits has the signs 1 and -1.
"""


def nested_difference(groups: Sequence[Parts], *, seed: int) -> Difference:
    """Return the mean over seeds, with an interval that treats problems and seeds as sampled.

    A problem that several seeds share has one key. `nested_draws` explains the bootstrap. The
    interval holds that of the t distribution over the seeds too, so that it covers with few seeds,
    and p is at least that of the t test: resamples of a few seeds have no tails.
    """
    import numpy as np
    from scipy.stats import norm, ttest_1samp

    per_seed = [_sum_of_means(parts) for parts in groups]
    draws = nested_draws(groups, seed=seed)
    seeds_vary = len(per_seed) > 1 and len(set(per_seed)) > 1
    low, high = np.quantile(draws, [0.025, 0.975])
    if len(per_seed) > 1:
        # A few seeds may agree by chance: never narrower than the t interval over their means.
        low, high = widen_to_seeds((low, high), per_seed)
    # The p-value counts the resamples on the smaller side of 0; adding 1 keeps it above 0.
    beyond = min(int((draws <= 0).sum()), int((draws >= 0).sum()))
    # The difference whose normal interval excludes 0 with the wanted power.
    detectable = float((norm.ppf(1 - LEVEL / 2) + norm.ppf(POWER)) * draws.std())
    p_seeds = float(ttest_1samp(per_seed, 0).pvalue) if seeds_vary else None
    return Difference(
        n=sum(len(values) for parts in groups for _, values in parts),
        difference=math.fsum(per_seed) / len(per_seed),
        ci95=(float(low), float(high)),
        p=min(1.0, max(2 * (beyond + 1) / (len(draws) + 1), _exact_p(groups), p_seeds or 0.0)),
        p_seeds=p_seeds,
        per_seed=tuple(per_seed),
        smallest_detectable=detectable if draws.std() > ROUNDING else None,
    )


def widen_to_seeds(bounds: tuple[float, float], per_seed: Sequence[float]) -> tuple[float, float]:
    """Return an interval that also holds the 95% t interval of the mean of two seeds or more."""
    import numpy as np
    from scipy.stats import t as student

    error = np.std(per_seed, ddof=1) / math.sqrt(len(per_seed))
    half = float(student.ppf(1 - LEVEL / 2, len(per_seed) - 1) * error)
    mean = math.fsum(per_seed) / len(per_seed)
    return min(bounds[0], mean - half), max(bounds[1], mean + half)


def _exact_p(groups: Sequence[Parts]) -> float:
    """Return the p-value of the exact sign-flip test over problems, 0 if there are many of them.

    A bootstrap knows no bound: 8 problems that all favour one method are 2 * 0.5**8 = 0.008 at
    best, whatever their resamples say.
    """
    import numpy as np

    # One number for each problem: its share of the sum over all seeds.
    shares: dict[str, float] = {}
    for parts in groups:
        for sign, values in parts:
            for name, value in values.items():
                shares[name] = shares.get(name, 0.0) + sign * value / len(values)
    moved = np.array([share for share in shares.values() if abs(share) > ROUNDING])
    if len(moved) > MOST_FLIPPED:
        return 0.0
    # A row of bits for each way to choose the signs: (2^n, n).
    places = np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved))
    sums = (1 - 2 * (places & 1)) @ moved
    return float((np.abs(sums) >= abs(moved.sum()) - ROUNDING).mean())


def nested_draws(groups: Sequence[Parts], *, seed: int) -> np.ndarray:
    """Return resamples of the mean over seeds: a bootstrap over problems, nested in seeds.

    Each resample gives every distinct problem a random exponential weight (the Bayesian bootstrap,
    Rubin 1981), the same in all seeds that contain it. This is the variation due to the choice of
    problems. Only the variation between seeds beyond that is resampled over seeds. It is scaled to
    the unbiased variance and, because few seeds say little about it, by the ratio of Student's
    quantile to the normal one. Resampling whole seeds would count the problems twice.
    """
    import numpy as np
    from scipy.stats import norm
    from scipy.stats import t as student

    rng, count = np.random.default_rng(seed), len(groups)
    observed = np.array([_sum_of_means(parts) for parts in groups])
    resampled = _weighted_means(groups, rng)
    draws = resampled.mean(axis=1)
    if count == 1 or (spread := observed.var(ddof=1)) == 0:
        return draws
    by_problems = (resampled - observed).var(axis=1, ddof=1).mean()
    excess = max(0.0, spread - by_problems)
    caution = student.ppf(0.975, count - 1) / norm.ppf(0.975)
    # Drawing `count` seeds with replacement has (count - 1) / count of the unbiased variance.
    scale = caution * math.sqrt(excess / (spread * (count - 1) / count))
    effects = (observed - observed.mean()) * scale
    return draws + effects[rng.integers(count, size=(RESAMPLES, count))].mean(axis=1)


def _weighted_means(groups: Sequence[Parts], rng: np.random.Generator) -> np.ndarray:
    """Return each seed's figure under random problem weights, as (resamples, seeds)."""
    import numpy as np

    names = dict.fromkeys(name for parts in groups for _, part in parts for name in part)
    column_of = {name: column for column, name in enumerate(names)}
    resampled = np.zeros((RESAMPLES, len(groups)))
    for start in range(0, RESAMPLES, CHUNK):
        size = (min(CHUNK, RESAMPLES - start), len(names))
        # float32 halves the memory; its rounding is far below the noise of the resamples.
        weights = rng.standard_exponential(size, dtype=np.float32)
        for number, parts in enumerate(groups):
            for sign, part in parts:
                mine = weights[:, [column_of[name] for name in part]]
                values = np.array([*part.values()], dtype=np.float32)
                means = (mine @ values) / mine.sum(axis=1)
                resampled[start : start + len(mine), number] += sign * means
    return resampled


def _sum_of_means(parts: Parts) -> float:
    return math.fsum(sign * math.fsum(values.values()) / len(values) for sign, values in parts)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for a family of claims (Holm 1979).

    If none of the claims is true, one of them is below 0.05 at most one time in twenty.
    """
    from statsmodels.stats.multitest import multipletests

    return [float(p) for p in multipletests(p_values, method="holm")[1]] if p_values else []
