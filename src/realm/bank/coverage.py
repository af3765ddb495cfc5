"""Which rules of the rule book the taught chains use, as far as their text tells."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from realm.verify.normal import fold_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from realm.core.records import Problem, Route

# "3. Text", with the lines below it up to the next number, heading or blank line.
_RULE = re.compile(r"^(\d+)\.\s+(.*(?:\n(?!\s*(?:\d+\.|#|$)).*)*)", re.MULTILINE)
# "rule 3", "rules no. 3", "R3".
_CITED = re.compile(r"\b(?:rules?|R)\s*(?:no\.?|number|#|§)?\s*(\d+)", re.IGNORECASE)
# Words of four letters or more, and numbers: shorter words say nothing of a rule.
_TERM = re.compile(r"[a-z][a-z-]{3,}|\d+(?:\.\d+)?")
_SHARED_BY = 2
"""A term that more rules than this use says of none of them that it was applied."""
_TERMS_NEEDED = 2


def numbered_rules(rule_book: str) -> dict[int, str]:
    """Return the rules of a Markdown rule book by their numbers.

    >>> numbered_rules("# Order\\n1. First\\n   things first.\\n2. Then the rest.")
    {1: 'First things first.', 2: 'Then the rest.'}
    """
    return {int(number): " ".join(text.split()) for number, text in _RULE.findall(rule_book)}


def used_rules(
    chain: Route, problem: Problem, rules: Mapping[int, str], terms: Mapping[int, set[str]]
) -> set[int]:
    """Return the rules that a chain uses.

    They are the rules that decide the problem, if it names them; else those that the chain cites by
    number, or of whose own `terms` it holds two.
    """
    known = problem.meta.get("rules")
    # `meta` is the user's and may hold anything.
    if isinstance(known, list):
        return set(known) & set(rules)
    said = set(_TERM.findall(fold_text(chain.text)))
    cited = {int(number) for number in _CITED.findall(chain.text)} & set(rules)
    return cited | {
        number
        for number, own in terms.items()
        # A short rule may have only one term of its own.
        if own and len(own & said) >= min(_TERMS_NEEDED, len(own))
    }


def own_terms(rules: Mapping[int, str]) -> dict[int, set[str]]:
    """Return the words and numbers of each rule that at most one other rule has."""
    terms = {number: set(_TERM.findall(fold_text(text))) for number, text in rules.items()}
    counts = Counter(term for own in terms.values() for term in own)
    return {
        number: {term for term in own if counts[term] <= _SHARED_BY}
        for number, own in terms.items()
    }


def rule_coverage(
    chains: Sequence[Route],
    routes: Iterable[Route],
    problems: Mapping[str, Problem],
    rule_book: str | None,
) -> dict[str, Any]:
    """Return how many rules there are, and those that none of `chains` uses.

    It is empty without a numbered rule book. If the teacher's prompts held parts of a guide,
    `guide_units` counts the parts that any of `routes` saw, and `guide_units_untaught` those of
    them that no taught chain saw.
    """
    units = {unit for route in routes for unit in route.guide}
    taught = {unit for chain in chains for unit in chain.guide}
    guide = (
        {"guide_units": len(units), "guide_units_untaught": len(units - taught)} if units else {}
    )
    rules = numbered_rules(rule_book or "")
    if not rules:
        return guide
    terms, used = own_terms(rules), set()
    for chain in chains:
        used |= used_rules(chain, problems[chain.problem_id], rules, terms)
    return {"rules": len(rules), "rules_unused": sorted(set(rules) - used)} | guide
