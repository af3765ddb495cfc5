"""Normal forms that several answer kinds share: plain text, numbers, dates."""

from __future__ import annotations

import re
import unicodedata

_QUOTES = str.maketrans(
    {**dict.fromkeys("“”„«»″", '"'), **dict.fromkeys("‘’‚′`´", "'"), **dict.fromkeys("‐‑‒–—−", "-")}
)
_TO_TEN = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_TO_TWENTY = (
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
)
NUMBER_WORDS = {word: value for value, word in enumerate(_TO_TEN + _TO_TWENTY)} | {
    "once": 1,
    "twice": 2,
    "thrice": 3,
}
_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}
_MONTH = rf"({'|'.join(_MONTH_NAMES)})[a-z]*\.?"
_DAY = r"(\d{1,2})(?:st|nd|rd|th)?"
_DURATION = re.compile(
    r"\b(\d+) ?h(?:ours?)?,? (\d+) ?(?:'|m(?:in(?:ute)?s?)?),? (?:and )?(\d+) ?(?:''|\"|s(?:ec(?:ond)?s?)?(?!\w))",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|[-+]?\.\d+")


def plain(text: str) -> str:
    """Return `text` in lower case, without accents, with plain quotes and dashes and single spaces.

    >>> plain("Samuel  SÁNCHEZ – ‘x’")
    "samuel sanchez - 'x'"
    """
    return _unaccented(text).casefold()


def read_number(text: str) -> float | None:
    """Return the number that `text` is: digits with or without thousands separators, a currency sign or %, a fraction, a word.

    >>> read_number("$1,234.50"), read_number("seven"), read_number("3/4"), read_number("7 days")
    (1234.5, 7, 0.75, None)
    """
    text = plain(text).strip().rstrip(".%").lstrip("$€£¥").replace(" %", "").strip()
    text = re.sub(r"^([-+])\s*[$€£¥]?\s*", r"\1", text)
    if text in NUMBER_WORDS:
        return NUMBER_WORDS[text]
    fraction = re.fullmatch(r"([-+]?\d+)\s*/\s*(\d+)", text)
    if fraction and int(fraction[2]):
        return int(fraction[1]) / int(fraction[2])
    if not _NUMBER.fullmatch(text) or len(text) > 30:
        return None
    value = float(text.replace(",", ""))
    return int(value) if value.is_integer() else value


def find_numbers(text: str) -> list[str]:
    """Return the numbers written in digits inside `text`, in order, as they are written."""
    return [
        match[0]
        for match in re.finditer(r"(?<![\w.])" + f"(?:{_NUMBER.pattern})" + r"(?!\w)", text)
    ]


def with_iso_times(text: str) -> str:
    """Return `text` without accents, with plain quotes, dashes and spaces, and with its dates and durations in digits.

    >>> with_iso_times("November 13, 1983 and 16 May 2013 and February 1795 and 1914-1915 and 5 h, 29 min and 10 s")
    '1983-11-13 and 2013-05-16 and 1795-02 and 1914-15 and 5:29:10'
    """
    text = _DURATION.sub(r"\1:\2:\3", _unaccented(text))
    text = re.sub(
        rf"\b{_MONTH} {_DAY},? (\d{{4}})\b",
        lambda m: _iso(m[3], m[1], m[2]),
        text,
        flags=re.IGNORECASE,
    )
    text = re.sub(
        rf"\b{_DAY} (?:of )?{_MONTH},? (\d{{4}})\b",
        lambda m: _iso(m[3], m[2], m[1]),
        text,
        flags=re.IGNORECASE,
    )
    text = re.sub(r"\b(\d\d)(\d\d)-\1(\d\d)\b", r"\1\2-\3", text)
    return re.sub(
        rf"\b{_MONTH},? (\d{{4}})\b", lambda m: _iso(m[2], m[1], None), text, flags=re.IGNORECASE
    )


def _iso(year: str, month: str, day: str | None) -> str:
    return f"{year}-{_MONTHS[month.casefold()]:02d}" + (f"-{int(day):02d}" if day else "")


def _unaccented(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text.translate(_QUOTES))
    return " ".join("".join(c for c in letters if not unicodedata.combining(c)).split())
