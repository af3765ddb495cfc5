"""A set of items, as WikiTableQuestions compares them: no order, numbers and dates by value."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import Any, Literal

from realm.verify.extract import BULLET, find_answer, unwrap_answer
from realm.verify.kinds import AnswerKind, normalize_text
from realm.verify.normal import MENTION, clean_span, fold_text, list_mentions, write_iso_times
from realm.verify.number import read_number

# Between two items: a comma (not that of 1,000), a semicolon, "and", a bullet, a bar.
_BETWEEN = re.compile(
    r"(?<!\d),\s*(?:and\s+)?|,\s+(?:and\s+)?|;\s*|\s+(?:and|&)\s+|\n+\s*(?:[-*•]\s+)?|\|"
)
_DATE_COMMA = re.compile(r"(\b[A-Za-z]{3,9}\.? \d{1,2}(?:st|nd|rd|th)?),(?= ?\d{4}\b)")
# Detail that an item may carry or lack: "Guam (GUM)", "Ann from Peru", "located in Peru"; but
# "7 (or 8)" is another answer.
_DETAIL = re.compile(
    r"(?<=\S) ?(?:\((?!or\b|\d+\))[^()]*\)|\[(?!or\b|\d+\])[^\[\]]*\])$|"
    r"(?<=\S) from (?:the )?[a-z][a-z' -]*$|"
    r"^(?:\w+ed )?(?:from|in|at|on|by) (?:the )?(?=[a-z])"
)
_BRACKETS = re.compile(r"\(([^()]*)\)|\[([^\[\]]*)\]")
# A list as code writes it: "[a, b]", "{a, b}".
_ENCLOSED = re.compile(r"[\[({]([^\[\](){}]*,[^\[\](){}]*)[\])}]")
_MOST_DETAILS = 3
"""Details of one item, as in "located in Peru (PER)"."""
_TRUTH = {"true": "yes", "false": "no"}
# "15 mm", "season 2", "#2nd", "seven goals".
_QUANTITY = re.compile(
    r"(?:(?P<name>no|nr|number|pick|rank|place|position|season|episode|round|match|week|day|year"
    r"|grade|age|division|tier|level|about|around|approximately|exactly|only|usd)\.? )?"
    r"#?(?P<number>[-+]?[$€£]?[\d,]*\.?\d+|\b[a-z]+)(?:(?:st|nd|rd|th)\b|%)?"
    r"(?:[ -]+(?P<unit>[a-z][a-z /'-]{0,40}))?"
)
_WORDS_OF_STATEMENT = 3
"""Spaces between commas that tell a sentence from a list of items."""
_MOST_ITEMS = 200
"""Items of a set; nothing equals a larger one."""
_LONGEST = 10_000
"""Characters of a set; nothing equals a longer one."""

_SIDES = re.compile(
    r"\b(?:above|below|over|under|more|less|fewer|higher|lower|before|after|greater)\b"
)
_EXCLUDES = re.compile(
    r"\b(?:not|no|neither|nor|either|except|without|unlike|instead|rather|than|compared|equal|tie"
    r"|possibly|perhaps|vs|versus)\b",
    re.IGNORECASE,
)
# Before an item that only another one leads to: "Ann and Bo", "Ann, ahead of Bo".
_SECOND = re.compile(
    r"(?:[,;/&|(-]|\b(?:and|or|before|after|behind|above|below|over|like|with|against|ahead of"
    r"|follow\w*(?: by)?))\s*(?:the\s+)?$",
    re.IGNORECASE,
)
# Behind an item that is one of several: "Ann, Bo", "Ann won and Bo".
_LISTED = re.compile(r"\.?\s*(?:[,;/&|(-]|(?:and|or|of|vs)\b)|.*\b(?:and|or) (?:the )?[A-Z]")
_NAME_BEFORE = re.compile(r"(?:\b(?!(?:The|An?|In|At|On|By|For|From|Both)\b)[A-Z][\w.'-]*\s+)+$")
_NAME_AFTER = re.compile(r"(?:\s+(?:[A-Z]|\d)[\w.'-]*)+")
_INITIAL = re.compile(r"(?:\s*[A-Z]\.)+\s*")
# What makes a longer name another one, and no fuller form: "New Mexico", "Iowa State", "Rocky II".
_OTHER_NAME = re.compile(
    r"[\d-]|\b(?:new|north\w*|south\w*|east\w*|west\w*|state|no|i+|\w(?![.'\w]))\b", re.IGNORECASE
)


class SetAnswer(AnswerKind):
    """A set of items, without order.

    Items of an answer taken from prose end with a full stop: only there may a longer statement,
    such as "Ann won 7 games.", stand for the item 7. What an answer tag holds is exact.
    """

    kind: Literal["set"] = "set"

    def read(self, span: str) -> list[str] | None:
        """Return the items that `span` lists, as they are written."""
        span = unwrap_answer(span)
        lines = [line for line in span.split("\n") if line.strip()]
        if len(lines) > 1 and all(map(BULLET.match, lines)):
            span = "\n".join(BULLET.sub("", line) for line in lines)
        enclosed = _ENCLOSED.fullmatch(span)
        return split_items(enclosed[1] if enclosed else span) or None

    def find(self, text: str) -> list[str] | None:
        """Return the items of the final answer, or a sentence that may state them.

        >>> SetAnswer().find("The answer is Japan and South Korea.")
        ['Japan', 'South Korea']
        """
        found = find_answer(text)
        if found is None:
            return None
        if not found.text:
            return [f"{found.sentence}."]
        items = self.read(found.sentence or found.text) or []
        # A list of short items states none of them alone.
        is_list = len(items) > 1 and all(item.count(" ") < _WORDS_OF_STATEMENT for item in items)
        if items and found.sentence and not is_list:
            items[-1] += "."
        return items or None

    def same(self, answer: Any, gold: Any) -> bool:
        """Return whether two sets hold the same items.

        Both sides are split at commas, semicolons and "and", so "Newbury, Ohio" equals itself. A
        quantity equals another of the same value if their units agree or one has none.

        >>> sets = SetAnswer()
        >>> sets.same(["South Korea (KOR)", "Japan"], "Japan, South Korea")
        True
        >>> sets.same(["1,000 km"], [1000]), sets.same(["8 km"], ["8 miles"])
        (True, False)
        >>> sets.same(["Ann won 7 games."], ["7"]), sets.same(["Ann is above Bo."], ["Bo"])
        (True, False)
        """
        left, right = _list_normals(answer), _list_normals(gold)
        if len(left) == len(right) > 0 and _covers(left, right) and _covers(right, left):
            return True
        statement, item = _join(answer)[:_LONGEST], _normalize_whole(gold)
        if not statement.endswith("."):
            return False
        return _states(statement, item) or _states(_join(gold), _normalize_whole(answer), last=True)

    def make_exact(self, answer: Any) -> Any:
        """Return the items without the full stop that marks a sentence of prose."""
        *items, last = answer
        return [*items, last.removesuffix(".")]

    def render(self, answer: Any) -> str:
        """Return the items with commas between them."""
        return _join(answer).removesuffix(".")


def split_items(span: str) -> list[str]:
    """Return the items of a list in a sentence; the comma of a date ends none."""
    # A NUL stands for the comma of a date while the rest is split.
    parts = _BETWEEN.split(_DATE_COMMA.sub("\\1\0", span))
    items = (part.replace("\0", ",").strip() for part in parts)
    return [clean_span(item) or item for item in items if item]


def _join(value: Any) -> str:
    is_list = isinstance(value, list | tuple | set)
    return ", ".join(map(str, value)) if is_list else str(value)


def _list_normals(value: Any) -> tuple[str, ...]:
    """Return the normal form of each item, each once."""
    parts = value if isinstance(value, list | tuple | set) else [value]
    joined = " ; ".join(str(part).replace("\n", " ; ") for part in parts)
    return _split_normals(joined) if len(joined) <= _LONGEST else ()


@lru_cache(maxsize=65536)
def _split_normals(joined: str) -> tuple[str, ...]:
    items = map(_normalize, _BETWEEN.split(write_iso_times(joined)))
    distinct = tuple(dict.fromkeys(item for item in items if item))
    return distinct if len(distinct) <= _MOST_ITEMS else ()


def _normalize_whole(value: Any) -> str:
    return _normalize(write_iso_times(_join(value)[:_LONGEST]))


def _normalize(item: str) -> str:
    item = clean_span(item)
    enclosed = _BRACKETS.fullmatch(item.rstrip("."))
    item = (enclosed[1] or enclosed[2] or item) if enclosed else item
    for _ in range(_MOST_DETAILS):
        item = _DETAIL.sub("", normalize_text(item) if item.strip() else "")
    return _TRUTH.get(item, item)


def _covers(items: tuple[str, ...], others: tuple[str, ...]) -> bool:
    there = set(others)
    return all(item in there or any(_is_equal(item, other) for other in others) for item in items)


def _is_equal(left: str, right: str) -> bool:
    """Return whether two items are the same quantity, as "15 mm" and "15"."""
    a, b = _read_quantity(left), _read_quantity(right)
    if a is None or b is None or a[0] != b[0] or (a[2] and b[2] and a[2] != b[2]):
        return False
    return a[1].startswith(b[1]) or b[1].startswith(a[1])


@lru_cache(maxsize=65536)
def _read_quantity(item: str) -> tuple[Fraction, str, str | None] | None:
    """Return (value, unit, name) of "15 mm", "2nd", "seven goals", "season 2"; one goal, no s."""
    match = _QUANTITY.fullmatch(fold_text(item))
    number = read_number(match["number"]) if match else None
    if match is None or number is None:
        return None
    return number.value, " ".join((match["unit"] or "").split()).rstrip("s"), match["name"]


@lru_cache(maxsize=65536)
def _states(sentence: str, item: str, last: bool = False) -> bool:
    """Return whether `sentence` commits to `item`, a normal form, and to no other of its kind.

    A number is stated by the only number of its kind that is neither a bound ("at least 10") nor a
    name ("Division 1"); a side such as "above" by the only such word; anything else by its mention
    outside of a list or a comparison; with `last`, only by one that ends the sentence. A person's
    name may be fuller: "Ann Lee" states "Lee".
    """
    sentence = write_iso_times(sentence.rsplit("=", 1)[-1])
    sentence = re.sub(r" ?\((?!or\b|not\b)[^()]*\)|\"", "", sentence).strip(" .")
    number = MENTION.match(item)
    if number and not re.search(r"\d", item[number.end() :]):
        unit = item[number.end() :].strip().rstrip("s")
        found = {_read_value(written) for written in list_mentions(sentence, str(number.lastgroup))}
        return found == {_read_value(number[0])} and unit in sentence.casefold()
    if _SIDES.fullmatch(item):
        return set(_SIDES.findall(sentence.casefold())) == {item}
    if item in {"yes", "no"}:
        return sentence.casefold() == item
    end = "$" if last else ""
    named = re.search(rf"(?<![\w-]){re.escape(item)}(?![\w-]){end}", sentence, re.IGNORECASE)
    if named is None or len(item) < 2:
        return False
    return _is_answer(sentence[: named.start()], named[0], sentence[named.end() :])


def _read_value(written: str) -> Fraction | str:
    number = read_number(written)
    return written.casefold() if number is None else number.value


def _is_answer(before: str, item: str, after: str) -> bool:
    """Return whether `item`, between `before` and `after`, is what a sentence commits to."""
    if _EXCLUDES.search(before) or _SECOND.search(before) or _LISTED.match(after):
        return False
    around = [
        match[0] for match in (_NAME_BEFORE.search(before), _NAME_AFTER.match(after)) if match
    ]
    if not item[0].isupper() or not around:
        return True
    # A person's full name is two words and initials; more capitals in a row are a list of names.
    num_words = sum(len(_INITIAL.sub(" ", part).split()) for part in around)
    is_other = any(_OTHER_NAME.search(part) for part in around)
    return item.isalpha() and num_words <= 1 and not is_other
