"""Find the final answer in free text. Nothing here raises; what is not found is `None`."""

from __future__ import annotations

import re
from typing import NamedTuple

from realm.verify.normal import (
    ABBREVIATION,
    BOX,
    LONGEST,
    MOST_MARKS,
    clean_span,
    find_box,
    list_mentions,
)

_SEARCHED = 20_000
"""Characters at the end of a text in which its answer is looked for."""
_LONGEST_BARE = 120
"""Characters of a text that is taken for an answer though nothing in it says so."""
_WORDS_OF_LABEL = 4
"""Words of a label that may have a full stop inside."""
_TAG = re.compile(r"<(/?)answer>", re.IGNORECASE)
_IS = r"(?:is|are|was|were|would be|should be|must be|will be)\b"
# "The answer to the question is 7", "Answer: 7", "Ans = 7", "the correct option is (B)".
_MARK = re.compile(
    rf"(?<!wrong )(?<!incorrect )(?<!if the )(?<!whether the )"
    rf"\b(?:(?:final|correct|right|best)\s+(?:option|choice|letter)|answers?|ans)\b[\s*_\"]*"
    rf"(?:to\b[^.\n]{{0,150}}?)?(?::|=>?|→|\b{_IS})"
    rf"(?:\s+(?:therefore|thus|hence|actually|simply|that))*",
    re.IGNORECASE,
)
# The same in other languages: "答案：B", "答案是 A", "Antwort: 42", "La réponse est 42".
_FOREIGN_MARK = re.compile(
    r"(?:选项|選項|答案|答え|正解|答|정답|답|(?<!\w)(?:(?:ant|svar|opl|lös)\w*|réponse|respuesta"
    r"|risposta|resposta"
    r"|ответ|відповідь|odpowiedź|cevap|đáp án|jawaban|απάντηση|الإجابة|الجواب|پاسخ|उत्तर|উত্তর"
    r"|opci[oó]n correcta|alternativa correta|option correcte|richtig))(?:[ *_]\w+)?[\s*_]*"
    r"(?:[:=\]]|[-–—](?=\s)|[应應]?[是为為は은는]|\b(?:ist|est|es|è|é|är|er|jest)\b)",
    re.IGNORECASE,
)
# East Asian languages put "is" behind: "答えは東京です", "정답은 서울입니다".
_IS_BEHIND = re.compile(r"\s?(?:です|である|입니다|이다)\W*$")
# A heading without a colon and the answer below it, or in the next cell of a table; "A: 18".
_HEADING = re.compile(
    r"^[ #*|_>-]*(?:the |my )?(?:final |correct )?answer[ *_]*(?:\||\n|[-–—]\s)"
    r"|^[ #*|_>-]*(?:(?:my|final|the) )?(?:choice|letter)[ *_]*:"
    r"|^A:(?=[ \t]*[-$\d])|^ans\.(?=[ \t]*[-$\d(])",
    re.IGNORECASE | re.MULTILINE,
)
_HASHES = re.compile(r"(?<![#\w])####[ \t]*(?=[^#\s])")
_CALCULATION = re.compile(r"<<[^<>]{0,200}>>")  # GSM8K notes: "<<6*3=18>>18"
# What may stand before a mark in an answer tag: the "So the " of "So the answer is 7".
_LEAD = re.compile(r"(?:so|thus|hence|therefore)?,? ?(?:the |my )", re.IGNORECASE)
_NUMERIC = re.compile(r"[-+$€£]?\d")
# "This answer is correct" behind an answer praises it and states none.
_PRAISE = re.compile(
    r"(?:in)?correct\b|right\b|wrong\b|consistent\b|reasonable\b|verified\b", re.IGNORECASE
)

