"""Write what a teacher is asked: guided (reference text and question), unguided (the question), rationalized (the answer too)."""

from __future__ import annotations

import re

SYSTEM = """You are an expert who writes worked solutions for a student. The student will never see the reference text that \
you are given, so every fact and condition that you use must be stated in the solution itself, in your own words, as \
something you know. Never mention the reference text, and never cite a rule, its number or a heading."""

_CLOSING = """Think step by step: name each fact that matters, the condition that applies to it, and what follows. Then end with \
a line of its own that reads "The answer is", followed by {form}."""

GUIDED = f"""Reference text:
{{guide}}

Problem:
{{question}}

{_CLOSING}"""

UNGUIDED = """{question}

Think step by step. Then end with a line of its own that reads "The answer is", followed by {form}."""

RATIONALIZED = f"""Reference text:
{{guide}}

Problem:
{{question}}

The right answer is: {{answer}}
Write the solution that leads to it, as someone who does not know it yet: never say that the answer was given.

{_CLOSING}"""

FORMS = {
    "text": "the answer alone, in as few words as it takes",
    "label": "the label alone",
    "number": "the number alone, with its unit if it has one",
    "set": "the answer alone; if it has several parts, with commas between them",
    "math": "the result alone, as \\boxed{...}",
    "json": "the JSON object alone",
    "python": "the answer alone",
}
"""How an answer must be written for the verifier to read it, by the kind of answer."""

Messages = tuple[dict[str, str], ...]


def guided_messages(
    question: str, guide: str, form: str, *, system: str | None = SYSTEM, template: str = GUIDED
) -> Messages:
    """Return the prompt of a teacher who reads the guide; the student it writes for will not."""
    return _messages(system, template, question=question, guide=guide, form=form)


def unguided_messages(question: str, form: str, *, template: str = UNGUIDED) -> Messages:
    """Return the prompt of a route: the question, and the form of the answer."""
    return _messages(None, template, question=question, form=form)


def rationalized_messages(
    question: str,
    guide: str,
    answer: str,
    form: str,
    *,
    system: str | None = SYSTEM,
    template: str = RATIONALIZED,
) -> Messages:
    """Return the prompt of a guided teacher who is shown the gold answer as well."""
    return _messages(system, template, question=question, guide=guide, answer=answer, form=form)


def _messages(system: str | None, template: str, **values: str) -> Messages:
    """Return the messages; all fields are put in at once, so that a brace inside a question stays text."""
    text = re.sub(
        r"\{(question|guide|answer|form)\}", lambda field: values.get(field[1], field[0]), template
    )
    user = {"role": "user", "content": text}
    return (user,) if system is None else ({"role": "system", "content": system}, user)
