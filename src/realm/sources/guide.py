"""Cut a guide to a budget of tokens: split it into rules or passages, keep those nearest to the question, in their order.

What a unit scores depends on the unit and the question only, never on the other units or problems (as the rarity of a word
over all units would), and a unit that does not fit makes no room for a worse one to lose. So an edited rule changes the
prompts that show it, before or after the edit, and no other: only those are asked, and paid for, again.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

_HEADING = re.compile(r"#{1,6}\s+\S")
_NUMBERED = re.compile(r"\s{0,3}\d{1,4}[.)]\s+\S")
_WORD = re.compile(r"\w+")
_SATURATION = 1.2
"""How soon more of the same word counts no more, as k1 of BM25."""
_USUAL_WORDS = 40
"""A unit of so many words is neither long nor short, as the average length of BM25, but fixed."""
_LENGTH = 0.75
"""How much a long unit is held back, as b of BM25."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A rule or a passage: what is shown or left out as a whole."""

    headings: tuple[str, ...]
    """The headings that it stands under, the outermost first."""
    text: str
    rule: bool
    """It is a numbered rule; else it is free text."""

    @property
    def digest(self) -> str:
        """Return a short hash of what a prompt shows of the unit."""
        return hashlib.sha256("\n".join((*self.headings, self.text)).encode()).hexdigest()[:12]


def split_guide(text: str, unit: Literal["rule", "passage"]) -> list[Unit]:
    """Return the units of a Markdown text: numbered rules and the paragraphs between them, or paragraphs only.

    >>> [part.text for part in split_guide("# Fees\\nIn dollars.\\n1. A scan is 9.\\n   Always.\\n2. A test is 5.", "rule")]
    ['In dollars.', '1. A scan is 9.\\n   Always.', '2. A test is 5.']
    """
    units: list[Unit] = []
    headings: list[str] = []
    lines: list[str] = []

    def close() -> None:
        if lines:
            text = "\n".join(lines)
            units.append(
                Unit(
                    headings=tuple(headings),
                    text=text,
                    rule=bool(_NUMBERED.match(text)) and unit == "rule",
                )
            )
            lines.clear()

    for line in text.splitlines():
        if _HEADING.match(line):
            close()
            level = len(line) - len(line.lstrip("#"))
            headings[:] = [
                heading for heading in headings if len(heading) - len(heading.lstrip("#")) < level
            ]
            headings.append(line.strip())
        elif not line.strip():
            close()
        else:
            if unit == "rule" and _NUMBERED.match(line):
                close()
            lines.append(line.rstrip())
    close()
    return units


def cut_guide(units: Sequence[Unit], question: str, tokens: int) -> list[Unit]:
    """Return the units nearest to `question` that fit into `tokens`, in their order; all of them where all fit.

    Free text beside rules (what the amounts mean, how an answer is written) goes first, then the rules by nearness.
    """
    nearest = sorted(
        range(len(units)),
        key=lambda place: (units[place].rule, -_score(units[place].text, question), place),
    )
    kept, left = set(), tokens
    for place in nearest:
        size = _size(units[place])
        if size <= left:
            kept.add(place)
            left -= size
    return [unit for place, unit in enumerate(units) if place in kept]


def render_guide(units: Sequence[Unit]) -> str:
    """Return the text of the units, each heading once, where the first unit under it stands."""
    parts: list[str] = []
    before: tuple[str, ...] = ()
    for unit in units:
        new = [
            heading
            for place, heading in enumerate(unit.headings)
            if unit.headings[: place + 1] != before[: place + 1]
        ]
        parts += ["", *new] if new else [] if unit.rule else [""]
        parts.append(unit.text)
        before = unit.headings
    return "\n".join(parts).strip()


def estimate_tokens(text: str) -> int:
    """Return about how many tokens `text` makes: four bytes each, whatever the tokenizer."""
    return math.ceil(len(text.encode()) / 4)


def _size(unit: Unit) -> int:
    """Return the tokens of a unit, its headings always counted, so that a unit's size does not depend on the others."""
    return estimate_tokens("\n".join((*unit.headings, unit.text)) + "\n")


def _score(text: str, question: str) -> float:
    """Return how near a unit is to a question: BM25 with a word's length in the place of its rarity."""
    words = [word.lower() for word in _WORD.findall(text)]
    counts, asked = Counter(words), {word.lower() for word in _WORD.findall(question)}
    damping = _SATURATION * (1 - _LENGTH + _LENGTH * len(words) / _USUAL_WORDS)
    return sum(
        math.log(1 + len(word)) * counts[word] * (1 + _SATURATION) / (counts[word] + damping)
        for word in asked & set(counts)
    )