BULLET = re.compile(r"^\s*(?:[-*•]|\d{1,2}[.)])\s+")
# Where a block opens on a line of its own, the answer is below it.
_OPENED = re.compile(r"\A[\s*_:|#>]*(?:\$\$|```\w*|\\\[)[ ]?\n")
_HTML = re.compile(r"</?(?:b|i|u|em|strong|p|br|span|center)\s?/?>", re.IGNORECASE)
# A line that is code and nothing else: "`deny`."
_CODE = re.compile(r"[\s*_:]*`([^`\n]+)`[\s.*_]*(?:\n|$)")
# Only before a capital or a digit: the stops of "3.5" and "e.g. this" end no sentence.
_SENTENCE_END = re.compile(r"(?<=[^\s.])[.!?][\"'”’*)]*\s+(?=[\"'“‘*(]*[A-Z0-9])")
# Where a statement begins to explain itself: ", because 8 > 7", " according to the table".
_REST = re.compile(
    r"(?:[,;]| [-–—]) (?:and )?(?:who|which|where|when|while|with|as|because|since|but|so|not"
    r"|therefore|thus|hence|it|this|he|she|they|given|held|(?-i:[a-z]+(?:ing|ed)(?= )))\b"
    r"| (?:because|since|rather than|instead of|according to|based on|as (?:shown|seen|per))\b",
    re.IGNORECASE,
)
# What leads to a statement: "Therefore, ", "Based on the table, ", "we see that ".
_OPENING = re.compile(
    r"^(?:(?:therefore|thus|hence|so|overall|finally|"
    r"(?:in (?:summary|conclusion)|based|according|from|upon|since|as|after|\w+ing)\b"
    r"(?:[^,]|,(?=\d))*(?=,)|(?:we|i|it|this)\b[^,.]{0,40}?\bthat(?= )),? )+|^that ",
    re.IGNORECASE,
)
# "not 7 but rather 8" states 8.
_NOT_BUT = re.compile(r"(?:\w+ly )?not (?!only)\S.*?\bbut (?:rather )?(.+)", re.IGNORECASE)
_SHOWN = r"(?:indicated|shown|represented|considered|listed|used|calculated)"
# The verb of "the tallest is Ann". In "the man that is tall" and "is not 7" it defines nothing.
_COPULA = re.compile(
    rf"(?<!\bthat )(?<!\bwho )(?<!\bwhich )\b(?:is|are|was|were)\b(?! (?:not|also|{_SHOWN})\b)",
    re.IGNORECASE,
)
# A sentence that refuses to answer. Refusals are sentences: "Not covered" may well be a label.
_REFUSAL = re.compile(
    rf"^(?:not (?:given|stated|known|clear|provided|possible|available|in)|{_SHOWN})\b"
    r"|\b(?:cannot|can't|could not|unable|no (?:information|data) (?:to|about|is|on))\b|\?$"
    r"|\b(?:wrong|incorrect) (?:answer|option|choice)\b|^(?:if|whether)\b",
    re.IGNORECASE,
)
# "I think so", "Let us see": talk, and no statement.
_SPEAKS = re.compile(r"(?:i|we|it|let|please|note)\b(?= \S)", re.IGNORECASE)
_YES_OR_NO = re.compile(r"[\"'*]*(yes|no)[\"'*]*(?=[,.;:]| -)", re.IGNORECASE)
# "Ann was the first", "Bo is higher": here the subject is the answer, and not what follows.
_RANKED = re.compile(
    r"(?:\w+ ){0,2}(?:the one|first|last|earlier|later|higher|lower|more|most)\b", re.IGNORECASE
)
# "Ann Lee won 7 games": the answer may be the number, or the sentence as a whole.
_DID = re.compile(
    r"^(?:\S+ ){1,4}(?:is|are|was|were|has|have|had|scored|won|placed|finished|received|played"
    r"|competed|earned|made)\b",
    re.IGNORECASE,
)


class Conclusion(NamedTuple):
    """What a text finally says.

    The conclusion of "Ann won 7 games." is ("7", "Ann won 7 games").
    """

    text: str
    """The answer; empty if a sentence states it in words that only a comparison can read."""
    sentence: str | None
    """The whole statement if it was prose; `None` if the answer was set apart."""


def find_answer(text: str) -> Conclusion | None:
    """Return the final answer of free text: the stated one, or what the text amounts to."""
    return find_stated(text) or _find_implied(text)


