"""The closed loop of EAAI: guidance falls as accuracy without routes nears accuracy with routes.

It does so for each bucket of problems of like difficulty, never on the clock alone, and only where
the policy solves problems without routes at all.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, PositiveInt, model_validator

from realm.core.settings import Section, Share

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from realm.core.records import Route
    from realm.method.fade import Fade

QUICKEST = 1 / 3
"""Share of the fade's time that the gate takes at least from full guidance to none, or back."""
_NUM_NEEDED = 16
"""Completions of a mode before its accuracy counts: with fewer its error is above 0.1."""
_LOWEST_SHARE = 0.05
"""Guidance that a bucket keeps until the fade's end, so that assisted accuracy stays measured."""


class Gate(Section):
    """When kind gated lowers guidance: by autonomous accuracy and its gap to assisted accuracy."""

    buckets: PositiveInt = 3
    """Groups of problems of like difficulty, each with a gate of its own."""
    lower_below: Share = 0.05
    """Guidance falls while the gap of assisted minus autonomous accuracy is at most this."""
    min_autonomous: Share = 0.2
    """Guidance never falls below this accuracy without routes: a policy that solves nothing has a
    gap of 0 as well. At 0.2 a group of 8 completions holds a right one in 83% of the cases, so that
    reinforcement learning has a signal without routes."""
    raise_above: Share = 0.15
    """Guidance rises while the gap is at least this; between the two it stays as it is."""
    half_life: Annotated[int, Field(ge=32)] = 512
    """After this many further completions an earlier one counts half in the accuracies."""

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if not self.lower_below < self.raise_above:
            raise ValueError(
                f"lower_below = {self.lower_below:g} and raise_above = {self.raise_above:g}: need "
                "lower_below < raise_above, so that guidance does not go up and down with the "
                "noise. Try lower_below: 0.05, raise_above: 0.15"
            )
        return self


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Whether one training completion was right, and whether its prompt showed routes.

    >>> Outcome(problem_id="p1", guided=True, correct=False).correct
    False
    """

    problem_id: str
    guided: bool
    correct: bool | None
    """`None` if the verifier could not decide; such a completion is not counted."""


@dataclass(frozen=True)
class Rate:
    """A running accuracy in which earlier completions count less and less.

    >>> Rate().update([True, False] * 16, half_life=512).value
    0.5
    """

    right: float = 0.0
    seen: float = 0.0

    def update(self, correct: Sequence[bool], half_life: float) -> Rate:
        """Return the rate after further completions; `half_life` of them halve an earlier one."""
        kept = 0.5 ** (len(correct) / half_life)
        return Rate(kept * self.right + sum(correct), kept * self.seen + len(correct))

    @property
    def value(self) -> float | None:
        """The accuracy; `None` while too few completions were seen."""
        return self.right / self.seen if self.seen >= _NUM_NEEDED else None


@dataclass(frozen=True)
class Bucket:
    """What the gate knows of the problems of one difficulty.

    >>> Bucket(share=0.5, assisted=Rate(16, 16), autonomous=Rate(8, 16)).gap
    0.5
    """

    share: float = 1.0
    """Share of guidance that the gate leaves."""
    assisted: Rate = Rate()
    autonomous: Rate = Rate()

    @property
    def gap(self) -> float | None:
        """Assisted minus autonomous accuracy; `None` before both are known."""
        assisted, autonomous = self.assisted.value, self.autonomous.value
        return None if assisted is None or autonomous is None else assisted - autonomous

    def move(self, gate: Gate, step_size: float) -> Bucket:
        """Return the bucket with its guidance moved by at most `step_size`.

        A large gap raises it. A small gap lowers it if the policy is competent: its autonomous
        accuracy is at least `gate.min_autonomous`. Otherwise, and before both accuracies are known,
        it stays, so that noise does not move it.
        """
        if self.gap is None:
            return self
        if self.gap >= gate.raise_above:
            return replace(self, share=min(1.0, self.share + step_size))
        is_competent = (self.autonomous.value or 0.0) >= gate.min_autonomous
        if is_competent and self.gap <= gate.lower_below:
            return replace(self, share=max(_LOWEST_SHARE, self.share - step_size))
        return self


class GuidanceGate:
    """The buckets over one training run.

    Every process has its own gate. All observe the same outcomes, so all agree.
    """

    def __init__(self, fade: Fade, bucket_of: Mapping[str, int]) -> None:
        """Start with full guidance; `bucket_of` gives the bucket of each problem with routes."""
        self.fade = fade
        self.bucket_of = dict(bucket_of)
        self.buckets = [Bucket()] * fade.gate.buckets

    def find_share(self, problem_id: str) -> float:
        """Return the share of guidance left for one problem; all of it if it has no bucket."""
        if problem_id not in self.bucket_of:
            return 1.0
        return self.buckets[self.bucket_of[problem_id]].share

    def observe(self, outcomes: Iterable[Outcome]) -> None:
        """Count the completions of one generation, of all processes."""
        groups: dict[tuple[int, bool], list[bool]] = {}
        for outcome in outcomes:
            if outcome.problem_id in self.bucket_of and outcome.correct is not None:
                key = (self.bucket_of[outcome.problem_id], outcome.guided)
                groups.setdefault(key, []).append(outcome.correct)
        # In one update per bucket and mode, so that the order of completions does not matter.
        for (number, guided), correct in groups.items():
            bucket, half_life = self.buckets[number], self.fade.gate.half_life
            if guided:
                bucket = replace(bucket, assisted=bucket.assisted.update(correct, half_life))
            else:
                bucket = replace(bucket, autonomous=bucket.autonomous.update(correct, half_life))
            self.buckets[number] = bucket

    def advance(self, step: int, max_steps: int) -> None:
        """Move the guidance of every bucket after optimizer step number `step`."""
        if step / max_steps >= self.fade.start:
            # From full guidance to none in QUICKEST of the steps of the fade.
            step_size = 1 / (max_steps * QUICKEST * (self.fade.end - self.fade.start))
            self.buckets = [bucket.move(self.fade.gate, step_size) for bucket in self.buckets]

    def state(self) -> list[list[Any]]:
        """Return the state of all buckets, ready for JSON."""
        return [
            # Bare numbers, since this goes into trainer_state.json at each checkpoint.
            [b.share, b.assisted.right, b.assisted.seen, b.autonomous.right, b.autonomous.seen]
            for b in self.buckets
        ]

    def load(self, state: Sequence[Sequence[float]]) -> None:
        """Restore what `state` returned."""
        self.buckets = [Bucket(share, Rate(a, b), Rate(c, d)) for share, a, b, c, d in state]


def assign_buckets(bank: Mapping[str, Sequence[Route]], num_buckets: int) -> dict[str, int]:
    """Return the bucket of each problem with routes, 0 holding the hardest.

    Difficulty is the share of right routes in the bank: it is known before training, and what
    others find hard is a fair guess at what the policy will. Buckets are quantiles; problems of the
    same share stay together, so buckets may differ in size.
    """
    shares = {
        problem_id: sum(bool(route.correct) for route in routes) / len(routes)
        for problem_id, routes in bank.items()
    }
    ordered = sorted(shares.values())
    quantile = {
        # The middle of the places that equal shares take, as a share of all places.
        share: (bisect_left(ordered, share) + bisect_right(ordered, share)) / 2 / len(ordered)
        for share in set(ordered)
    }
    return {
        problem_id: min(num_buckets - 1, int(num_buckets * quantile[share]))
        for problem_id, share in shares.items()
    }
