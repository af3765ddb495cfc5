"""Intervals and paired tests. Every number that leaves is finite: what cannot be told is `None`, never NaN."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

RESAMPLES = 10_000
CHUNK = 1_000
"""Resamples drawn at once where each holds a weight for every problem of every seed."""


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """How two methods differ on the same problems; `difference` is a minus b."""

    n: int
    difference: float
    ci95: tuple[float, float]
    p_mcnemar: float | None
    """Exact McNemar p of right/wrong outcomes; `None` for outcomes that are means over samples."""
    smallest_detectable: float | None
    """The smallest difference this comparison sees with 80% power; `None` where n is too small to see any."""


def wilson_interval(num_right: int, n: int) -> tuple[float, float]:
    """Return the 95% Wilson interval of `num_right` out of `n`."""
    from statsmodels.stats.proportion import proportion_confint

    assert 0 <= num_right <= n and n > 0, (num_right, n)
    low, high = proportion_confint(num_right, n, alpha=0.05, method="wilson")
    return max(0.0, float(low)), min(1.0, float(high))


def bootstrap_interval(values: Sequence[float], *, seed: int) -> tuple[float, float]:
    """Return the 95% percentile-bootstrap interval of the mean of `values`, one value per problem.

    For outcomes that are themselves means (several routes or samples of a problem), and for paired differences: to
    resample problems is to resample pairs.
    """
    import numpy as np
    from scipy.stats import bootstrap

    sample = np.asarray(values, dtype=float)
    assert sample.size > 0 and np.isfinite(sample).all()
    if (sample == sample[0]).all():
        return float(sample[0]), float(sample[0])
    result = bootstrap(
        (sample,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=max(1, 2_000_000 // sample.size),
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def mcnemar_p(a: Sequence[bool], b: Sequence[bool]) -> float:
    """Return the p-value of the exact McNemar test on paired right/wrong outcomes."""
    from statsmodels.stats.contingency_tables import mcnemar

    pairs = [(bool(x), bool(y)) for x, y in zip(a, b, strict=True)]
    table = [[pairs.count((x, y)) for y in (True, False)] for x in (True, False)]
    return float(mcnemar(table, exact=True).pvalue)


def smallest_detectable(
    n: int, discordant: float, *, power: float = 0.8, level: float = 0.05
) -> float | None:
    """Return the smallest true difference that `n` pairs show at this level with this power.

    `discordant` is the share of pairs on which the two differ. Solves for d (Connor 1987):
    n = (z_{alpha/2} sqrt(discordant) + z_{power} sqrt(discordant - d^2))^2 / d^2. No difference can exceed the
    discordant share, so with few pairs there may be none: `None`.

    >>> round(smallest_detectable(1740, 0.15), 3)
    0.026
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    if discordant <= 0:
        return None
    z_level, z_power = norm.ppf(1 - level / 2), norm.ppf(power)

    def shortfall(d: float) -> float:
        return (
            z_level * math.sqrt(discordant)
            + z_power * math.sqrt(max(discordant - d * d, 0.0))
            - d * math.sqrt(n)
        )

    if shortfall(discordant) > 0:
        return None
    return float(brentq(shortfall, 0.0, discordant))


def paired_difference(a: Sequence[float], b: Sequence[float], *, seed: int) -> PairedDifference:
    """Compare two methods on the same problems, outcome by outcome in the same order; right/wrong or means in [0, 1]."""
    assert len(a) == len(b) > 0, (len(a), len(b))
    differences = [float(x) - float(y) for x, y in zip(a, b, strict=True)]
    binary = all(value in (0, 1) for value in (*a, *b))
    return PairedDifference(
        n=len(a),
        difference=math.fsum(differences) / len(a),
        ci95=bootstrap_interval(differences, seed=seed),
        p_mcnemar=mcnemar_p(a, b) if binary else None,
        smallest_detectable=smallest_detectable(len(a), sum(map(abs, differences)) / len(a))
        if binary
        else None,
    )


@dataclass(frozen=True, kw_only=True)
class NestedDifference:
    """How two methods differ over several seeds, each with its problems."""

    seeds: int
    n: int
    """Pairs of outcomes, over all seeds."""
    difference: float
    """The mean over seeds of the mean over the seed's problems."""
    ci95: tuple[float, float]
    p: float
    """Two-sided, from the same resamples as the interval."""
    p_seeds: float | None
    """The t test that sees one number per seed and nothing else; `None` where seeds do not vary or there is one only."""
    per_seed: list[float]
    smallest_detectable: float | None
    """The difference that shows with 80% power, given this spread; `None` where nothing varies."""


