"""Read a completion. Model text is data: this never raises and never evaluates anything."""

from __future__ import annotations

import re
from collections.abc import Iterator

from realm.core.records import Judgement

_ROUTE_HEAD = re.compile(r"^[\s*#>-]*route\s+(\d{1,4})\b\W*", re.IGNORECASE | re.MULTILINE)
_VERDICT = re.compile(r"\b(?:(not|un-?)\s*)?(sound|flawed)\b", re.IGNORECASE)


def parse_completion(text: str, num_routes: int, *, think_end: str | None = None) -> Judgement:
    """Read one completion: a verdict per route, the reasoning, and the text that holds the final answer.

    A verdict is only read inside the verification block and an answer only outside it, so that a route quoted while it
    is checked can be neither. When a route is judged twice the last verdict wins; models correct themselves. With
    `think_end` (as "</think>"), everything up to its last occurrence is private thinking; thinking that never ends
    says nothing at all.

    >>> parse_completion("<verify>Route 1: 3 + 4 is 7, not 8. flawed</verify><reason>3 + 4 = 7</reason><answer>7</answer>", 1)
    Judgement(verdicts=(False,), reasoning='3 + 4 = 7', answer='7', well_formed=True)
    """
    if think_end is not None:
        if think_end not in text:
            return Judgement(verdicts=(None,) * num_routes)
        text = text.rsplit(think_end, 1)[1]
    verification, outside = _split_verification(text)
    reasoning, answer = _last_block(outside, "reason"), _last_block(outside, "answer")
    if answer is None:
        answer = re.sub(r"</?(?:reason|answer)>", "\n", outside).strip()
    return Judgement(
        verdicts=_verdicts(verification, num_routes),
        reasoning=reasoning,
        answer=answer or None,
        well_formed=_well_formed(text, num_routes),
    )


def parse_checks(
    text: str, num_routes: int, *, think_end: str | None = None
) -> tuple[str | None, ...]:
    """Return what the verification says of each route, verdict included; `None` where it says nothing of one.

    What is said last counts, as with the verdicts.

    >>> parse_checks("<verify>Route 1: 3 + 4 is 7, not 8. flawed</verify>", 2)
    ('3 + 4 is 7, not 8. flawed', None)
    """
    if think_end is not None:
        text = text.rpartition(think_end)[2] if think_end in text else ""
    verification, _ = _split_verification(text)
    checks: list[str | None] = [None] * num_routes
    for number, start, end in _parts(verification):
        if 1 <= number <= num_routes:
            checks[number - 1] = verification[start:end].strip()
    return tuple(checks)


def _split_verification(text: str) -> tuple[str, str]:
    """Return (inside, outside) of the verification block; one that is opened and never closed swallows the rest."""
    before, opened, rest = text.partition("<verify>")
    if not opened:
        return "", text
    inside, _, after = rest.rpartition("</verify>") if "</verify>" in rest else (rest, "", "")
    return inside, before + after


def _last_block(text: str, tag: str) -> str | None:
    """Return the inside of the last closed block; `None` where none is. Linear: a model may repeat a tag a thousand times."""
    before, closed, _ = text.rpartition(f"</{tag}>")
    inside = before.rpartition(f"<{tag}>")
    return inside[2].strip() if closed and inside[1] else None


def _verdicts(verification: str, num_routes: int) -> tuple[bool | None, ...]:
    verdicts: list[bool | None] = [None] * num_routes
    for number, start, end in _parts(verification):
        said = _VERDICT.findall(verification, start, end)
        if said and 1 <= number <= num_routes:
            negated, word = said[-1]
            verdicts[number - 1] = (word.lower() == "sound") != bool(negated)
    return tuple(verdicts)


def _parts(verification: str) -> Iterator[tuple[int, int, int]]:
    """Yield (route number, start, end) of what is said under each head."""
    heads = list(_ROUTE_HEAD.finditer(verification))
    ends = [head.start() for head in heads[1:]] + [len(verification)]
    for head, end in zip(heads, ends, strict=False):
        yield int(head[1]), head.end(), end


def _well_formed(text: str, num_routes: int) -> bool:
    """Tell whether the blocks asked for are there, once, in order, with something in each and nothing after the last."""
    wanted = ["verify"] * (num_routes > 0) + ["reason", "answer"]
    tags = re.findall(r"</?(?:verify|reason|answer)>", text)
    if tags != [mark for tag in wanted for mark in (f"<{tag}>", f"</{tag}>")]:
        return False
    return all(_last_block(text, tag) for tag in wanted) and text.rstrip().endswith("</answer>")
