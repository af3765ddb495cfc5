"""Self-consistency (Wang et al., arXiv 2203.11171): the majority of the model's own samples, and what they cost together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from realm.verify.vote import majority


def vote(
    samples: Sequence[Mapping[str, Any]],
    extract: Callable[[str], Any],
    same: Callable[[Any, Any], bool],
) -> Any | None:
    """Return the answer that most samples of one problem give, the earlier of equals; `None` where none says anything."""
    return majority(answers_of(samples, extract), same)


def answers_of(samples: Sequence[Mapping[str, Any]], extract: Callable[[str], Any]) -> list[Any]:
    """Return the extracted answer of each sample, as rows of an answers file; `None` for what is not said."""
    said = [sample["judgement"]["answer"] for sample in samples]
    return [None if text is None else extract(text) for text in said]