def find_stated(text: str, *, is_label: bool = False) -> Conclusion | None:
    """Return what the last box, mark ("The answer is", "答案：") or "####" of `text` states.

    A label behind a colon is a short line as it stands, "Deny. Missing form." as a whole.

    >>> find_stated("The answer is 12. Wait: \\\\boxed{15}").text
    '15'
    """
    text = _squeeze(text)
    box_end, boxed = find_box(text)
    patterns = (_MARK, _FOREIGN_MARK, _HEADING, _HASHES)
    marks = [mark for pattern in patterns for mark in pattern.finditer(text)]
    # From the last one back, since what a text says last counts.
    for mark in sorted(marks, key=lambda one: one.end())[: -MOST_MARKS - 1 : -1]:
        if boxed is not None and box_end > mark.start():
            break  # the box is the later one, or holds the mark
        is_hashes = mark.re is _HASHES
        rest = _OPENED.sub("", text[mark.end() : mark.end() + LONGEST])
        code = _CODE.match(rest)
        if code:
            return Conclusion(code[1], None)
        is_prose = mark.re is _MARK and text[mark.end() - 1] not in ":="
        statement = _take_label(rest) if is_label and not is_prose else _take_statement(rest)
        # A fourth-level heading may be anything; "#### 42" is an answer before all others.
        if is_hashes and not _NUMERIC.match(statement) and (boxed is not None or len(marks) > 1):
            continue
        if mark.re is _FOREIGN_MARK:
            statement = _IS_BEHIND.sub("", statement)
        is_cut_off = BOX.search(statement) or not re.search(r"\w", statement)
        if is_cut_off or (boxed is not None and _PRAISE.match(statement)):
            continue
        return None if is_prose and _REFUSAL.search(statement) else _conclude(statement)
    return None if not boxed else Conclusion(clean_span(boxed), None)


def find_tagged(text: str) -> str | None:
    """Return what the last closed <answer> tag holds."""
    end = None
    for tag in reversed(list(_TAG.finditer(text))):
        if tag[1]:
            end = tag.start() if end is None else end
        elif end is not None:
            return text[tag.end() : end].strip()
    return None


def unwrap_answer(span: str) -> str:
    r"""Return `span` without a box around the answer or a mark before it.

    >>> unwrap_answer("The answer is $\\boxed{7}$."), unwrap_answer("I agree")
    ('7', 'I agree')
    """
    boxed = find_box(span)[1]
    if boxed is None and BOX.search(span):
        return span.strip()  # a box that is denied or cut off
    if boxed is not None:
        return boxed.strip()
    hashes = list(_HASHES.finditer(span))
    if hashes:
        return span[hashes[-1].end() :].split("\n")[0].strip()
    for opened in (span, _LEAD.sub("", span, count=1)):
        mark = _MARK.match(opened) or _FOREIGN_MARK.match(opened)
        if mark:
            return opened[mark.end() :].strip()
    return span.strip()


def is_one_line(text: str) -> bool:
    """Return whether `text` is short enough to be an answer as a whole."""
    text = text.strip()
    is_defined = text.lower().startswith("the ") and text.endswith(".") and _COPULA.search(text)
    return 0 < len(text) <= _LONGEST_BARE and "\n" not in text and not is_defined


def _squeeze(text: str) -> str:
    """Return the end of `text`, its runs of spaces and empty lines shortened.

    All patterns above run on such text: no run of spaces can cost them quadratic time.
    """
    text = _HTML.sub("", _CALCULATION.sub("", text[-_SEARCHED:]))
    text = re.sub(r"[^\S\n]+", " ", text)
    return re.sub(r" ?\n(?: ?\n)+ ?", "\n\n", text).strip()


def _find_implied(text: str) -> Conclusion | None:
    """Return a text that is nothing but an answer, or what its closing sentence states."""
    text = _squeeze(text)
    bare = _take_bare(text)
    if bare is not None:
        said = clean_span(bare)
        return Conclusion(said, said if bare.endswith(".") else None) if said else None
    lines = [line for line in text.split("\n") if re.search(r"\w", line)]
    sentence = _open_statement(split_sentences(lines[-1][-LONGEST:])[-1]) if lines else ""
    complement = _take_complement(sentence)
    if _REFUSAL.search(sentence):
        return None
    is_finished = text.rstrip(" \n-").endswith((".", "!", "*", '"'))
    if complement is not None:
        is_whole = is_finished or len(complement) <= _LONGEST_BARE
        return _conclude(complement) if is_whole and not _REFUSAL.search(complement) else None
    if not is_finished or _SPEAKS.match(sentence) or not sentence:
        return None
    return Conclusion(_read_prose(clean_span(sentence)) or "", clean_span(sentence))


