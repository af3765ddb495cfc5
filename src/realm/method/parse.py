"""Read a completion. Model text is data: this never raises and never evaluates anything."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from realm.core.records import Judgement

if TYPE_CHECKING:
    from collections.abc import Iterator

# "Route 3:" at the start of a line, bare or as a Markdown bullet, heading, quote or bold text. The
# class has no line break: with one, a run of empty lines would take quadratic time.
_ROUTE_HEAD = re.compile(r"^[ \t*#>-]*route\s+(\d{1,4})\b\W*", re.IGNORECASE | re.MULTILINE)
# The adverb in "not entirely sound" is one word of a few: the check before a verdict may end in
# "does not hold", and "does not hold flawed" is flawed.
_VERDICT = re.compile(
    r"(?:(\bnot\s+|n['’]t\s+|\bnever\s+|\bun-?)(?:(?:\w+ly|quite|so)\s+)?|(?<![\w-]))(sound|flawed)\b",
    re.IGNORECASE,
)
_TAGS = re.compile(r"</?(?:verify|reason|answer)>")


def parse_completion(text: str, num_routes: int, *, think_end: str | None = None) -> Judgement:
    """Return what a completion says: a check and a verdict per route, the reasoning, the answer.

    A verdict is read only inside the verification block and an answer only outside it, so that a
    route quoted in a check can be neither. If a route is judged twice the last verdict counts,
    since models correct themselves.

    Args:
        text: The completion, special tokens included.
        num_routes: How many routes its prompt showed.
        think_end: The tag that ends private thinking, as "</think>". What comes before its last
            occurrence is not read, and thinking that never ends says nothing.

    >>> said = parse_completion("<verify>Route 1: 3 + 4 = 7. flawed</verify><answer>7</answer>", 1)
    >>> said.verdicts, said.checks, said.answer, said.well_formed
    ((False,), ('3 + 4 = 7. flawed',), '7', False)
    """
    if think_end is not None:
        if think_end not in text:
            return Judgement(verdicts=(None,) * num_routes, checks=(None,) * num_routes)
        text = text.rsplit(think_end, 1)[1]
    verification, outside = _split_verification(text)
    reasoning, answer = _find_last_block(outside, "reason"), _find_last_block(outside, "answer")
    if answer is None:
        # Models that were never taught the format state their answer in plain text.
        answer = re.sub(r"</?(?:reason|answer)>", "\n", outside).strip()
    checks: list[str | None] = [None] * num_routes
    verdicts: list[bool | None] = [None] * num_routes
    for number, check in _find_checks(verification):
        # A model may go on to judge routes that were not shown.
        if 1 <= number <= num_routes:
            checks[number - 1] = check
            stated = _VERDICT.findall(check)
            if stated:
                negation, word = stated[-1]
                verdicts[number - 1] = (word.lower() == "sound") != bool(negation)
    return Judgement(
        verdicts=tuple(verdicts),
        checks=tuple(checks),
        reasoning=reasoning,
        answer=answer or None,
        well_formed=_is_well_formed(text, num_routes),
    )


def _split_verification(text: str) -> tuple[str, str]:
    """Return (inside, outside) of the verification block; an unclosed block takes all the rest."""
    before, opened, rest = text.partition("<verify>")
    if not opened:
        return "", text
    inside, _, after = rest.rpartition("</verify>") if "</verify>" in rest else (rest, "", "")
    return inside, before + after


def _find_last_block(text: str, tag: str) -> str | None:
    """Return the inside of the last closed block, or `None`.

    Linear in the text, since a model may repeat a tag a thousand times.
    """
    before, closed, _ = text.rpartition(f"</{tag}>")
    _, opened, inside = before.rpartition(f"<{tag}>")
    return inside.strip() if closed and opened else None


def _find_checks(verification: str) -> Iterator[tuple[int, str]]:
    """Yield (route number, what is said under it) for each head such as "Route 2:"."""
    heads = list(_ROUTE_HEAD.finditer(verification))
    ends = [head.start() for head in heads[1:]] + [len(verification)]
    for head, end in zip(heads, ends, strict=False):  # no head: nothing to yield
        yield int(head[1]), verification[head.end() : end].strip()


def _is_well_formed(text: str, num_routes: int) -> bool:
    """Return whether the blocks asked for are there, once, in order, none empty, nothing after."""
    wanted = ["verify"] * (num_routes > 0) + ["reason", "answer"]
    if _TAGS.findall(text) != [mark for tag in wanted for mark in (f"<{tag}>", f"</{tag}>")]:
        return False
    is_filled = all(_find_last_block(text, tag) for tag in wanted)
    return is_filled and text.rstrip().endswith("</answer>")
