"""Rules in the prompt: the model is asked with the rule book before the question, every time."""

from __future__ import annotations

import re


def with_rules(question: str, rules: str, template: str) -> str:
    """Return the question with the rules before it, as `template` says; a field name inside either of them stays text.

    >>> with_rules("How much?", "1. Half.", "{rules}\\n{question}")
    '1. Half.\\nHow much?'
    """
    values = {"question": question, "rules": rules.strip()}
    return re.sub(r"\{(question|rules)\}", lambda match: values[match[1]], template)
