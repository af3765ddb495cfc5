"""The forecast: will reinforcement learning pay, as far as measurements before it can tell?

Reinforcement learning turns what a policy can do sometimes into what it does always. The thresholds
are calibrated on past runs, which are few: docs/forecast.md has the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from statistics import fmean, stdev
from typing import Any, Literal

LITTLE_MIXED = 0.1
"""Below this share of mixed groups most of a batch teaches nothing."""
NEARLY_SOLVED = 0.9
"""From this accuracy of one sample on, no past run gained more than 2.4 points."""
FEW_ROLLOUTS = 5_000
"""With fewer rollouts no past run gained more than 3 points."""
MANY_CHAINS = 0.5
"""Where more of the problems than this have a right chain, imitating them gained more than
reinforcement learning in six of seven past comparisons."""
ROUTES_HELP = 0.2
"""From this gain of accuracy by routes on they hold what the policy lacks."""
BY_HEART = 2.0
"""From this ratio on, of the loss on other chains to that on the taught ones, more chains help more
than longer training."""


@dataclass(frozen=True, kw_only=True)
class Headroom:
    """Accuracy without routes over several samples per problem, before training.

    Example: of 2 problems with 4 samples each, one solved twice and one never, `mean_at_1` is 0.25,
    `pass_at_n` 0.5, `mixed_share` 0.5 and `advantage_variance` 0.125.
    """

    problems: int
    samples: int
    mean_at_1: float
    majority_at_n: float
    pass_at_n: float
    mixed_share: float
    """Share of problems with right and wrong samples: only their groups have advantages."""
    advantage_variance: float
    """Mean variance of the answer reward within a group, 0.25 at most."""
    undecided: int = 0
    """Samples that the verifier could not decide in its time."""


@dataclass(frozen=True, kw_only=True)
class Pilot:
    """What a short training changed, in samples of the same problems before and after it.

    >>> Pilot(rollouts=512, gain=0.01, ci95=(-0.01, 0.03)).describe()
    'a pilot of 512 rollouts moved mean@1 by +1.0 [-1.0, +3.0] points, +2.0 per 1,000 rollouts'
    """

    rollouts: int
    gain: float
    """Mean difference of mean@1 over the problems."""
    ci95: tuple[float, float]
    """Its interval over the problems, for this one training."""

    def describe(self) -> str:
        """Return the gain in words, in points."""
        low, high = (100 * bound for bound in self.ci95)
        rate = 100 * self.gain * 1000 / self.rollouts
        return (
            f"a pilot of {self.rollouts:,} rollouts moved mean@1 by {100 * self.gain:+.1f} "
            f"[{low:+.1f}, {high:+.1f}] points, {rate:+.1f} per 1,000 rollouts"
        )


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Whether reinforcement learning is likely to pay, why, and what would be cheaper.

    Example: with a policy that is right in 97% of its samples the outlook is "unlikely to pay".
    """

    headroom: Headroom
    measured_on: str
    """Which problems were sampled: `validation` or `train`."""
    rollouts: int
    """Completions that training will sample."""
    with_routes: float | None = None
    """mean@1 with routes in the prompt; `None` if training shows none or there are none."""
    has_transfer: bool = False
    """Whether training teaches without routes what it solves with them (`train.fade.transfer`)."""
    has_harvest: bool = False
    """Whether further rounds distil its right samples with routes (`distill.every_round`)."""
    no_chain_share: float
    """Share of the problems of reinforcement learning that have no right chain to imitate."""
    untaught: int = 0
    """Training problems with a right chain that distillation did not teach."""
    taught_loss: float | None = None
    """Loss per token on chains that distillation taught; `None` if it taught none."""
    held_out_loss: float | None = None
    """Loss per token on sound chains of validation problems; `None` if there are none."""
    pilot: Pilot | None = None
    """What a short training gained; `None` if none was made."""

    @property
    def outlook(self) -> Literal["likely to pay", "likely to gain", "unlikely to pay"]:
        """Return what to expect; `likely to gain`: and imitating right chains, more."""
        if self.obstacles:
            return "unlikely to pay"
        return "likely to gain" if self.has_many_chains else "likely to pay"

    @property
    def lives_on_routes(self) -> bool:
        """Return whether routes hold what the policy lacks: it solves far more with them."""
        return (
            self.with_routes is not None
            and self.with_routes >= self.headroom.mean_at_1 + ROUTES_HELP
        )

    @property
    def has_many_chains(self) -> bool:
        """Return whether most problems have a right chain to imitate."""
        return self.no_chain_share < 1 - MANY_CHAINS

    @property
    def obstacles(self) -> list[str]:
        """Return why reinforcement learning is unlikely to gain; empty if nothing says so."""
        found, obstacles = self.headroom, []
        if found.pass_at_n == 0 and not self.with_routes:
            obstacles.append("the policy never answers right, so there is nothing to reinforce")
        elif found.mean_at_1 >= NEARLY_SOLVED:
            obstacles.append(
                f"{found.mean_at_1:.1%} of the samples are right already, and no past run that "
                f"began above {NEARLY_SOLVED:.0%} gained more than 2.4 points"
            )
        elif found.mixed_share < LITTLE_MIXED and not self.lives_on_routes:
            obstacles.append(
                f"only {found.mixed_share:.0%} of the problems are answered now right, now wrong, "
                "so most groups carry no signal"
            )
        if self.rollouts < FEW_ROLLOUTS:
            obstacles.append(
                f"{self.rollouts:,} rollouts are few: no past run with fewer than "
                f"{FEW_ROLLOUTS:,} gained more than 3 points"
            )
        if self.pilot and self.pilot.ci95[1] < 0:
            obstacles.append(f"{self.pilot.describe()}: a loss")
        return obstacles

    @property
    def alternative(self) -> str:
        """Return what is cheaper to try."""
        if self.headroom.mean_at_1 >= NEARLY_SOLVED:
            return "harder problems, or stop here"
        if self.untaught and self.has_many_chains:
            return (
                f"teach the right chains of {self.untaught:,} more problems "
                "(distill.use_unguided_when_missing), or the policy's own right samples (RFT)"
            )
        if self.lives_on_routes and not self.has_harvest:
            other = "" if self.has_transfer else ", or train.fade.transfer in the same training"
            return (
                "its own right samples with routes, taught without them (rounds: 2 and "
                f"distill.every_round){other}"
            )
        if self.is_learned_by_heart:
            return (
                "guided chains for more problems: on chains that it was not taught the loss is "
                f"{self.held_out_loss:.2f}, on taught ones {self.taught_loss:.2f}"
            )
        return "longer distillation (distill.sft.max_steps), as long as the held-out loss falls"

    @property
    def is_learned_by_heart(self) -> bool:
        """Return whether the policy knows the taught chains much better than others."""
        if self.taught_loss is None or self.held_out_loss is None:
            return False
        return self.held_out_loss > BY_HEART * self.taught_loss

    def describe(self) -> str:
        """Return the forecast as one paragraph."""
        found, n = self.headroom, self.headroom.samples
        split = "training" if self.measured_on == "train" else self.measured_on
        text = (
            f"Forecast: reinforcement learning is {self.outlook}. On {found.problems} {split} "
            f"problems, {n} samples each: mean@1 {found.mean_at_1:.1%}, majority@{n} "
            f"{found.majority_at_n:.1%}, pass@{n} {found.pass_at_n:.1%}, mixed groups "
            f"{found.mixed_share:.1%}, advantage variance {found.advantage_variance:.3f}; "
            f"{self.no_chain_share:.0%} of the problems have no right chain; {self.rollouts:,} "
            "rollouts."
        )
        if self.with_routes is not None:
            text += f" With routes mean@1 is {self.with_routes:.1%}."
        if self.pilot:
            text += f" Measured: {self.pilot.describe()}."
        if self.obstacles:
            text += f" Against it: {'; '.join(self.obstacles)}."
        elif self.has_many_chains:
            text += (
                f" {1 - self.no_chain_share:.0%} of the problems have a right chain, and imitating "
                "them gained more in six of seven past comparisons."
            )
        return f"{text} Cheaper to try first: {self.alternative}."

    def to_json(self) -> dict[str, Any]:
        """Return the content of headroom.json."""
        row = asdict(self)
        figures: dict[str, Any] = row.pop("headroom")
        del row["has_transfer"], row["has_harvest"]  # settings, not figures
        return figures | row | {"outlook": self.outlook, "forecast": self.describe()}


def measure_pilot(rollouts: int, before: Sequence[float], after: Sequence[float]) -> Pilot:
    """Return what a pilot gained, from each problem's share of right samples before and after.

    >>> measure_pilot(100, [0.5, 0.0, 0.5], [0.5, 0.5, 1.0]).gain
    0.3333333333333333
    """
    differences = [new - old for old, new in zip(before, after, strict=True)]
    gain = fmean(differences)
    # Normal, not Student's: there are a hundred problems or so.
    half = 1.96 * stdev(differences) / sqrt(len(differences)) if len(differences) > 1 else 1.0
    return Pilot(rollouts=rollouts, gain=gain, ci95=(gain - half, gain + half))
