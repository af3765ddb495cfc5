"""EAAI, Enabling Autonomy via Asymptotic Induction: how many routes a prompt still shows.

The idea is from ReaLM (arXiv 2508.12387). We had only its abstract, so the formulas are our own.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any, Literal, Self

from pydantic import NonNegativeFloat, PositiveInt, model_validator

from realm.core.settings import Section, Share
from realm.method.gate import QUICKEST, Gate

_NUM_HALVINGS = 5
"""How often the exponential fade halves before it is cut to 0: it ends at 1/32 of the routes."""


class Fade(Section):
    """How the routes fade out of the training prompts."""

    kind: Literal["linear", "cosine", "exponential", "step", "gated", "constant", "none"] = "linear"
    """How guidance falls. gated: as autonomous accuracy nears assisted accuracy (see `gate`);
    constant: it never falls; none: no prompt ever shows a route (plain GRPO)."""
    routes: PositiveInt = 4
    """Routes shown before the fade begins."""
    start: Share = 0.1
    """Share of training before the fade begins."""
    end: Share = 0.8
    """Share of training after which no prompt shows a route."""
    dropout: Share = 0.2
    """Share of prompts that show no route from the first step on, so that accuracy without routes
    is always measured."""
    mode: Literal["routes", "chance", "both", "in_group"] = "both"
    """What fades: the number of routes shown, the chance that a prompt shows any, both, or the
    share of the copies of one prompt that show any. With kind gated: chance or in_group."""
    gate: Gate = Gate()
    """Settings of kind gated."""
    transfer: NonNegativeFloat = 0.0
    """Weight of the loss that teaches the prompt without routes what was solved with them; 0: none.
    For routes that state what the model cannot find by sampling."""

    @model_validator(mode="before")
    @classmethod
    def _default_gated_mode(cls, settings: Any) -> Any:
        # The default of the other kinds, `both`, is one that the gate refuses.
        if isinstance(settings, dict) and settings.get("kind") == "gated":
            return {"mode": "chance"} | settings
        return settings

    @model_validator(mode="after")
    def _check_gated(self) -> Self:
        if self.kind == "gated" and self.mode not in ("chance", "in_group"):
            raise ValueError(
                f"mode = {self.mode}: with kind: gated the number of routes must not fade, since "
                "fewer routes narrow the very gap that the gate watches. Allowed: chance, in_group"
            )
        if self.kind == "gated" and self.dropout == 0:
            raise ValueError(
                "dropout = 0: kind: gated must measure accuracy without routes from the first step "
                "on. Try dropout: 0.2"
            )
        return self

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if not self.start < self.end:
            raise ValueError(
                f"start = {self.start:g} and end = {self.end:g}: need 0 <= start < end <= 1, so "
                "that the routes start to fade before they are gone. Try start: 0.1, end: 0.8"
            )
        return self


def guidance_share(progress: float, fade: Fade, gate_share: float = 1.0) -> float:
    """Return the share of guidance left at `progress` (0 = start, 1 = end of training).

    It does not count hint dropout. From `fade.end` on it is exactly 0: a single route left would
    let the model keep leaning on it. `gate_share` is what the gate leaves (kind gated only); it is
    brought down to 0 by `fade.end` however large it is, no faster than the gate itself moves.

    >>> fade = Fade(kind="linear", start=0.0, end=0.8)
    >>> [guidance_share(progress, fade) for progress in (0.0, 0.4, 0.8, 1.0)]
    [1.0, 0.5, 0.0, 0.0]
    """
    if fade.kind == "none":
        return 0.0
    if fade.kind == "constant" or progress < fade.start:
        return 1.0
    if progress >= fade.end:
        return 0.0
    if fade.kind == "gated":
        return min(gate_share, (fade.end - progress) / (QUICKEST * (fade.end - fade.start)))
    faded = (progress - fade.start) / (fade.end - fade.start)
    if fade.kind == "linear":
        return 1 - faded
    if fade.kind == "cosine":
        return (1 + math.cos(math.pi * faded)) / 2
    if fade.kind == "exponential":
        return float(2 ** (-_NUM_HALVINGS * faded))
    assert fade.kind == "step", fade.kind
    # Whole routes: they fall away one by one, the last at the end.
    return math.ceil(fade.routes * (1 - faded)) / fade.routes


def expected_share(progress: float, fade: Fade, gate_share: float = 1.0) -> float:
    """Return the share of all routes that an average prompt shows, hint dropout counted."""
    return (1 - fade.dropout) * guidance_share(progress, fade, gate_share)


def split_share(progress: float, fade: Fade, gate_share: float = 1.0) -> tuple[float, float]:
    """Return (chance that a prompt shows routes, mean number of routes that such a prompt shows).

    Their product is always share x routes. Mode `both` lowers each by the square root.
    """
    share = guidance_share(progress, fade, gate_share)
    if fade.mode == "routes":
        return 1.0, share * fade.routes
    if fade.mode in ("chance", "in_group"):
        return share, float(fade.routes)
    return math.sqrt(share), math.sqrt(share) * fade.routes


def plan_num_routes(  # noqa: PLR0913  # a pure function of all that decides it
    seed: int,
    row_id: str,
    step: int,
    progress: float,
    fade: Fade,
    *,
    gate_share: float = 1.0,
    copy: int = 0,
    num_copies: int = 1,
) -> int:
    """Return how many routes the prompt of one row shows at one step.

    A pure function of its arguments: the copies of a prompt in its GRPO group, every process and a
    resumed run get the same number. A mean between two whole numbers is met exactly on average.
    In mode `in_group` each copy is planned by itself: the first ones are guided.

    Args:
        seed: The run's seed.
        row_id: The problem.
        step: The optimizer step.
        progress: Share of training that is over.
        fade: The settings.
        gate_share: Share of guidance that the gate leaves.
        copy: Which copy of the prompt within its group (mode in_group).
        num_copies: Size of the group (mode in_group).
    """
    # All three are always drawn, so that one setting does not change what another one draws.
    dropped, guided, rounded = _draw_three(f"{seed}|{row_id}|{step}")
    chance, mean_routes = split_share(progress, fade, gate_share)
    # All copies of a prompt share one offset: `chance` of them, rounded by chance, are guided.
    if dropped < fade.dropout or (copy + guided) / num_copies >= chance:
        return 0
    whole = math.floor(mean_routes)
    return whole + (rounded < mean_routes - whole)


def _draw_three(key: str) -> tuple[float, float, float]:
    """Return three independent uniform draws from [0, 1) that depend on `key` alone."""
    digest = hashlib.blake2b(key.encode(), digest_size=24, person=b"eaai").digest()
    # The upper 53 bits of each 8 bytes: as many as a float holds exactly.
    first, second, third = (int.from_bytes(digest[i : i + 8]) >> 11 for i in (0, 8, 16))
    return first / 2**53, second / 2**53, third / 2**53
