"""The records of an evaluation: measurements, and the rows of results.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from realm.evaluate.stats import Difference

NO_EVIDENCE = "no evidence of a difference"
HARD = "hard problems"
"""The family of comparisons on `HARD_SPLITS`."""
HARD_SPLITS = ("hard", "own_hard")
"""Parts of the split `test`, see `realm.evaluate.measure.select_hard`."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What one method reached in one mode on one split with one seed.

    Example: `Measurement(mode="autonomous", split="test", outcomes={"p1:9f": 1.0, "p2:41": 0.0},
    tokens_per_problem=31.5, prompt_tokens_per_problem=80.0)` is an accuracy of 50%.
    """

    method: str = ""
    mode: str
    split: str
    seed: int = 0
    outcomes: dict[str, float]
    """Share of right answers by problem key (see `make_problem_key`)."""
    tokens_per_problem: float | None
    """`None` if nobody counted them."""
    prompt_tokens_per_problem: float | None = None
    source: str | None = None
    """Which routes were measured, if not those of assisted prompts: those of a source, or a kind
    of the probe."""
    figures: dict[str, Any] = field(default_factory=dict)
    """What else was measured, by name; docs/data.md lists the names."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The accuracy of one method in one mode on one split: a row of results.json.

    Example: `Evaluation(method="realm", mode="autonomous", split="test", seed=7, n=200,
    accuracy=0.82, ci95=(0.76, 0.87), tokens_per_problem=31.5)`.
    """

    method: str
    mode: str
    split: str
    seed: int | None
    """`None` if the row is over all of `seeds`."""
    n: int
    accuracy: float
    ci95: tuple[float, float]
    tokens_per_problem: float | None
    prompt_tokens_per_problem: float | None = None
    seeds: tuple[int, ...] = ()
    per_seed: tuple[float, ...] = ()
    source: str | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)
    """The figures of the measurement, or their means over the seeds."""


@dataclass(frozen=True, kw_only=True)
class Comparison(Difference):
    """How much `a` differs from `b` on the same problems: a row of results.json.

    Example: `print(results.difference("realm", "distilled"))` prints
    "realm - distilled, autonomous: +3.1 [+0.4, +5.9] points, realm is better".
    """

    family: str
    """Comparisons of one family are corrected together."""
    a: str
    a_mode: str
    b: str
    b_mode: str
    split: str
    """test, test_rules, test_larger, or drop: how much more accuracy `a` loses from test to
    test_rules."""
    margin: float = 0.0
    """The lead over the best other that the family claims, as a share."""
    p_holm: float | None = None
    """`p` corrected for the family; `None` if nothing was corrected."""
    seeds: tuple[int, ...] = ()

    @property
    def finding(self) -> str:
        """What the comparison shows, in words.

        An interval that contains 0 or a p of 0.05 or more is no evidence. The p decides where few
        problems were asked: 3 of 4 differ is p = 0.25, while the bootstrap's interval excludes 0.
        """
        low, high = self.ci95
        p = self.p_single if self.p_holm is None else self.p_holm
        if low <= 0 <= high or (p is not None and p >= 0.05):
            return NO_EVIDENCE
        if self.split == "drop":  # a positive difference is a larger loss
            return f"{self.a} drops {'more' if low > 0 else 'less'}"
        name, mode = (self.a, self.a_mode) if low > 0 else (self.b, self.b_mode)
        return f"{name} {mode} is better" if self.a == self.b else f"{name} is better"

    @property
    def p_single(self) -> float | None:
        """The p-value of this comparison alone, of the exact test if there is one."""
        return self.p if self.p_mcnemar is None else self.p_mcnemar

    @property
    def title(self) -> str:
        """What is compared, in few words, such as "realm: assisted - autonomous"."""
        if self.a == self.b:
            return f"{self.a}: {self.a_mode} - {self.b_mode}"
        if self.a_mode == self.b_mode:
            return f"{self.a} - {self.b}, {self.a_mode}"
        other = self.b if self.b_mode == "routes" else f"{self.b} {self.b_mode}"
        return f"{self.a} {self.a_mode} - {other}"

    def swap(self) -> Comparison:
        """Return the comparison of `b` with `a`."""
        low, high = self.ci95
        return replace(
            self,
            a=self.b,
            a_mode=self.b_mode,
            b=self.a,
            b_mode=self.a_mode,
            difference=-self.difference,
            ci95=(-high, -low),  # a change of sign swaps the bounds
            per_seed=tuple(-value for value in self.per_seed),
        )

    def __str__(self) -> str:
        low, high = (100 * bound for bound in self.ci95)
        points = f"{100 * self.difference:+.1f} [{low:+.1f}, {high:+.1f}] points"
        return f"{self.title}: {points}, {self.finding}"
