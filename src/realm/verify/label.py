"""One of few labels, such as "deny late", "B" or "pay 19": compared without case, brackets and currency signs."""

from __future__ import annotations

import re
from typing import Any

from realm.verify.extract import final_answer
from realm.verify.normal import plain


def extract(text: str) -> str | None:
    """Return the final answer as it is written, or `None`."""
    return final_answer(text)


def same(answer: Any, gold: Any) -> bool:
    """Tell whether two labels are equal but for case, brackets, quotes and currency signs."""
    return answer is not None and gold is not None and _normal(answer) == _normal(gold)


def show(answer: Any) -> str:
    """Return `answer` as text."""
    return str(answer)


def _normal(value: Any) -> str:
    text = re.sub(r"[$€£](?=\s?\d)", "", plain(str(value)))
    text = re.sub(r"(?<=\d),(?=\d{3}\b)|(?<=\d)\.00?\b", "", text)
    return " ".join(re.sub(r"[()\[\]{}\"'*]", " ", text).strip(" .,;:!?").replace("_", " ").split())
