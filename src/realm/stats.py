"""Intervals and paired tests. Every number that leaves is finite: what cannot be told is `None`, never NaN."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

RESAMPLES = 10_000


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


def smallest_detectable(n: int, discordant: float, *, power: float = 0.8) -> float | None:
    """Return the smallest true difference that `n` pairs show at the 5% level with this power.

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
    z_level, z_power = norm.ppf(0.975), norm.ppf(power)

    def shortfall(d: float) -> float:
        return z_level * math.sqrt(discordant) + z_power * math.sqrt(max(discordant - d * d, 0.0)) - d * math.sqrt(n)

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
        smallest_detectable=smallest_detectable(len(a), sum(map(abs, differences)) / len(a)) if binary else None,
    )