Parts = Sequence[tuple[float, Mapping[str, float]]]
"""What one seed measured: (sign, outcome by problem) pairs, whose signed means add up to the seed's figure."""


def nested_difference(groups: Sequence[Parts], *, seed: int) -> NestedDifference:
    """Return the mean over seeds of what each measured, with an interval that counts problems and seeds as sampled.

    A problem that several seeds share has one key. See `nested_draws` for the bootstrap.
    """
    import numpy as np
    from scipy.stats import ttest_1samp

    per_seed = [_figure(parts) for parts in groups]
    draws = nested_draws(groups, seed=seed)
    varies = len(per_seed) > 1 and len(set(per_seed)) > 1
    low, high = np.quantile(draws, [0.025, 0.975])
    beyond = min(int((draws <= 0).sum()), int((draws >= 0).sum()))
    spread = float(draws.std())
    return NestedDifference(
        seeds=len(groups),
        n=sum(len(values) for parts in groups for _, values in parts),
        difference=math.fsum(per_seed) / len(per_seed),
        ci95=(float(low), float(high)),
        p=min(1.0, 2 * (beyond + 1) / (len(draws) + 1)),
        p_seeds=float(ttest_1samp(per_seed, 0).pvalue) if varies else None,
        per_seed=per_seed,
        smallest_detectable=detectable_at(spread) if spread > 1e-12 else None,
    )


def nested_draws(groups: Sequence[Parts], *, seed: int) -> np.ndarray:
    """Return resamples of the mean over seeds: a bootstrap over problems, nested in seeds.

    Each resample gives every distinct problem a random weight (exponential, the Bayesian bootstrap), the same in all seeds
    that ask it; that is what the choice of problems contributes. Seeds then differ by more than their problems explain,
    or not: only that excess is resampled over seeds, scaled to the unbiased variance and, as few seeds tell little about
    it, by Student's quantile over the normal one. To resample whole seeds instead would count the problems twice.
    """
    import numpy as np
    from scipy.stats import norm
    from scipy.stats import t as student

    rng, count = np.random.default_rng(seed), len(groups)
    place = {
        name: number
        for number, name in enumerate(
            dict.fromkeys(n for parts in groups for _, part in parts for n in part)
        )
    }
    arrays = [
        [
            (sign, [place[name] for name in part], np.array([*part.values()], dtype=np.float32))
            for sign, part in parts
        ]
        for parts in groups
    ]
    observed = np.array([_figure(parts) for parts in groups])
    resampled = np.zeros((RESAMPLES, count))
    for start in range(0, RESAMPLES, CHUNK):
        weights = rng.standard_exponential(
            (min(CHUNK, RESAMPLES - start), len(place)), dtype=np.float32
        )
        for number, parts in enumerate(arrays):
            for sign, columns, values in parts:
                mine = weights[:, columns]
                resampled[start : start + len(mine), number] += (
                    sign * (mine @ values) / mine.sum(axis=1)
                )
    draws = resampled.mean(axis=1)
    if count == 1 or (spread := observed.var(ddof=1)) == 0:
        return draws
    by_problems = (resampled - observed).var(axis=1, ddof=1).mean()
    excess = max(0.0, spread - by_problems)
    caution = student.ppf(0.975, count - 1) / norm.ppf(0.975)
    effects = (
        (observed - observed.mean()) * caution * math.sqrt(excess / (spread * (count - 1) / count))
    )
    return draws + effects[rng.integers(count, size=(RESAMPLES, count))].mean(axis=1)


def _figure(parts: Parts) -> float:
    return math.fsum(sign * math.fsum(values.values()) / len(values) for sign, values in parts)


def detectable_at(standard_error: float, *, power: float = 0.8) -> float:
    """Return the true difference that shows at the 5% level with this power, where a difference has this standard error."""
    from scipy.stats import norm

    return float((norm.ppf(0.975) + norm.ppf(power)) * standard_error)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for a family of claims (Holm 1979): below 0.05 in any of them at most one time in twenty."""
    from statsmodels.stats.multitest import multipletests

    return [float(p) for p in multipletests(p_values, method="holm")[1]] if p_values else []
