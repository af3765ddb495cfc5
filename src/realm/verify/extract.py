"""Find the final answer in free text. Model text is data: nothing here raises, and nothing found is `None`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, NamedTuple

from realm.verify.statement import mentions

_TAG = re.compile(r"<(/?)answer>", re.IGNORECASE)
_MARK = re.compile(
    r"\banswers?\b[\s*_\"]*(?:to\b[^.\n]{0,150}?)?"
    r"(?::|=|\b(?:is|are|was|were|would be|should be|must be|will be)\b)(?:\s+(?:therefore|thus|hence|actually|simply|that))*",
    re.IGNORECASE,
)
_HASHES = re.compile(r"^#{4}\s+(?=\S)", re.MULTILINE)
_BULLET = re.compile(r"^\s*(?:[-*•]|\d{1,2}[.)])\s+")
_SENTENCE_END = re.compile(r"(?<=[^\s.])[.!?][\"'”’*)]*\s+(?=[\"'“‘*(]*[A-Z0-9])")
_ABBREVIATION = re.compile(
    r"(?:^|[\s.(])(?:[A-Z]|[A-Za-z]\.[A-Za-z]|Jr|Sr|Dr|Mr|Mrs|Ms|St|Mt|Rt|No|Nos|vs|Ph|etc)$"
)
_REST = re.compile(
    r"(?:,|;|\s[-–—])\s+(?:and\s+)?(?:who|which|where|when|while|with|as|because|since|but|so|not|therefore|thus|hence|it|this|he|"
    r"she|they|given|held|(?-i:[a-z]+(?:ing|ed)(?=\s)))\b|"
    r"\s+(?:because|since|according to|based on|as (?:shown|indicated|seen|per))\b",
    re.IGNORECASE,
)
_OPENING = re.compile(
    r"^(?:(?:therefore|thus|hence|so|overall|finally|"
    r"(?:in (?:summary|conclusion)|based|according|from|upon|since|as|after|\w+ing)\b(?:[^,]|,(?=\d))*(?=,)|"
    r"(?:we|i|it|this)\b[^,.]{0,40}?\bthat(?= )),?\s+)+|^that\s+",
    re.IGNORECASE,
)
_SHOWN = r"(?:indicated|shown|represented|considered|listed|used|calculated)"
_COPULA = re.compile(
    rf"(?<!\bthat )(?<!\bwho )(?<!\bwhich )\b(?:is|are|was|were)\b(?!\s+(?:not|also|{_SHOWN})\b)",
    re.IGNORECASE,
)
_UNSAID = re.compile(
    r"^(?:not|no(?:ne|thing)? (?:of|in|clear|information|data)|unknown|unclear|undetermined|impossible|insufficient|n/a|"
    rf"there (?:is|are) no|{_SHOWN})\b|\b(?:cannot|can't|could not) be (?:determined|found|answered)",
    re.IGNORECASE,
)
_SPEAKS = re.compile(r"(?:i|we|it|let|please|note)\b(?=\s+\S)", re.IGNORECASE)
_STATES_NOTHING = re.compile(
    r"\b(?:cannot|can't|could not|unable|no (?:information|data))\b|[?:]$", re.IGNORECASE
)
_YES_OR_NO = re.compile(r"[\"'*]*(yes|no)[\"'*]*(?=[,.;:]|\s+-)", re.IGNORECASE)
_RANKED = re.compile(
    r"(?:\w+ ){0,2}(?:the one|first|last|earlier|later|higher|lower|more|most)\b", re.IGNORECASE
)
_DID = re.compile(
    r"^(?:\S+ ){1,4}(?:is|are|was|were|has|have|had|scored|won|placed|finished|received|played|competed|earned|made)\b",
    re.IGNORECASE,
)
_BOXES_TRIED = 4
_LONGEST = 2000
"""Characters of an answer; what is longer is no answer."""
_LONGEST_BARE = 120
"""Characters of a text that is taken for an answer though nothing in it says so."""


_Form = Literal["exact", "marked", "closing"]


class Conclusion(NamedTuple):
    """What a text finally says."""

    text: str
    form: _Form
    """Set apart (a tag, a box, all of the text), behind a mark such as "the answer is", or a sentence that closes the text."""


def final_answer(text: str) -> str | None:
    """Return the span of `text` that states its final answer, without markup, quotes or a trailing explanation.

    >>> final_answer("Ann is 7 and Bo is 8. So the answer is **Bo**, because 8 > 7.")
    'Bo'
    >>> final_answer("It cannot be said.") is None
    True
    """
    said = conclude(text)
    if said is None:
        return None
    if said.form == "closing":
        return _told(said.text)
    return (
        _told(said.text) if said.form == "marked" and _DID.match(said.text) else None
    ) or said.text


def conclude(text: str) -> Conclusion | None:
    """Return the final answer of `text`, or its closing sentence where that states one in other words.

    Explicit forms come first (an answer tag, a box, "#### 7", "the answer is 7", "Answer: 7"; of several the last), then a
    text that is nothing but an answer, then a closing sentence ("The tallest of them is Ann.", "Ann won 7 games.").
    """
    text = text.replace("\r", "\n").strip()
    tagged = last_tagged(text)
    inside = text if tagged is None else tagged
    explicit: list[tuple[Callable[[str], str | None], _Form]] = [
        (_boxed, "exact"),
        (_marked, "marked"),
        (_bare, "exact"),
    ]
    for find, form in explicit:
        span = find(inside)
        if span is not None:
            return _conclusion(span, form)
    return _closing(text) if tagged is None else _conclusion(tagged, "exact")


def clean(span: str) -> str:
    """Return `span` without Markdown emphasis, math delimiters, enclosing quotes and a sentence's full stop.

    >>> clean(' **"Palais Royal!"**. ')
    'Palais Royal!'
    """
    span = re.sub(r"\\(?:text|mathrm|textbf|mathbf)\{([^{}]*)\}", r"\1", span)
    span = re.sub(r"\*\*|__|`|\\[()\[\]]|(?<!\d)\$(?!\d)|(?<=\d)\$", "", span)
    before = None
    while before != span:
        before, span = span, span.strip(" \t\n*_,;:")
        if span.endswith(".") and not _ABBREVIATION.search(span[:-1]):
            span = span[:-1]
        if (
            len(span) > 1
            and span[0] + span[-1] in {'""', "''", "“”", "‘’", "«»"}
            and span[0] not in span[1:-1]
        ):
            span = span[1:-1]
    return span


def last_tagged(text: str) -> str | None:
    """Return what the last closed <answer> tag holds."""
    end = None
    for tag in reversed(list(_TAG.finditer(text))):
        if tag[1]:
            end = tag.start() if end is None else end
        elif end is not None:
            return text[tag.end() : end].strip()
    return None


def _boxed(text: str) -> str | None:
    """Return what the last complete \\boxed{...} holds; braces may nest."""
    for start in reversed(
        [match.end() for match in re.finditer(r"\\boxed\s*\{", text)][-_BOXES_TRIED:]
    ):
        depth = 1
        for position in range(start, len(text)):
            depth += {"{": 1, "}": -1}.get(text[position], 0)
            if depth == 0:
                return text[start:position]
    return None


def _marked(text: str) -> str | None:
    """Return what follows the last mark that is followed by anything."""
    marks = sorted(
        [*_MARK.finditer(text), *_HASHES.finditer(text)], key=lambda mark: mark.end(), reverse=True
    )
    for mark in marks:
        said = _first_statement(text[mark.end() :])
        if said:
            return said
    return None


def _first_statement(text: str) -> str:
    """Return the first line, or the whole bulleted list, that `text` opens with, up to the end of its statement."""
    lines = [line.strip() for line in text.lstrip(" *_:\n").split("\n")]
    if _BULLET.match(lines[0]) and len(lines) > 1:
        items = []
        for line in filter(None, lines):
            if not _BULLET.match(line):
                break
            items.append(clean(_BULLET.sub("", line)))
        return ", ".join(items)
    statement = _statement(_sentences(lines[0])[0])
    return _complement(statement) or statement


def _sentences(line: str) -> list[str]:
    """Return the sentences of `line`; the stop of an initial or an abbreviation ends none."""
    sentences, start = [], 0
    for end in _SENTENCE_END.finditer(line):
        if not _ABBREVIATION.search(line[max(0, end.start() - 8) : end.start()]):
            sentences.append(line[start : end.end()].strip())
            start = end.end()
    return [*sentences, line[start:].strip()]


def _statement(sentence: str) -> str:
    """Return what `sentence` states: "yes" or "no", or all of it but an opening such as "Therefore," and what explains it."""
    statement = _OPENING.sub("", sentence)
    yes_or_no = _YES_OR_NO.match(statement)
    return yes_or_no[1] if yes_or_no else _without_rest(statement)


def _without_rest(statement: str) -> str:
    """Return `statement` up to where it begins to explain itself."""
    rest = _REST.search(statement, 1)
    statement = statement[: rest.start()] if rest else statement
    quoted = re.match(r"\s*(\"[^\"]+\")\s+(?!and\b|or\b|&)\w", statement)
    return quoted[1] if quoted else statement


def _bare(text: str) -> str | None:
    """Return `text` where it is nothing but an answer: one short line that is no sentence, or a bulleted list."""
    if len(text) > _LONGEST:
        return None
    if "\n" in text:
        lines = [line for line in text.split("\n") if line.strip()]
        listed = all(_BULLET.match(line) for line in lines)
        return ", ".join(clean(_BULLET.sub("", line)) for line in lines) if listed else None
    sentence = len(_sentences(text)) > 1 or _COPULA.search(text) or _SPEAKS.match(text)
    sentence = sentence or (text.endswith((".", "?", ":")) and text.count(" ") > 5)
    return None if sentence or len(text) > _LONGEST_BARE or "<" in text else text


def _closing(text: str) -> Conclusion | None:
    """Return what the last sentence of `text` states; an unfinished one only what it says something "is"."""
    line = next((line for line in reversed(text.split("\n")) if line.strip()), "")
    sentence = _statement(_sentences(line)[-1])
    complement = _complement(sentence)
    finished = text.endswith((".", "!", "*", '"'))
    if complement is not None:
        return (
            _conclusion(complement, "exact")
            if finished or len(complement) <= _LONGEST_BARE
            else None
        )
    states = finished and not _SPEAKS.match(sentence) and not _STATES_NOTHING.search(sentence)
    return _conclusion(sentence, "closing") if states else None


def _conclusion(span: str, form: _Form) -> Conclusion | None:
    """Return `span` as what a text finally says; `None` where it is too long, or says that nothing can be said."""
    said = clean(span) if len(span) <= _LONGEST else ""
    return None if not said or _UNSAID.search(said) else Conclusion(said, form)


def _complement(sentence: str) -> str | None:
    """Return "Ann" of "the tallest of them is Ann"; `None` where the sentence does not end in what it defines."""
    copula = _COPULA.search(sentence)
    if (
        copula is None
        or not sentence.lower().startswith("the ")
        or _RANKED.match(sentence, copula.end() + 1)
    ):
        return None
    return _without_rest(sentence[copula.end() :].strip())


def _told(sentence: str) -> str | None:
    """Return the one count that a sentence such as "Ann won 7 games" holds, or its subject where that "was first"."""
    counts, copula = mentions(sentence), _COPULA.search(sentence)
    if len(counts) == 1:
        return counts[0]
    return (
        sentence[: copula.start()].strip()
        if copula and _RANKED.match(sentence, copula.end() + 1)
        else None
    )
