"""The bundled vertical domain: health-insurance claims, decided by a rule book (rules.md)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files

from realm.core.records import Problem
from realm.domains.claims.generate import generate
from realm.domains.domain import Domain
from realm.verify.verifier import Verifier

CODES = ("lapsed", "excluded", "late", "approval", "network")
_ANSWER = re.compile(rf"\b(?:pay\s+\$?(\d+)|deny\s+({'|'.join(CODES)}))\b", re.IGNORECASE)


class ClaimsDomain(Domain):
    """Claims to decide: the answer is `pay N` or `deny CODE`."""

    name = "claims"

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self.sizes = sizes
        self.verifier = ClaimsVerifier()
        self.rules = files(__package__).joinpath("rules.md").read_text(encoding="utf-8")

    def problems(self, seed: int) -> list[Problem]:
        """Return the problems of every split, drawn from `seed`."""
        return list(generate(self.sizes, seed))


class ClaimsVerifier(Verifier):
    """Reads the last decision that a text states; two decisions are equal as texts."""

    def __init__(self) -> None:
        super().__init__("label")

    def extract(self, text: str) -> str | None:
        """Return the last decision that `text` states, as `pay 19` or `deny late`; `None` when it states none."""
        found = _ANSWER.findall(text)
        if not found:
            return None
        amount, code = found[-1]
        return f"pay {int(amount)}" if amount else f"deny {code.lower()}"

    def same_all(self, pairs: Sequence[tuple[str | None, str]]) -> list[bool | None]:
        """Return whether each answer is its gold answer."""
        return [answer == gold for answer, gold in pairs]
