"""EAAI, Enabling Autonomy via Asymptotic Induction: how many routes a prompt still shows, from training's start to its end."""

from __future__ import annotations

import hashlib
import math

from realm.config.root import Fade

_HALVINGS = 5
"""How often the exponential fade halves before it is cut: 1/32 is left then."""
QUICKEST = 1 / 3
"""Share of the fade's time that the gate takes at least to bring guidance from all to nothing, or back."""


def share(progress: float, fade: Fade, left: float = 1.0) -> float:
    """Return the share of guidance left at `progress` (0 = start, 1 = end), hint dropout not counted.

    From `end` on it is exactly 0, not merely close to it: one route left over would let the model keep leaning on
    it. Only `constant` never fades; `none` never guides. `left` is what the gate leaves (`realm.method.gate`), for the kind `gated`
    alone; however much that is, it is brought down to nothing by `end`, and never faster than the gate itself moves.

    >>> [share(t, Fade(kind="linear", start=0.0, end=0.8)) for t in (0.0, 0.4, 0.8, 1.0)]
    [1.0, 0.5, 0.0, 0.0]
    """
    if fade.kind == "none":
        return 0.0
    if fade.kind == "constant" or progress < fade.start:
        return 1.0
    if progress >= fade.end:
        return 0.0
    if fade.kind == "gated":
        return min(left, (fade.end - progress) / (QUICKEST * (fade.end - fade.start)))
    faded = (progress - fade.start) / (fade.end - fade.start)
    if fade.kind == "linear":
        return 1 - faded
    if fade.kind == "cosine":
        return (1 + math.cos(math.pi * faded)) / 2
    if fade.kind == "exponential":
        return 2 ** (-_HALVINGS * faded)
    assert fade.kind == "step", fade.kind
    return math.ceil(fade.routes * (1 - faded)) / fade.routes


def expected_share(progress: float, fade: Fade, left: float = 1.0) -> float:
    """Return the share of all routes that an average prompt shows at `progress`, hint dropout counted."""
    return (1 - fade.dropout) * share(progress, fade, left)


def dials(progress: float, fade: Fade, left: float = 1.0) -> tuple[float, float]:
    """Return (chance that a prompt is guided, mean number of routes that a guided prompt shows).

    Their product is always share x routes; `both` turns each dial down by the square root.
    """
    guidance = share(progress, fade, left)
    if fade.mode == "routes":
        return 1.0, guidance * fade.routes
    if fade.mode in ("chance", "in_group"):
        return guidance, float(fade.routes)
    return math.sqrt(guidance), math.sqrt(guidance) * fade.routes


def plan_row(
    seed: int,
    row_id: str,
    step: int,
    progress: float,
    fade: Fade,
    *,
    left: float = 1.0,
    copy: int = 0,
    copies: int = 1,
) -> int:
    """Return how many routes the prompt of one row shows at one step.

    A pure function of its arguments: the G copies of a prompt, every worker, and a resumed run get the same number.
    Between two whole numbers of routes the draw keeps the mean exact. Under the dial `in_group` each of the `copies` has a plan
    of its own: the first ones are guided, as many as the chance says, with the mean exact in the same way.
    """
    dropped, guided, rounded = _draws(f"{seed}|{row_id}|{step}")
    chance, mean_routes = dials(progress, fade, left)
    if dropped < fade.dropout or (copy + guided) / copies >= chance:
        return 0
    whole = math.floor(mean_routes)
    return whole + (rounded < mean_routes - whole)


def _draws(key: str) -> tuple[float, float, float]:
    """Return three independent uniform draws from [0, 1) that depend on `key` alone."""
    digest = hashlib.blake2b(key.encode(), digest_size=24, person=b"eaai").digest()
    first, second, third = (int.from_bytes(digest[i : i + 8]) >> 11 for i in (0, 8, 16))
    return first / 2**53, second / 2**53, third / 2**53
