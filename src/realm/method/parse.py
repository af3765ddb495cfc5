"""Read a completion. Model text is data: this never raises and never evaluates anything."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from realm.core.records import Judgement

if TYPE_CHECKING:
    from collections.abc import Iterator

# "Route 3:" at the start of a line, bare or as a Markdown bullet, heading, quote or bold text. No
# class has a line break: with one, a run of empty lines would take quadratic time.
_ROUTE_HEAD = re.compile(
    r"^[ \t*#>-]*route[ \t]+(\d{1,4})\b[ \t:.)*_-]*", re.IGNORECASE | re.MULTILINE
)
# The step that a check names is the first number in it: what should stand there may hold others.
_NAMED = re.compile(r"\[(\d{1,4})\]")
# The words in "not entirely sound" and "cannot be called sound" are some of a few: the check before
# a verdict may end in "does not hold", and "does not hold flawed" is flawed.
_VERDICT = re.compile(
    r"(?:(\b(?:not|cannot|never|hardly|neither|no(?: longer)?|far from|anything but)\s+|n['’]t\s+)"
    r"(?:(?:\w+ly|quite|so|an?|at all|be|being|been|called|considered|looks?|seems?|appears?)"
    r"\s+){0,3}|(?<![\w-]))(un-?)?(sound|flawed)\b",
    re.IGNORECASE,
)
# Two alternatives are no verdict: "sound or flawed".
_BOTH_VERDICTS = re.compile(
    r"\b(?:sound|flawed)(?: n?or |\s?[/?]\s?)(?:sound|flawed)\W*$", re.IGNORECASE
)
_TAGS = re.compile(r"</?(?:verify|reason|answer)>")


def parse_completion(text: str, num_routes: int, *, think_end: str | None = None) -> Judgement:
    """Return what a completion says: a verdict and a step per route, the reasoning, the answer.

    A verdict is read only inside the verification block and an answer only outside it, so that a
    route quoted in a check can be neither. A route that is judged in two ways is not judged: one
    of them may be a quotation, and naming every step must not pay.

    Args:
        text: The completion, special tokens included.
        num_routes: How many routes its prompt showed.
        think_end: The tag that ends private thinking, as "</think>". What comes before its last
            occurrence is the reasoning: neither verdicts nor an answer are read there. Thinking
            that never ends says nothing.

    >>> check = "Route 1: [2] should be 3 + 4 = 7: flawed"
    >>> said = parse_completion(f"<verify>{check}</verify><answer>7</answer>", 1)
    >>> said.verdicts, said.named, said.answer, said.well_formed
    ((False,), (2,), '7', False)
    """
    thought = None
    if think_end is not None:
        if think_end not in text:
            return Judgement(verdicts=(None,) * num_routes, named=(None,) * num_routes)
        thought, text = text.rsplit(think_end, 1)
        # The tag that opens it, if the template did not write it, is no part of the thought.
        thought = thought.strip().removeprefix(think_end.replace("/", "", 1)).strip()
    verification, outside = _split_verification(text)
    reasoning, answer = _find_last_block(outside, "reason"), _find_last_block(outside, "answer")
    if answer is None:
        # Models that were never taught the format state their answer in plain text.
        answer = re.sub(r"</?(?:reason|answer)>", "\n", outside).strip()
    said: list[set[tuple[bool | None, int | None]]] = [set() for _ in range(num_routes)]
    for number, check in _find_checks(verification):
        # A model may go on to judge routes that were not shown.
        if 1 <= number <= num_routes:
            said[number - 1].add(_read_check(check))
    judged = [one.pop() if len(one) == 1 else (None, None) for one in said]
    return Judgement(
        verdicts=tuple(verdict for verdict, _ in judged),
        named=tuple(number for _, number in judged),
        reasoning=reasoning or thought or None,
        answer=answer or None,
        well_formed=_is_well_formed(text, num_routes, thought),
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


def _read_check(check: str) -> tuple[bool | None, int | None]:
    """Return the verdict of a check and the step that it names; None for what is not said."""
    stated = _VERDICT.findall(check)
    if not stated or _BOTH_VERDICTS.search(check):
        return None, None
    negation, prefix, word = stated[-1]
    is_negated = bool(negation) != bool(prefix)  # "not unsound" is sound
    verdict = (word.lower() == "sound") != is_negated
    number = _NAMED.search(check)
    # A check that ends in "sound" names no step, whatever it said before.
    return verdict, int(number[1]) if number and not verdict else None


def _is_well_formed(text: str, num_routes: int, thought: str | None) -> bool:
    """Return whether the blocks asked for are there, once, in order, none empty, nothing after.

    A private thought takes the place of the block of reasoning.
    """
    if thought == "":
        return False
    wanted = ["verify"] * (num_routes > 0) + ["reason"] * (thought is None) + ["answer"]
    if _TAGS.findall(text) != [mark for tag in wanted for mark in (f"<{tag}>", f"</{tag}>")]:
        return False
    is_filled = all(_find_last_block(text, tag) for tag in wanted)
    return is_filled and text.rstrip().endswith("</answer>")
