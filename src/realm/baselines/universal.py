"""Universal self-consistency (Chen et al., arXiv 2311.17311): the model is shown several responses and picks one by number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from realm.core.records import RouteSet
from realm.method.parse import parse_completion
from realm.method.prompt import render_prompt

_NUMBER = re.compile(r"\d{1,4}")


def choice_prompt(question: str, candidates: RouteSet, template: str) -> str:
    """Return the prompt that shows the candidates, numbered from 1, and asks for one number."""
    return render_prompt(question, candidates, assisted=template)


def read_choice(
    completion: str, num_candidates: int, *, think_end: str | None = None
) -> int | None:
    """Return the place, from 0, of the candidate that a completion picks: the last number that is one; `None` for no number.

    >>> read_choice("The most consistent response is <answer>Response 2</answer>", 4)
    1
    """
    said = parse_completion(completion, 0, think_end=think_end).answer or ""
    numbers = [int(number) for number in _NUMBER.findall(said)]
    places = [number - 1 for number in numbers if 1 <= number <= num_candidates]
    return places[-1] if places else None


def chosen(answers: Sequence[Any], completion: str, *, think_end: str | None = None) -> Any | None:
    """Return the answer of the candidate picked; a completion that picks none counts as the first candidate."""
    place = read_choice(completion, len(answers), think_end=think_end)
    return answers[place or 0] if answers else None