def _conclude(statement: str) -> Conclusion | None:
    said = clean_span(statement)
    if _DID.match(said):
        return Conclusion(_read_prose(said) or said, said)
    return Conclusion(said, said) if said else None


def _take_statement(text: str) -> str:
    """Return the first line, or the whole bulleted list, that `text` opens with."""
    stripped = text.lstrip(" *_:|#\n")
    lines = [line.strip() for line in stripped.split("\n")]
    is_below = "\n" in text[: len(text) - len(stripped)]
    if BULLET.match(lines[0]) and (len(lines) > 1 or is_below):
        items = []
        for line in filter(None, lines):
            if not BULLET.match(line):
                break
            items.append(clean_span(BULLET.sub("", line)))
        return ", ".join(items)
    statement = _open_statement(split_sentences(lines[0])[0])
    return _take_complement(statement) or statement


def _take_label(text: str) -> str:
    """Return the first line that `text` opens with; of several sentences in many words, one."""
    line = text.lstrip(" *_:|#\n").split("\n")[0]
    sentence = line if line.count(" ") < _WORDS_OF_LABEL else split_sentences(line)[0]
    return re.split(r"[,;] (?:because|since|as|so|but|which)\b", sentence)[0]


def split_sentences(line: str) -> list[str]:
    """Return the sentences of `line`; the stop of an initial or an abbreviation ends none."""
    sentences, start = [], 0
    for end in _SENTENCE_END.finditer(line):
        if not ABBREVIATION.search(line[max(0, end.start() - 8) : end.start()]):
            sentences.append(line[start : end.end()].strip())
            start = end.end()
    return [*sentences, line[start:].strip()]


def _open_statement(sentence: str) -> str:
    """Return "yes", "no", or `sentence` without an opening such as "Therefore," and its reasons."""
    statement = _OPENING.sub("", sentence)
    yes_or_no = _YES_OR_NO.match(statement)
    if yes_or_no:
        return yes_or_no[1]
    corrected = _NOT_BUT.match(statement)
    return _drop_reasons(corrected[1] if corrected else statement)


def _drop_reasons(statement: str) -> str:
    rest = _REST.search(statement, 1)
    statement = statement[: rest.start()] if rest else statement
    quoted = re.match(r"\s*(\"[^\"]+\")\s+(?!and\b|or\b|&)\w", statement)
    return quoted[1] if quoted else statement


def _take_bare(text: str) -> str | None:
    """Return `text` if it is nothing but an answer: a short line or a bulleted list."""
    if len(text) > LONGEST:
        return None
    if "\n" in text:
        lines = [line for line in text.split("\n") if line.strip()]
        items = [clean_span(BULLET.sub("", line)) for line in lines]
        return ", ".join(items) if all(BULLET.match(line) for line in lines) else None
    if len(text) > _LONGEST_BARE or "<" in text or len(split_sentences(text)) > 1:
        return None
    if _COPULA.search(text) or _SPEAKS.match(text) or _REFUSAL.search(text):
        return None
    return None if text.endswith((".", "?", ":")) and text.count(" ") > 5 else text


def _take_complement(sentence: str) -> str | None:
    """Return "Ann" of "the tallest of them is Ann"; `None` if the sentence defines nothing."""
    copula = _COPULA.search(sentence) if sentence.lower().startswith("the ") else None
    if copula is None or _RANKED.match(sentence, copula.end() + 1):
        return None
    return _drop_reasons(sentence[copula.end() :].strip())


def _read_prose(sentence: str) -> str | None:
    """Return the one count in "Ann won 7 games", or the subject of "Ann was first"."""
    counts, copula = list_mentions(sentence), _COPULA.search(sentence)
    if len(counts) == 1:
        return counts[0]
    is_ranked = copula and _RANKED.match(sentence, copula.end() + 1)
    return sentence[: copula.start()].strip() if copula and is_ranked else None
