"""What `realm data` says of the problems: splits, answers, lengths, repeats and a few samples."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size

from realm.core.errors import make_printable
from realm.domains.data import find_shared, simplify_question
from realm.domains.domain import SPLITS

if TYPE_CHECKING:
    from realm.core.records import Problem
    from realm.verify.verifier import Verifier

WIDTH = 80
"""Columns of a terminal, at most as many as any line takes."""
MOST_CLASSES = 12
"""Distinct answers that are listed one by one."""
_NOTABLE_SHARE = 0.05
"""The most frequent of many answers is named if more problems than this have it."""
NUM_SAMPLES = 5
_TITLE_WIDTH = 27
_PLAIN_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def summarize_problems(
    problems: Sequence[Problem],
    verifier: Verifier,
    count_tokens: Callable[[Sequence[str]], list[int]] | None = None,
) -> str:
    """Return the summary of problems as lines of at most `WIDTH` columns.

    Args:
        problems: The problems of all splits.
        verifier: Writes the gold answers, and tells equal ones.
        count_tokens: Returns the number of tokens of each text, if there is a tokenizer.
    """
    groups = {name: [one for one in problems if one.split == name] for name in SPLITS}
    groups = {name: group for name, group in groups.items() if group}
    rows = [("problems", {name: f"{len(group):,}" for name, group in groups.items()})]
    rows += _describe_answers(groups, verifier)
    lengths = {"characters": lambda texts: [len(text) for text in texts]}
    if count_tokens is not None:
        lengths["tokens"] = count_tokens
    for unit, count in lengths.items():
        sizes = {name: count([one.question for one in group]) for name, group in groups.items()}
        rows += _describe_numbers(f"question {unit}", sizes)
    lines = [_format_row("", {name: name for name in groups}, groups)]
    lines += [_format_row(title, cells, groups) for title, cells in rows]
    repeats = [_describe_repeats(name, group, verifier) for name, group in groups.items()]
    repeats.append(_describe_shared(problems, verifier))
    lines += ["", *filter(None, repeats)] if any(repeats) else []
    return "\n".join([*lines, "", *_list_samples(groups, verifier)])


def _format_row(title: str, cells: Mapping[str, str], names: Iterable[str]) -> str:
    """Return a row: its title, and a cell below the name of each split."""
    values = [cells.get(name, "").rjust(max(len(name), 6)) for name in names]
    return "  ".join([fit_text(title, _TITLE_WIDTH), *values]).rstrip()


def fit_text(text: str, width: int) -> str:
    """Return a text in one line of exactly `width` columns, cut or padded.

    Control characters become escapes, and a wide character counts as two columns.

    >>> fit_text("a\\n b" + "c" * 9, 8)
    'a bcc...'
    """
    line = make_printable(" ".join(text.split()))
    if cell_len(line) <= width:
        return set_cell_size(line, width)
    return set_cell_size(line, width - 3) + "..."


def _describe_answers(
    groups: Mapping[str, Sequence[Problem]], verifier: Verifier
) -> list[tuple[str, dict[str, str]]]:
    """Return rows of the gold answers: a share per class, or their range, or their length."""
    texts = {name: [verifier.render(one.answer) for one in group] for name, group in groups.items()}
    total = Counter(text for group in texts.values() for text in group)
    if len(total) <= MOST_CLASSES and 2 * len(total) <= total.total():
        return [
            (f"answer {text}", {name: _share(group, text) for name, group in texts.items()})
            for text, _ in total.most_common()
        ]
    (commonest, count), *_ = total.most_common(1)
    rows = []
    if count > _NOTABLE_SHARE * total.total():
        shares = {name: _share(group, commonest) for name, group in texts.items()}
        rows = [(f"answer {commonest}", shares)]
    if all(_PLAIN_NUMBER.fullmatch(text) for text in total):
        values = {name: [float(text) for text in group] for name, group in texts.items()}
        return [*rows, *_describe_numbers("answer", values, has_least=True)]
    sizes = {name: [len(text) for text in group] for name, group in texts.items()}
    distinct = {name: f"{len(set(group)):,}" for name, group in texts.items()}
    return [("distinct answers", distinct), *rows, *_describe_numbers("answer characters", sizes)]


def _share(group: Sequence[str], text: str) -> str:
    count = group.count(text)
    return f"{count / len(group):.0%}" if count else "-"


def _describe_numbers(
    title: str, values: Mapping[str, Sequence[float]], *, has_least: bool = False
) -> list[tuple[str, dict[str, str]]]:
    """Return a row for the median of each split and one for its largest value."""
    figures: dict[str, Callable[[Sequence[float]], float]] = {"median": median, "max": max}
    if has_least:
        figures = {"min": min, **figures}
    return [
        (f"{title}, {word}", {name: f"{figure(group):,.6g}" for name, group in values.items()})
        for word, figure in figures.items()
    ]


def _describe_repeats(split: str, problems: Sequence[Problem], verifier: Verifier) -> str:
    """Return a line about the questions that occur more than once in a split, or an empty text."""
    first: dict[str, Problem] = {}
    pairs = []
    for problem in problems:
        same = first.setdefault(simplify_question(problem.question), problem)
        if same is not problem:
            pairs.append((same, problem))
    if not pairs:
        return ""
    answers = [tuple(verifier.render(one.answer) for one in pair) for pair in pairs]
    num_differing = sum(left != right for left, right in answers)
    differing = f" ({num_differing:,} with another answer)" if num_differing else ""
    return _fit_line(f"repeated in {split}: {len(pairs):,}{differing}, {_name_pair(*pairs[0])}")


def _describe_shared(problems: Sequence[Problem], verifier: Verifier) -> str:
    """Return a line about the questions of other splits that are in train too, if allowed."""
    pairs = find_shared(problems, verifier)
    if not pairs:
        return ""
    return _fit_line(f"also in train: {len(pairs):,} of other splits, {_name_pair(*pairs[0])}")


def _name_pair(first: Problem, second: Problem) -> str:
    return f"such as {second.id} and {first.id}"


def _fit_line(text: str, indent: str = "") -> str:
    return indent + fit_text(text, WIDTH - len(indent)).rstrip()


def _list_samples(groups: Mapping[str, Sequence[Problem]], verifier: Verifier) -> list[str]:
    """Return the lines of a few problems, from all splits in turn: question and answer."""
    spread = [
        group[turn * len(group) // min(len(group), NUM_SAMPLES)]
        for turn in range(NUM_SAMPLES)
        for group in groups.values()
        if turn < len(group)
    ]
    lines = []
    for problem in spread[:NUM_SAMPLES]:
        question = f"{problem.split} {problem.id}: {' '.join(problem.question.split())}"
        lines.append(_fit_line(question))
        if len(question) > WIDTH:  # the end as well, where the choices or a table may stand
            lines.append(_fit_line("..." + question[max(WIDTH // 2, len(question) - 60) :], "    "))
        lines.append(_fit_line("-> " + verifier.render(problem.answer), "    "))
    return lines
