"""The bundled vertical domain: health-insurance claims, decided by a rule book (rules.md)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files

from realm.core.records import Problem
from realm.domains.claims.generate import generate

CODES = ("lapsed", "excluded", "late", "approval", "network")
_ANSWER = re.compile(rf"\b(?:pay\s+\$?(\d+)|deny\s+({'|'.join(CODES)}))\b", re.IGNORECASE)


class ClaimsDomain:
    """Claims to decide: the answer is `pay N` or `deny CODE`."""

    name = "claims"

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self.sizes = sizes
        self.rules = files(__package__).joinpath("rules.md").read_text(encoding="utf-8")

    def problems(self, seed: int) -> list[Problem]:
        """Return the problems of every split, drawn from `seed`."""
        return list(generate(self.sizes, seed))

    def extract(self, text: str) -> str | None:
        """Return the last decision that `text` states, as `pay 19` or `deny late`; `None` when it states none."""
        found = _ANSWER.findall(text)
        if not found:
            return None
        amount, code = found[-1]
        return f"pay {int(amount)}" if amount else f"deny {code.lower()}"

    def same(self, answer: str | None, gold: str) -> bool:
        """Tell whether an extracted answer is the gold answer."""
        return answer == gold

    def same_all(self, pairs: Sequence[tuple[str | None, str]]) -> list[bool]:
        """Return `same` of each pair."""
        return [self.same(answer, gold) for answer, gold in pairs]

    def show(self, answer: str) -> str:
        """Return the answer as a completion writes it."""
        return answer
