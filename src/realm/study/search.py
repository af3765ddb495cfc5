"""What a search for settings has tried, and whether anything beats the settings of the config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from realm.config.yaml import format_override
from realm.core.records import to_row
from realm.evaluate.records import Comparison
from realm.evaluate.stats import holm, paired_difference, wilson_interval


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The values that are tried of one setting.

    They are few, so that trials share a distillation and the result is easy to read.
    Example: `Choice.around(0.002, [0.001, 0.002, 0.004])`.
    """

    values: tuple[float, ...]
    """In order, the config's among them."""
    start: float
    """The value of the config."""

    @classmethod
    def around(cls, start: float, others: Sequence[float]) -> Choice:
        """Return the choice between the value of the config and others."""
        return cls(values=tuple(sorted({start, *others})), start=start)


@dataclass(frozen=True, kw_only=True)
class TriedSettings:
    """One trial: settings, and what the model trained with them got right.

    Example: `TriedSettings(settings={"train.fade.end": 0.5}, right=(True, False), seconds=61.0)`
    has an accuracy of 0.5.
    """

    settings: Mapping[str, float]
    right: tuple[bool, ...]
    """Whether each validation problem was answered right, in the order of problems.jsonl."""
    seconds: float
    error: str = ""
    """Why there is no model: its training diverged. It then counts as right on nothing."""

    @property
    def accuracy(self) -> float:
        """Return the share of right answers."""
        return fmean(self.right)

    @property
    def ci95(self) -> tuple[float, float]:
        """Return the Wilson interval of the accuracy."""
        return wilson_interval(sum(self.right), len(self.right))

    def list_overrides(self, start: TriedSettings) -> list[str]:
        """Return the settings that are not those of the first trial, as `--set` takes them."""
        return [
            format_override(name, value)
            for name, value in self.settings.items()
            if value != start.settings[name]
        ]

    def describe(self, start: TriedSettings) -> str:
        """Return the settings that are not those of the first trial, in one line."""
        return " ".join(self.list_overrides(start)) or "the config as it is"


@dataclass(frozen=True, kw_only=True)
class Search:
    """What a search has found so far. The first trial has the settings of the config."""

    trials: Sequence[TriedSettings]
    comparisons: Sequence[Comparison]
    """Each further trial minus the first one, in order; p is corrected for their number (Holm)."""

    @property
    def best(self) -> TriedSettings:
        """Return the most accurate trial; of equal ones the earliest."""
        return max(self.trials, key=lambda trial: trial.accuracy)

    @property
    def gain(self) -> Comparison | None:
        """Return the comparison of the best trial with the first one; `None` if that is the best.

        The best of many is in part the luckiest, so on other problems the gain is smaller.
        """
        place = self.trials.index(self.best)
        return self.comparisons[place - 1] if place else None

    @property
    def is_better(self) -> bool:
        """Return whether there is evidence that the best trial beats the settings of the config."""
        return self.gain is not None and self.gain.finding == f"{self.gain.a} is better"

    @property
    def changed(self) -> dict[str, float]:
        """Return the settings of the best trial that differ from those of the config."""
        start = self.trials[0].settings
        return {name: one for name, one in self.best.settings.items() if one != start[name]}

    @property
    def seconds(self) -> float:
        """Return what all trials took."""
        return sum(trial.seconds for trial in self.trials)

    def to_json(self) -> dict[str, Any]:
        """Return the content of tune.json."""
        rows = [asdict(trial) | {"accuracy": trial.accuracy} for trial in self.trials]
        compared = [to_row(one) | {"finding": one.finding} for one in self.comparisons]
        return {"trials": rows, "comparisons": compared, "best": self.trials.index(self.best) + 1}


def summarize_search(trials: Sequence[TriedSettings], seed: int) -> Search:
    """Return the trials and their comparisons with the first one.

    Args:
        trials: The finished trials, that of the config first.
        seed: Of the bootstraps.
    """
    start = list(map(float, trials[0].right))
    found = [paired_difference(list(map(float, one.right)), start, seed=seed) for one in trials[1:]]
    corrected = holm([one.p_mcnemar for one in found if one.p_mcnemar is not None])
    comparisons = [
        Comparison(
            **asdict(one),
            family="validation",
            a=f"trial {number}",
            a_mode="autonomous",
            b="the config",
            b_mode="autonomous",
            split="validation",
            p_holm=p,
        )
        for number, (one, p) in enumerate(zip(found, corrected, strict=True), 2)
    ]
    return Search(trials=trials, comparisons=comparisons)
