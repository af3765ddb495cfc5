"""What several answer kinds share: repaired text, plain text, dates, and numbers in a sentence."""

from __future__ import annotations

import re
import unicodedata

LONGEST = 2000
"""Characters of an answer; a longer span is not an answer."""
MOST_MARKS = 50
"""Marks and boxes that are tried, the last ones of the text."""

BOX = re.compile(r"\\(?:boxed|fbox|framebox)\s*(?:\{|(?=\w))")
# Between two boxes that are one answer: "\boxed{3} or \boxed{5}". `*+` gives nothing back, so that
# a long run of spaces takes linear time.
_BETWEEN_BOXES = re.compile(
    r"[\s$]*+(?:,|;|,?\s*(?:and|or)(?: (?:maybe|perhaps|possibly))?"
    r"|,?\s*\\text\{\s*(?:and|or)\s*\})?[\s$]*+"
)
# Before a box that is not the answer: "the answer is not \boxed{7}".
_DENIED = re.compile(r"(?:\bnot|n't|\bnever)[ $]*$", re.IGNORECASE)
# Before a full stop that ends no sentence: "J." of a name, "Dr.", "U.S.", "vs."
ABBREVIATION = re.compile(
    r"(?:^|[\s.(])(?:[A-Z]|[A-Za-z]\.[A-Za-z]|Jr|Sr|Dr|Mr|Mrs|Ms|St|Mt|Rt|No|Nos|vs|Ph|etc"
    r"|Rs|Prof|Gen|Col|Capt|Lt|Gov|Sen|Inc|Ltd|Corp|approx|ca)$"
)

# Fullwidth forms, which East Asian text uses, one by one instead of by NFKC: NFKC would also
# turn 10² into 102.
_FULLWIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_DRESS = {"。": ". ", "、": ", ", "\u3000": " ", "\r": "\n", "【": "[", "】": "]"}
# What has no width and no meaning: two texts that look the same are the same.
_INVISIBLE = (0xAD, 0xFEFF, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x206A))
_REPAIRED = (
    str.maketrans(_DRESS) | _FULLWIDTH | str.maketrans("", "", "".join(map(chr, _INVISIBLE)))
)
# "\boxed" and "\frac" in a string that was unescaped once too often: a backspace and a form feed
# have no other meaning before these letters.
_UNESCAPED = re.compile(r"\x08(?=[a-z]{2})|\x0c(?=rac\b|box\b)")

_QUOTES = {
    **dict.fromkeys("“”„«»″", '"'),
    **dict.fromkeys("‘’‚′`´", "'"),
    **dict.fromkeys("‐‑‒–—−", "-"),
    "\u2044": "/",
}
# NFKD would turn x² into x2 and 2½ into 21/2, which are other values.
_POWER = re.compile("[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_FRACTIONS = {
    char: " " + unicodedata.normalize("NFKD", char).replace("\u2044", "/")
    for char in "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"
}
_PLAIN = str.maketrans({**_QUOTES, **_FRACTIONS})

_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = rf"(?P<month>{'|'.join(_MONTH_NAMES)})[a-z]*\.?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>\d{4})"
# "November 13, 1983", "16 May 2013", "February 1795"; the last one would match within the others.
_DATES = [
    re.compile(form, re.IGNORECASE)
    for form in (
        rf"\b{_MONTH} {_DAY},? {_YEAR}\b",
        rf"\b{_DAY} (?:of )?{_MONTH},? {_YEAR}\b",
        rf"\b{_MONTH},? {_YEAR}\b",
    )
]
_DURATION = re.compile(
    r"\b(\d+) ?h(?:ours?)?,? (\d+) ?(?:'|m(?:in(?:ute)?s?)?),? (?:and )?"
    r"(\d+) ?(?:''|\"|s(?:ec(?:ond)?s?)?(?!\w))",
    re.IGNORECASE,
)
_RANGE = re.compile(r"(?<=\w) (?:-|to(?= \d)) (?=\w)")  # "preschool - 8th grade", "5 to 7"
_SEASON = re.compile(r"\b(\d\d)(\d\d)-\1(\d\d)\b")  # 1914-1915

NUMBER_WORDS = {
    word: value
    for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "  # noqa: SIM905
        "fifteen sixteen seventeen eighteen nineteen twenty".split()
    )
} | {"once": 1, "twice": 2, "thrice": 3}
# A date or season, a time, a year, a rank or a count; "14-15" and "3a" are none of them.
MENTION = re.compile(
    r"(?<![\w.,:/)-])(?:(?P<date>\d{4}[-/]\d{2,4}(?:-\d{2})?)|(?P<time>\d+(?::\d\d)+(?:\.\d+)?)"
    r"|(?P<year>(?:1[5-9]|20)\d\d)|(?P<ordinal>\d+(?:st|nd|rd|th))"
    rf"|(?P<count>[-+]?[$€£]?(?:\d{{1,3}}(?:,\d{{3}})+|\d+)(?:\.\d+)?%?|{'|'.join(NUMBER_WORDS)}))"
    r"(?![\w/]|[.,:-]\d)",
    re.IGNORECASE,
)
# Before the number of "at least 10": a condition, not a count.
_BOUND = re.compile(
    r"(?:\b(?:at (?:least|most)|than|over|under|above|below|before|after|between|top|not|never"
    r"|unlikely to be|anything but|\w+n't(?: be)?|between \S+ and)|[<>])\s+$",
    re.IGNORECASE,
)
# Before the number of "Division 1", "pick number 3", "No. 82": a name, not a count.
_LABELLED = re.compile(
    r"(?:\b[A-Z]\w*\.?"
    r"|\b(?:no\.|number|season|episode|round|match|pick|tier|division|week|day)|#)\s*$"
)
# Numbers behind it qualify the one before it: "9 games that lasted 2 hours".
_CONDITION = re.compile(r"\b(?:who|that|which|whose|where|when|than|compared)\b|$")


