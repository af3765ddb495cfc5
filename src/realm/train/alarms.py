"""Alarms over a training run: a sentence, once, when a figure of fade.jsonl stays where it shows a habit and no judgement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

PATIENCE = 5
"""Logged steps in a row that a figure must be beyond its bound."""

Row = Mapping[str, Any]


def _constant(row: Row, habit: str, other: str) -> bool | None:
    """Tell whether nearly all completions call all routes alike, although routes of the other class were shown."""
    missed = row.get(f"verdict_accuracy_{other}")
    return None if missed is None or row.get(habit) is None else row[habit] > 0.8 and missed < 0.2


def _format_only(row: Row) -> bool | None:
    answer, form = row.get("rewards/answer/mean"), row.get("rewards/format/mean")
    return None if answer is None or form is None else answer < 0.05 and form > 0.8


def _beyond(figure: str, bound: float) -> Callable[[Row], bool | None]:
    return lambda row: None if row.get(figure) is None else abs(row[figure]) > bound


_ALARMS: dict[str, tuple[Callable[[Row], bool | None], str]] = {
    "always sound": (
        lambda row: _constant(row, "always_sound", "flawed"),
        "over 80% of the completions call every route sound, flawed ones included. The verdicts judge nothing: distil with more "
        "assisted rows (distill.assisted_share) or raise train.reward.verdict.",
    ),
    "always flawed": (
        lambda row: _constant(row, "always_flawed", "sound"),
        "over 80% of the completions call every route flawed, sound ones included. The verdicts judge nothing: distil with more "
        "assisted rows (distill.assisted_share) or raise train.reward.verdict.",
    ),
    "position bias": (
        _beyond("position_bias", 0.4),
        "the first and the last route of a prompt are called sound with frequencies over 40 points apart, though their order is "
        "drawn. Verdicts go by place: show fewer routes (train.fade.routes) or distil with more assisted rows.",
    ),
    "copying the majority": (
        _beyond("copy_wrong_rate", 0.8),
        "over 80% of the answers repeat the routes' majority where it is wrong. The policy counts votes: raise "
        "train.mix.wrong_majority_share, or show routes less often (train.fade.dropout).",
    ),
    "format only": (
        _format_only,
        "the format term is nearly always paid and the answer term nearly never. The policy fills in blocks: lower "
        "train.reward.format, use easier problems, or distil first.",
    ),
    "groups without signal": (
        _beyond("frac_reward_zero_std", 0.8),
        "in over 80% of the groups all completions earn the same, so they teach nothing. Raise train.grpo.num_generations or "
        "the temperature, or take problems that are neither too easy nor too hard.",
    ),
}


class Watch:
    """Sees the rows of fade.jsonl one by one. What it says depends on them alone, so a continued run says what one run would."""

    def __init__(self) -> None:
        self._beyond: Counter[str] = Counter()
        self._raised: set[str] = set()

    def look(self, row: Row) -> list[str]:
        """Return the alarms that this row sets off; a row without a figure neither counts for it nor against it."""
        raised = []
        for name, (is_beyond, sentence) in _ALARMS.items():
            beyond = is_beyond(row)
            if beyond is None:
                continue
            self._beyond[name] = self._beyond[name] + 1 if beyond else 0
            if self._beyond[name] >= PATIENCE and name not in self._raised:
                self._raised.add(name)
                raised.append(f"{name}: for {PATIENCE} logged steps {sentence}")
        return raised
