"""The closed loop of EAAI: per bucket of problems, guidance falls as autonomous accuracy nears assisted accuracy."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from realm.config.root import Fade
from realm.core.records import Outcome, Route
from realm.method.fade import QUICKEST, share

_ENOUGH = 16
"""Completions of a mode before its accuracy counts."""
_PROBE = 0.05
"""Guidance that a bucket keeps until the last phase, so that assisted accuracy stays measured."""


@dataclass(frozen=True)
class Rate:
    """A running accuracy in which earlier completions count less and less."""

    right: float = 0.0
    seen: float = 0.0

    def after(self, right: int, seen: int, memory: float) -> Rate:
        """Return the rate after `seen` more completions of which `right` were right; `memory` more halve an earlier one."""
        kept = 0.5 ** (seen / memory)
        return Rate(kept * self.right + right, kept * self.seen + seen)

    @property
    def value(self) -> float | None:
        """The accuracy; `None` before there is enough to go by."""
        return self.right / self.seen if self.seen >= _ENOUGH else None


@dataclass(frozen=True)
class Bucket:
    """What the gate knows of the problems of one difficulty."""

    left: float = 1.0
    """Share of guidance that the gate leaves."""
    assisted: Rate = Rate()
    autonomous: Rate = Rate()

    @property
    def gap(self) -> float | None:
        """Assisted minus autonomous accuracy; `None` before both are known."""
        known = self.assisted.value is not None and self.autonomous.value is not None
        return self.assisted.value - self.autonomous.value if known else None

    def moved(self, fade: Fade, most: float) -> Bucket:
        """Return the bucket with its guidance moved by at most `most`: down by a near gap, up by a far one.

        Between the two, and before both accuracies are known, it stands, so that noise does not drive it up and down.
        """
        if self.gap is None or fade.gate.near < self.gap < fade.gate.far:
            return self
        if self.gap <= fade.gate.near:
            return replace(self, left=max(_PROBE, self.left - most))
        return replace(self, left=min(1.0, self.left + most))


class Gate:
    """The buckets over a training run. Every process holds its own; all are told the same outcomes, so all agree."""

    def __init__(self, fade: Fade, buckets: Mapping[str, int]) -> None:
        """Start with full guidance; `buckets` says where each problem with routes belongs."""
        self.fade, self._place = fade, dict(buckets)
        self.buckets = [Bucket()] * fade.gate.buckets

    def left(self, problem_id: str) -> float:
        """Return the share of guidance left for one problem; all of it where it belongs to no bucket."""
        return self.buckets[self._place[problem_id]].left if problem_id in self._place else 1.0

    def observe(self, outcomes: Iterable[Outcome]) -> None:
        """Take in the completions of one generation, of all processes."""
        known = [outcome for outcome in outcomes if outcome.problem_id in self._place]
        for number, bucket in enumerate(self.buckets):
            for mode, guided in (("assisted", True), ("autonomous", False)):
                right = [
                    o.right
                    for o in known
                    if self._place[o.problem_id] == number and o.guided is guided
                ]
                if right:
                    rate: Rate = getattr(bucket, mode).after(
                        sum(right), len(right), self.fade.gate.half_life
                    )
                    bucket = replace(bucket, **{mode: rate})
            self.buckets[number] = bucket

    def advance(self, step: int, max_steps: int) -> None:
        """Move the guidance at the end of an optimizer step; `step` have been made."""
        if step / max_steps >= self.fade.start:
            most = 1 / (max_steps * QUICKEST * (self.fade.end - self.fade.start))
            self.buckets = [bucket.moved(self.fade, most) for bucket in self.buckets]

    def describe(self, progress: float) -> dict[str, list[float | None]]:
        """Return the figures of fade.jsonl, a list over the buckets each, the hardest first."""
        return {
            "bucket_share": [
                (1 - self.fade.dropout) * share(progress, self.fade, bucket.left)
                for bucket in self.buckets
            ],
            "bucket_assisted": [bucket.assisted.value for bucket in self.buckets],
            "bucket_autonomous": [bucket.autonomous.value for bucket in self.buckets],
        }

    def state(self) -> list[list[Any]]:
        """Return all there is to know, ready for JSON."""
        return [
            [b.left, b.assisted.right, b.assisted.seen, b.autonomous.right, b.autonomous.seen]
            for b in self.buckets
        ]

    def load(self, state: Sequence[Sequence[float]]) -> None:
        """Take up a state that `state` returned."""
        self.buckets = [Bucket(left, Rate(a, b), Rate(c, d)) for left, a, b, c, d in state]


def difficulty_buckets(bank: Mapping[str, Sequence[Route]], count: int) -> dict[str, int]:
    """Return the bucket of each problem with routes: quantiles of the share of right routes in its bank, the hardest first.

    Known before training, and what others find hard is a fair guess at what the policy will. Equal shares stay together, so
    buckets may differ in size.

    >>> right, wrong = (Route(problem_id="", source="", text="", answer="", correct=label) for label in (True, False))
    >>> difficulty_buckets({"a": [wrong], "b": [right], "c": [right, wrong], "d": [right]}, 2)
    {'a': 0, 'b': 1, 'c': 0, 'd': 1}
    """
    shares = {
        problem_id: sum(bool(route.correct) for route in routes) / len(routes)
        for problem_id, routes in bank.items()
    }
    ordered = sorted(shares.values())
    place = {
        value: (bisect_left(ordered, value) + bisect_right(ordered, value)) / 2 / len(ordered)
        for value in set(ordered)
    }
    return {
        problem_id: min(count - 1, int(count * place[value]))
        for problem_id, value in shares.items()
    }