def repair_text(text: str) -> str:
    r"""Return `text` with plain punctuation and with the backslashes that unescaping took away.

    >>> repair_text("答案：\x08oxed{7}。")
    '答案:\\boxed{7}. '
    """
    return _UNESCAPED.sub(lambda found: _BACKSLASHED[found[0]], text.translate(_REPAIRED))


_BACKSLASHED = {"\x08": "\\b", "\x0c": "\\f"}


def fold_text(text: str) -> str:
    """Return `text` in lower case, without accents, with plain quotes and dashes, single spaces.

    >>> fold_text("Samuel  SÁNCHEZ – ‘x²’")
    "samuel sanchez - 'x^2'"
    """
    return remove_accents(text).casefold()


def remove_accents(text: str) -> str:
    """Return `text` without accents, with plain quotes and dashes and single spaces."""
    text = _POWER.sub(lambda power: "^" + power[0], text.translate(_REPAIRED).translate(_PLAIN))
    letters = unicodedata.normalize("NFKD", text).translate(_PLAIN)  # ⁻ becomes a minus sign
    return " ".join("".join(c for c in letters if not unicodedata.combining(c)).split())


def write_iso_times(text: str) -> str:
    """Return `text` without accents, and with its dates and durations in digits.

    >>> write_iso_times("November 13, 1983 and 1914-1915 and 5 h, 29 min and 10 s")
    '1983-11-13 and 1914-15 and 5:29:10'
    """
    text = _RANGE.sub("-", _DURATION.sub(r"\1:\2:\3", remove_accents(text)))
    for form in _DATES:
        text = form.sub(_write_iso_date, text)
    return _SEASON.sub(r"\1\2-\3", text)


def _write_iso_date(found: re.Match[str]) -> str:
    parts = found.groupdict()
    month = _MONTH_NAMES.index(parts["month"].casefold()) + 1
    day = f"-{int(parts['day']):02d}" if parts.get("day") else ""
    return f"{parts['year']}-{month:02d}{day}"


def list_mentions(sentence: str, kind: str = "count") -> list[str]:
    """Return the numbers of `kind` in `sentence`: counts that are neither a bound nor a name.

    >>> list_mentions("In Division 1 he won at least 10 games for 9 seasons")
    ['9']
    """
    found = [m for m in MENTION.finditer(sentence) if m.lastgroup == kind]
    if kind == "count":
        found = [m for m in found if not _BOUND.search(sentence[: m.start()][-40:])]
        found = [m for m in found if not _LABELLED.search(sentence[: m.start()][-40:])] or found
    condition = _CONDITION.search(sentence, found[0].end()) if found else None
    return [m[0] for m in found if condition is None or m.start() < condition.start()]


def find_box(text: str) -> tuple[int, str | None]:
    r"""Return the end and the content of the last complete box; boxes side by side are one.

    >>> find_box("$\\boxed{3}$ or $\\boxed{5}$")
    (25, '3, 5')
    """
    boxes: list[tuple[int, int, str]] = []
    for found in list(BOX.finditer(text))[-MOST_MARKS:]:
        if _DENIED.search(text[max(0, found.start() - 20) : found.start()]):
            continue
        end = _find_closing(text, found.end()) if found[0].endswith("{") else found.end() + 1
        if end is not None:
            inside = text[found.end() : end - found[0].endswith("{")]
            # Of a box in a box the inner one counts.
            boxes = [*boxes, (found.start(), end, inside)] if not BOX.search(inside) else boxes
    if not boxes:
        return -1, None
    first = len(boxes) - 1
    while first and _BETWEEN_BOXES.fullmatch(text, boxes[first - 1][1], boxes[first][0]):
        first -= 1
    joined = dict.fromkeys(inside.strip() for _, _, inside in boxes[first:])
    return boxes[-1][1], ", ".join(joined)


def clean_span(span: str) -> str:
    """Return `span` without Markdown, math delimiters, quotes around it and a full stop.

    >>> clean_span(' **"Palais Royal!"**. ')
    'Palais Royal!'
    """
    span = re.sub(r"\\(?:text|mathrm|textbf|mathbf)\s*\{([^{}]*)\}", r"\1", span)
    span = re.sub(r"\*\*|__|`|\\[()\[\]]|(?<!\d)\$(?!\d)|(?<=\d)\$", "", span).replace("\\ ", " ")
    before = None
    while before != span:
        before, span = span, span.strip(" \t\n*_,;:|")
        if span.endswith(".") and not ABBREVIATION.search(span[:-1]):
            span = span[:-1]
        enclosed = span[:1] + span[-1:] in {'""', "''", "“”", "‘’", "«»"}
        if len(span) > 1 and enclosed and span[0] not in span[1:-1]:
            span = span[1:-1]
    return span


def _find_closing(text: str, start: int) -> int | None:
    """Return the place behind the brace that closes the one before `start`."""
    depth = 1
    for position in range(start, min(len(text), start + LONGEST)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return position + 1
    return None
