"""Cut a guide to a budget of tokens: keep the rules or passages nearest to the question.

The score of a unit depends on that unit and the question only, not on other units or problems (as
the rarity of a word would). So an edited rule changes just the prompts that show it, before or
after the edit, and only those are asked, and paid for, again.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

# A Markdown heading, and a numbered item such as `12. ...` or `3) ...`.
_HEADING = re.compile(r"(#{1,6})\s+\S")
_NUMBERED = re.compile(r"\s{0,3}\d{1,4}[.)]\s+\S")
_WORD = re.compile(r"\w+")

# BM25 (Robertson and Zaragoza, 2009): k1 damps repeated words, b long units. The average length is
# a constant here, because a unit's score must not depend on the other units.
_K1, _B, _AVERAGE_WORDS = 1.2, 0.75, 40


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A rule or a passage, shown or left out as a whole.

    >>> Unit(headings=("# Fees",), text="1. A scan is 9.", is_rule=True).digest
    '26995d0aa141'
    """

    headings: tuple[str, ...]
    """The headings above it, the outermost first."""
    text: str
    is_rule: bool
    """Whether it is a numbered rule, or else free text."""

    @property
    def digest(self) -> str:
        """Return a short hash of what a prompt shows of the unit."""
        return hashlib.sha256("\n".join((*self.headings, self.text)).encode()).hexdigest()[:12]


def split_guide(text: str, unit: Literal["rule", "passage"]) -> list[Unit]:
    """Return the units of a Markdown text: rules and the paragraphs between them, or paragraphs.

    >>> guide = "# Fees\\nIn dollars.\\n1. A scan is 9.\\n   Always.\\n2. A test is 5."
    >>> [part.text for part in split_guide(guide, "rule")]
    ['In dollars.', '1. A scan is 9.\\n   Always.', '2. A test is 5.']
    """
    units: list[Unit] = []
    headings: list[str] = []
    lines: list[str] = []

    def close_unit() -> None:
        if lines:
            text = "\n".join(lines)
            is_rule = unit == "rule" and bool(_NUMBERED.match(text))
            units.append(Unit(headings=tuple(headings), text=text, is_rule=is_rule))
            lines.clear()

    for line in text.splitlines():
        if heading := _HEADING.match(line):
            close_unit()
            # A heading ends those of its own level and below.
            headings[:] = [above for above in headings if not above.startswith(heading[1])]
            headings.append(line.strip())
        elif not line.strip():
            close_unit()
        else:
            if unit == "rule" and _NUMBERED.match(line):
                close_unit()
            lines.append(line.rstrip())
    close_unit()
    return units


def cut_guide(units: Sequence[Unit], question: str, tokens: int) -> list[Unit]:
    """Return the units nearest to `question` that fit into `tokens`, in their order.

    Free text beside rules (what the amounts mean, how an answer is written) comes first.
    """

    def find_rank(place: int) -> tuple[bool, float, int]:
        return units[place].is_rule, -_score_unit(units[place].text, question), place

    # A unit that does not fit is skipped, and smaller ones further down may still fit.
    kept, left = set(), tokens
    for place in sorted(range(len(units)), key=find_rank):
        unit = units[place]
        # The headings count for each unit, so that its size does not depend on the others.
        size = estimate_tokens("\n".join((*unit.headings, unit.text)) + "\n")
        if size <= left:
            kept.add(place)
            left -= size
    return [unit for place, unit in enumerate(units) if place in kept]


def render_guide(units: Sequence[Unit]) -> str:
    """Return the text of the units, with each heading above the first unit under it."""
    parts: list[str] = []
    shown: tuple[str, ...] = ()
    for unit in units:
        common = 0
        while unit.headings[: common + 1] == shown[: common + 1] and common < len(unit.headings):
            common += 1
        new = unit.headings[common:]
        if new or not unit.is_rule:
            parts.append("")
        parts += [*new, unit.text]
        shown = unit.headings
    return "\n".join(parts).strip()


def estimate_tokens(text: str) -> int:
    """Return about how many tokens `text` has: four bytes each, whatever the tokenizer."""
    return math.ceil(len(text.encode()) / 4)


def _score_unit(text: str, question: str) -> float:
    """Return how near a unit is to a question: BM25 with a word's length for its rarity."""
    counts = Counter(_WORD.findall(text.lower()))
    asked = set(_WORD.findall(question.lower()))
    # The longer the unit, the more often a word must occur for the same score.
    damping = _K1 * (1 - _B + _B * counts.total() / _AVERAGE_WORDS)
    return sum(
        math.log(1 + len(word)) * counts[word] * (1 + _K1) / (counts[word] + damping)
        for word in asked & set(counts)
    )
