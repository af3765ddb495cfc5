"""Find the final answer in free text. Model text is data: nothing here raises, and nothing found is `None`."""

from __future__ import annotations

import re

from realm.answers.normal import NUMBER_WORDS, find_numbers

_TAG = re.compile(r"<(/?)answer>", re.IGNORECASE)
_MARK = re.compile(
    r"\banswers?\b[\s*_\"]*(?:to\b[^.\n]{0,150}?)?"
    r"(?::|=|\b(?:is|are|was|were|would be|should be|must be|will be)\b)(?:\s+(?:therefore|thus|hence|actually|simply|that))*",
    re.IGNORECASE,
)
_HASHES = re.compile(r"^#{4}\s+(?=\S)", re.MULTILINE)
_BULLET = re.compile(r"^\s*(?:[-*•]|\d{1,2}[.)])\s+")
_SENTENCE_END = re.compile(r"(?<=[^\s.])[.!?][\"'”’*)]*\s+(?=[\"'“‘*(]*[A-Z0-9])")
_ABBREVIATION = re.compile(r"(?:^|[\s.(])(?:[A-Z]|[A-Za-z]\.[A-Za-z]|Jr|Sr|Dr|Mr|Mrs|Ms|St|Mt|Rt|No|Nos|vs|Ph|etc)$")
_REST = re.compile(
    r"(?:,|;|\s[-–—])\s+(?:and\s+)?(?:which|who|whose|where|when|with|as|because|since|but|so|based|according|indicated|indicating|"
    r"making|having|being|meaning|representing|achieved|given|not|while|although|specifically|namely|followed|it|this|he|she|they|"
    r"selected|picked|held|(?-i:[a-z]+ing)(?=\s))\b"
    r"|\s+(?:because|since|according to|based on|as (?:it|he|she|they|shown|indicated|seen|per|the)|with an? (?:total|count|time|"
    r"score|number|rank|record|date)\b|with \d+|which (?:is|was|has|are))\b",
    re.IGNORECASE,
)
_OPENING = re.compile(
    r"^(?:(?:therefore|thus|hence|so|overall|in (?:summary|conclusion)|based on [^,]*|according to [^,]*|from [^,]*|"
    r"in conclusion|finally|upon [^,]*|looking at [^,]*),?\s+)+",
    re.IGNORECASE,
)
_THERE = re.compile(r"\bthere (?:is|are|was|were|have been|has been)(?: a total of| only| exactly)*\s+(\S+)", re.IGNORECASE)
_COPULA = re.compile(r"\b(?:is|are|was|were)\b(?!\s+(?:not|also)\b)", re.IGNORECASE)
_SPEAKS = re.compile(r"(?:i|it|we|you|he|she|they|this|that|there|let|so|then|to)\b(?=\s+\S+)", re.IGNORECASE)
_PLACED = re.compile(
    r"^(?:(?:actually|therefore|thus|indeed|also|only|exactly|a total of)\s+|"
    r"(?:located|held|situated|based|born|found|won|scored)\s+(?:in|at|on|by)\s+|(?:in|at|on|by)\s+)+",
    re.IGNORECASE,
)
_DESCRIBES = re.compile(r"^(?:the|an?|one)\b.*\b(?:with|who|that|which|whose|to|in|of|for)\b", re.IGNORECASE)
_UNSAID = re.compile(
    r"^(?:not\b|no(?:ne|thing)? (?:of|in|clear|information|data)|unknown|unclear|cannot|can't|impossible|n/a\b|undetermined|"
    r"there (?:is|are) no\b|insufficient|(?:indicated|shown|represented|considered|listed|followed|used|calculated|evident)\b)|"
    r"\b(?:cannot|can't|could not) be (?:determined|found|answered)",
    re.IGNORECASE,
)
_SEEN_IN = re.compile(
    r"(?:the one|earlier|later|higher|lower|first|last|"
    r"(?:\w+ed|drawn|won|born)\b(?: \w+)? (?:first|last|earlier|later|higher|lower|more|most))\b",
    re.IGNORECASE,
)
_SIDE = re.compile(r"(?:above|below|more|less|before|after|over|under)\b", re.IGNORECASE)
_LEADS = re.compile(
    r"^(?:that )?((?:\S+ ){1,5}?)(?:had|has|have|scored|won|achieved|received|got|came|ranked|finished)\s+"
    r"(?:in )?(?:(?:the|an?) )?(?:first|last|more|most|fewer|less|least|greater|greatest|higher|highest|better|best|top)\b",
    re.IGNORECASE,
)
_DID = re.compile(
    r"^(?:[\w.'-]+ ){1,4}(?:has|have|had|scored|won|placed|finished|received|played|competed|earned|made)\b", re.IGNORECASE
)
_BOXES_TRIED = 4
_LONGEST = 2000
"""Characters of an answer; what is longer is no answer."""
_LONGEST_BARE = 120
"""Characters of a text that is taken for an answer though nothing in it says so."""
_LONGEST_STATED = 12
"""Words that a closing sentence may say of its subject."""


