"""The baselines that need no training: verdicts, choices, and rules in the prompt."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from realm.method.parse import parse_completion
from realm.verify.verifier import majority

# At most four digits: a longer number names no candidate, and int() of a huge one is slow.
_NUMBER = re.compile(r"\d{1,4}")


def pick_soundest(
    answers: Sequence[Any],
    verdicts: Sequence[bool | None],
    same: Callable[[Any, Any], bool | None],
) -> Any | None:
    """Return the answer that best of N takes by the model's own verdicts on the candidates.

    It is the majority of the candidates called sound. If there are none, it is the majority of
    those that got no verdict, and else of all.

    >>> pick_soundest(["7", "8", "8"], [True, False, False], str.__eq__)
    '7'
    """
    # The first group that holds an answer decides.
    for accepted in ((True,), (None,), (True, None, False)):
        candidates = [
            answer
            for answer, verdict in zip(answers, verdicts, strict=True)
            if verdict in accepted and answer is not None
        ]
        if candidates:
            return majority(candidates, same)
    return None


def read_choice(
    completion: str, num_candidates: int, *, think_end: str | None = None
) -> int | None:
    """Return the index of the candidate that a completion picks, or `None` if it picks none.

    The last number that names a candidate counts.

    >>> read_choice("The most consistent response is <answer>Response 2</answer>", 4)
    1
    """
    said = parse_completion(completion, 0, think_end=think_end).answer or ""
    numbers = [int(number) for number in _NUMBER.findall(said)]
    # The prompt counts from 1, and a model may name a number that no candidate has.
    valid = [number - 1 for number in numbers if 1 <= number <= num_candidates]
    return valid[-1] if valid else None


def pick_chosen(
    answers: Sequence[Any], completion: str, *, think_end: str | None = None
) -> Any | None:
    """Return the answer of the candidate picked; no pick counts as the first candidate."""
    index = read_choice(completion, len(answers), think_end=think_end)
    return answers[index or 0] if answers else None


def add_rules(question: str, rules: str, template: str) -> str:
    """Return the question with the rule book before it, as `template` says.

    All fields are replaced at once, so that a field name inside the rules or the question stays
    text.

    >>> add_rules("How much?", "1. Half.", "{rules}\\n{question}")
    '1. Half.\\nHow much?'
    """
    values = {"question": question, "rules": rules.strip()}
    return re.sub(r"\{(question|rules)\}", lambda match: values[match[1]], template)
