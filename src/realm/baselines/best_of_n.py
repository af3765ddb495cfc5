"""Best of N by the policy's own verdicts: it judges candidates, and the answer that it calls sound most often is taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from realm.verify.vote import majority


def pick_soundest(
    answers: Sequence[Any], verdicts: Sequence[bool | None], same: Callable[[Any, Any], bool]
) -> Any | None:
    """Return the answer that most candidates called sound give; where none is, of those not called flawed; else of all.

    >>> pick_soundest(["7", "8", "8"], [True, False, False], str.__eq__)
    '7'
    """
    for wanted in ((True,), (None,), (True, None, False)):
        judged = [
            answer
            for answer, verdict in zip(answers, verdicts, strict=True)
            if verdict in wanted and answer is not None
        ]
        if judged:
            return majority(judged, same)
    return None