def final_answer(text: str) -> str | None:
    """Return the span of `text` that states its final answer, without markup, quotes or a trailing explanation.

    Explicit forms come first (an answer tag, a box, "#### 7", "the answer is 7", "Answer: 7"; of several the last), then a
    text that is nothing but an answer, then a closing sentence that states one ("The tallest of them is Ann.").

    >>> final_answer("Ann is 7 and Bo is 8. So the answer is **Bo**, because 8 > 7.")
    'Bo'
    >>> final_answer("It cannot be said.") is None
    True
    """
    text = text.replace("\r", "\n").strip()
    tagged = _tagged(text)
    if tagged is not None:
        text = tagged
    span = _boxed(text)
    if span is None:
        span = _marked(text)
    if span is None:
        span = _bare(text)
    if span is None:
        span = _stated(text) if tagged is None else text
    cleaned = clean(span) if span is not None and len(span) <= _LONGEST else ""
    return None if not cleaned or _UNSAID.search(cleaned) else cleaned


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
        if len(span) > 1 and span[0] + span[-1] in {'""', "''", "“”", "‘’", "«»"} and span[0] not in span[1:-1]:
            span = span[1:-1]
    return span


def _tagged(text: str) -> str | None:
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
    for start in reversed([match.end() for match in re.finditer(r"\\boxed\s*\{", text)][-_BOXES_TRIED:]):
        depth = 1
        for position in range(start, len(text)):
            depth += {"{": 1, "}": -1}.get(text[position], 0)
            if depth == 0:
                return text[start:position]
    return None


def _marked(text: str) -> str | None:
    """Return what follows the last mark that is followed by anything."""
    marks = sorted([*_MARK.finditer(text), *_HASHES.finditer(text)], key=lambda mark: mark.end(), reverse=True)
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
    yes_or_no = re.match(r"[\"'*]*(yes|no)[\"'*]*(?=[,.;:]|\s+-)", lines[0], re.IGNORECASE)
    return yes_or_no[1] if yes_or_no else _without_sentence(_without_rest(_sentences(lines[0])[0]))


def _sentences(line: str) -> list[str]:
    """Return the sentences of `line`; the stop of an initial or an abbreviation ends none."""
    sentences, start = [], 0
    for end in _SENTENCE_END.finditer(line):
        if not _ABBREVIATION.search(line[max(0, end.start() - 8) : end.start()]):
            sentences.append(line[start : end.end()].strip())
            start = end.end()
    return [*sentences, line[start:].strip()]


def _without_rest(statement: str) -> str:
    """Return `statement` up to where it begins to explain itself."""
    rest = _REST.search(statement, 1)
    statement = statement[: rest.start()] if rest else statement
    quoted = re.match(r"\s*(\"[^\"]+\")\s+(?!and\b|or\b|&)\w", statement)
    return quoted[1] if quoted else statement


def _without_sentence(statement: str) -> str:
    """Return the answer inside "the answer is 5 titles were sold", "... the gap is 5", "... Ann was drawn first"."""
    copula = _COPULA.search(statement)
    if copula is None:
        counted = re.match(r"[\d,.]*\d(?=(?: [a-z]+){4})", statement)
        leads = _LEADS.match(statement)
        if counted or leads:
            return counted[0] if counted else leads[1].strip()
        return (_only_number(statement) if _DID.search(statement) else None) or statement
    subject, complement = statement[: copula.start()].strip(), statement[copula.end() :].strip()
    counted = re.match(r"[\d,.]*\d(?=\s+[a-z])", subject)
    if counted:
        return counted[0]
    if _SEEN_IN.match(complement):
        return subject
    if subject.lower().startswith(("the ", "there")) or _SIDE.match(complement):
        return complement
    return statement


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


def _stated(text: str) -> str | None:
    """Return what the last sentence says its subject is; a guess about a sentence of another form is not made."""
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        return None
    sentence = _without_rest(_OPENING.sub("", _sentences(lines[-1])[-1]))
    counted = _THERE.search(sentence)
    if counted:
        return counted[1]
    copulas = list(_COPULA.finditer(sentence))
    if not copulas:
        return _only_number(sentence) if lines[-1].rstrip(' *"').endswith((".", "!")) else None
    subject, complement = sentence[: copulas[-1].start()], sentence[copulas[-1].end() :].strip()
    complement = _PLACED.sub("", complement)
    if _DESCRIBES.match(complement) and subject.count(" ") <= 4:
        complement = re.sub(r"^.*\bthat\b", "", subject)
    complement = _without_rest(complement)
    return complement if complement.count(" ") < _LONGEST_STATED else None


def _only_number(sentence: str) -> str | None:
    """Return the one number that a sentence such as "Ann won 7 games" holds; of several, none."""
    words = [word.strip(" ,.;*") for word in sentence.split()]
    numbers = [word for word in words[1:] if word in find_numbers(word) or word in NUMBER_WORDS]
    return numbers[0] if len(numbers) == 1 else None
