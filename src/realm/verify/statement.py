"""What a sentence states, for an answer that a text gives as "Ann won 7 games in 2004" and not as "7"."""

from __future__ import annotations

import re
from functools import lru_cache

from realm.verify.normal import NUMBER_WORDS, read_number, with_iso_times

_MENTION = re.compile(
    r"(?<![\w.,:/)-])(?:(?P<date>\d{4}[-/]\d{2,4}(?:-\d{2})?)|(?P<time>\d+(?::\d\d)+(?:\.\d+)?)|(?P<year>(?:1[5-9]|20)\d\d)|"
    rf"(?P<ordinal>\d+(?:st|nd|rd|th))|(?P<count>[-+]?[$€£]?(?:\d{{1,3}}(?:,\d{{3}})+|\d+)(?:\.\d+)?%?|{'|'.join(NUMBER_WORDS)}))"
    r"(?![\w/]|[.,:-]\d)",
    re.IGNORECASE,
)
"""A date or season, a time, a year, a rank or a count; ranges such as "14-15" and codes such as "3a" are none of them."""

_BOUND = re.compile(
    r"(?:\b(?:at (?:least|most)|than|over|under|above|below|before|after|between|top|between \S+ and)|[<>])\s+$",
    re.IGNORECASE,
)
"""What stands before the number of "at least 10": a condition, no count."""
_LABELLED = re.compile(
    r"(?:\b[A-Z]\w*\.?|\b(?:no\.|number|season|episode|round|match|pick|tier|division|week|day)|#)\s*$"
)
"""What stands before the number of "Division 1", "pick number 3", "No. 82": a name, no count."""
_CONDITION = re.compile(r"\b(?:who|that|which|whose|where|when|than|compared)\b|$")
_SIDES = re.compile(
    r"\b(?:above|below|over|under|more|less|fewer|higher|lower|before|after|greater)\b"
)
_EXCLUDES = re.compile(
    r"\b(?:not|no|neither|nor|either|except|without|unlike|instead|rather|than|compared|equal|tie|possibly|perhaps)\b",
    re.IGNORECASE,
)
_SECOND = re.compile(
    r"(?:[,;/&-]|\b(?:and|or|before|after|behind|above|below|over|like|with|against|ahead of|follow\w*(?: by)?))\s*(?:the\s+)?$",
    re.IGNORECASE,
)
"""What stands before an item that only another one leads to: "Ann and Bo", "Ann, ahead of Bo"."""
_LISTED = re.compile(r"\.?\s*(?:[,;/&-]|(?:and|or|of)\b)|.*\b(?:and|or) (?:the )?[A-Z]")
_NAME_BEFORE = re.compile(r"(?:\b(?!(?:The|An?|In|At|On|By|For|From|Both)\b)[A-Z][\w.'-]*\s+)+$")
_NAME_AFTER = re.compile(r"(?:\s+(?:[A-Z]|\d)[\w.'-]*)+")
_OTHER_NAME = re.compile(
    r"[\d-]|\b(?:new|north\w*|south\w*|east\w*|west\w*|state|no|i+|\w(?![.'\w]))\b", re.IGNORECASE
)
"""What makes a longer name another one, and no fuller form: "New Mexico", "Iowa State", "Super G", "Rocky II"."""


@lru_cache(maxsize=65536)
def states(sentence: str, item: str, last: bool = False) -> bool:
    """Tell whether `sentence` commits to `item`, and to no other of its kind; `item` is in normal form.

    A number is stated by the one number of its kind that is neither a bound ("at least 10") nor a name ("Division 1"), a side
    such as "above" by the one such word, anything else by its mention outside of a list or a comparison; with `last`, only by
    one that ends the sentence. A person's name may be fuller: "Ann Lee" states "Lee".

    >>> states("Ann won 7 games in 2004", "7"), states("Ann won 7 games in 2004", "2004")
    (True, True)
    >>> states("Bo is taller than Ann", "ann"), states("Bo and Ann", "ann"), states("Ann Lee is taller", "ann lee")
    (False, False, True)
    """
    sentence = re.sub(r"\s*\([^()]*\)|\"", "", with_iso_times(sentence.rsplit("=", 1)[-1])).strip(
        " ."
    )
    number = _MENTION.match(item)
    if number and not re.search(r"\d", item[number.end() :]):
        unit = item[number.end() :].strip().rstrip("s")
        found = {_value(written) for written in mentions(sentence, number.lastgroup)}
        return found == {_value(number[0])} and unit in sentence.casefold()
    if _SIDES.fullmatch(item):
        return set(_SIDES.findall(sentence.casefold())) == {item}
    if item in {"yes", "no"}:
        return sentence.casefold() == item
    named = re.search(
        rf"(?<![\w-]){re.escape(item)}(?![\w-]){'$' if last else ''}", sentence, re.IGNORECASE
    )
    return (
        named is not None
        and len(item) > 1
        and _answers(sentence[: named.start()], named[0], sentence[named.end() :])
    )


def mentions(sentence: str, kind: str = "count") -> list[str]:
    """Return the mentions of `kind` in `sentence`: counts that are no bound and no name, or the names where there is no other.

    >>> mentions("In Division 1 he won at least 10 games for 9 seasons")
    ['9']
    """
    found = [m for m in _MENTION.finditer(sentence) if m.lastgroup == kind]
    if kind == "count":
        found = [m for m in found if not _BOUND.search(sentence[: m.start()])]
        found = [m for m in found if not _LABELLED.search(sentence[: m.start()])] or found
    end = _CONDITION.search(sentence, found[0].end()).start() if found else 0
    return [m[0] for m in found if m.start() < end]


def _value(written: str) -> float | str:
    number = read_number(written)
    return written.casefold() if number is None else number


def _answers(before: str, item: str, after: str) -> bool:
    """Tell whether `item`, mentioned between `before` and `after`, is what the sentence commits to."""
    if _EXCLUDES.search(before) or _SECOND.search(before) or _LISTED.match(after):
        return False
    more = [match[0] for match in (_NAME_BEFORE.search(before), _NAME_AFTER.match(after)) if match]
    return (
        not item[0].isupper()
        or not more
        or (item.isalpha() and not any(_OTHER_NAME.search(part) for part in more))
    )
