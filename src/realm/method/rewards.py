"""The reward of one completion: answer, verdicts, format and localization, each in [0, 1] and each logged by itself.

R = w_answer * [answer correct] + w_verdict * balanced(verdicts) + w_format * [all blocks present, once, in order]
    + w_localization * localization(checks), see `realm.method.steps`
"""

from __future__ import annotations

from collections.abc import Sequence

from realm.config.root import Reward
from realm.core.records import Judgement, Score


def balanced_verdicts(verdicts: Sequence[bool | None], labels: Sequence[bool]) -> float | None:
    """Return the mean of the accuracy on sound and the accuracy on flawed routes; `None` unless the set holds both.

    Paid on mixed sets only, where every constant verdict earns exactly 1/2: were sets of one class paid as well, "always
    sound" would be the best policy wherever right routes are common. A verdict that is not said is not accurate.

    >>> balanced_verdicts([True, True, None], [True, False, False])
    0.5
    """
    assert len(verdicts) == len(labels), (verdicts, labels)
    if all(labels) or not any(labels):
        return None
    hits = [verdict is label for verdict, label in zip(verdicts, labels, strict=True)]
    on_sound = [hit for hit, label in zip(hits, labels, strict=True) if label]
    on_flawed = [hit for hit, label in zip(hits, labels, strict=True) if not label]
    return (sum(on_sound) / len(on_sound) + sum(on_flawed) / len(on_flawed)) / 2


def score(
    judgement: Judgement,
    labels: Sequence[bool],
    correct: bool,
    weights: Reward,
    *,
    localization: float | None = None,
) -> Score:
    """Return the reward terms of one completion and their weighted sum.

    `labels` are the true verdicts of the routes that its prompt showed (none: an autonomous prompt), `correct` tells
    whether the verifier accepts its answer.
    """
    answer, form = float(correct), float(judgement.well_formed)
    verdict = balanced_verdicts(judgement.verdicts, labels)
    total = weights.answer * answer + weights.verdict * (verdict or 0.0) + weights.format * form
    total += weights.localization * (localization or 0.0)
    return Score(
        answer=answer, verdict=verdict, format=form, localization=localization, total=total
    )
