"""Find the problems whose labels are most likely wrong, and say why."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from realm.core.jsonl import explain_damage, read_jsonl, read_problems, read_routes

if TYPE_CHECKING:
    from realm.core.records import Problem, Route
    from realm.run import Run
    from realm.sampling import Answer

Outcome = Literal["right", "wrong", "unparsed"]
Said = tuple[str, str | None, bool | None]
"""Who answered, the text of the answer, None if there is none, and whether it is right."""
_MOST_EXTRA = 6
"""Words that an answer may have beyond the gold answer, and still look like it."""
_FEWEST_AGREEING = 3
"""Fewer equal answers than this are no evidence against the gold answer."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A problem with all that was written to it, and why its labels may be wrong.

    Example: `Case(problem=problem, routes=routes, answers=(), reasons=("nobody solves it",))`.
    """

    problem: Problem
    routes: tuple[Route, ...] = ()
    answers: tuple[Answer, ...] = ()
    """What models answered in the evaluation, alone and with routes."""
    reasons: tuple[str, ...] = ()
    """The strongest first; empty if nothing looks wrong."""
    rank: int = 0
    """Place of the strongest reason among all kinds of reasons; the lowest is shown first."""
    agreement: float = 0.0
    """Share of the answers that are the most frequent wrong one; decides among equal ranks."""


def list_cases(
    problems: Sequence[Problem],
    routes: Iterable[Route],
    answers: Iterable[Answer],
    render: Callable[[Any], str],
) -> list[Case]:
    """Return a case for each problem, those that are most likely mislabelled first.

    Args:
        problems: The problems of all splits.
        routes: All routes, guided chains included.
        answers: The answers of the evaluation, if there was one.
        render: Writes an answer as text.
    """
    bank, asked = defaultdict(list), defaultdict(list)
    for route in routes:
        bank[route.problem_id].append(route)
    for answer in answers:
        if answer.mode in ("autonomous", "assisted"):
            asked[answer.problem_id].append(answer)
    golds = {_split_words(render(one.answer)) for one in problems}
    cases = [_make_case(one, bank[one.id], asked[one.id], golds, render) for one in problems]
    # Stable: otherwise in the order of the problems.
    return sorted(cases, key=lambda case: (case.rank, -case.agreement))


def _make_case(
    problem: Problem,
    routes: Sequence[Route],
    answers: Sequence[Answer],
    golds: set[tuple[str, ...]],
    render: Callable[[Any], str],
) -> Case:
    said = [(route.source, route.answer, route.correct) for route in routes]
    # An assisted answer is no second opinion: its prompt showed the routes.
    said += [
        (one.method, one.judged.answer, one.judged.correct)
        for one in answers
        if one.mode == "autonomous"
    ]
    texts = [
        (name, None if answer is None else render(answer), correct)
        for name, answer, correct in said
    ]
    guided = [route for route in routes if route.guided]
    found = _find_reasons(_split_words(render(problem.answer)), texts, guided, golds)
    ranked = [(rank, reason) for rank, reason in enumerate(found) if reason]
    return Case(
        problem=problem,
        routes=tuple(routes),
        answers=tuple(answers),
        reasons=tuple(reason for _, reason in ranked),
        rank=ranked[0][0] if ranked else 99,
        agreement=_measure_agreement(texts),
    )


def load_cases(run: Run) -> list[Case]:
    """Return the cases of a run, see `list_cases`.

    Raises:
        DataError: There are no problems or routes yet.
    """
    from realm.sampling import Answer

    path = run.path("answers.jsonl")
    with explain_damage(path, "eval"):
        answers = [Answer.from_row(row) for row in read_jsonl(path)] if path.exists() else []
    problems = read_problems(run.path("problems.jsonl"))
    routes = read_routes(run.path("routes.jsonl"))
    return list_cases(problems, routes, answers, run.domain.verifier.render)


def describe_cases(cases: Sequence[Case], *, show_all: bool) -> str:
    """Return a line for each case that looks mislabelled, or for all, and a count."""
    suspects = [case for case in cases if case.reasons]
    lines = [
        f"{case.problem.split}  {case.problem.id}  {'; '.join(case.reasons) or '-'}"
        for case in (cases if show_all else suspects)
    ]
    lines.append(f"{len(suspects):,} of {len(cases):,} problems look mislabelled")
    return "\n".join(lines)


def select_cases(
    cases: Iterable[Case], split: str | None, source: str | None, only: Outcome | None
) -> list[Case]:
    """Return the cases of a split, with a route of a source, and with an outcome.

    With a source, the outcome is that of its routes.
    """
    return [
        case
        for case in cases
        if split in (None, case.problem.split)
        and (source is None or any(route.source == source for route in case.routes))
        and (only is None or only in find_outcomes(case, source))
    ]


def find_outcomes(case: Case, source: str | None = None) -> set[Outcome]:
    """Return how the routes and answers of a case were judged; only the routes of a source."""
    routes = [route for route in case.routes if source in (None, route.source)]
    found = {name_outcome(route.answer, route.correct) for route in routes}
    if source is None:
        found |= {name_outcome(one.judged.answer, one.judged.correct) for one in case.answers}
    return found


def name_outcome(answer: Any, correct: bool | None) -> Outcome:
    """Return in a word how an answer was judged; what the verifier could not decide is unparsed."""
    if answer is None or correct is None:
        return "unparsed"
    return "right" if correct else "wrong"


def _find_reasons(
    gold: tuple[str, ...],
    said: Sequence[Said],
    guided: Sequence[Route],
    golds: set[tuple[str, ...]],
) -> Iterator[str]:
    """Yield each kind of reason in the order of its weight; empty where it does not apply."""
    texts = [(name, text, correct) for name, text, correct in said if text is not None]
    wrong = [(name, text) for name, text, correct in texts if correct is False]
    yield next(
        (
            f"{name} is judged wrong and says {text!r}, which looks like the gold answer"
            for name, text in wrong
            if _looks_equal(_split_words(text), gold, golds)
        ),
        "",
    )
    taught = f"all {len(guided)} chains of authors with the rules disagree with the gold answer"
    yield taught if guided and all(route.correct is False for route in guided) else ""
    yield _describe_agreement(wrong, len(texts))
    is_solved = any(correct for _, _, correct in texts)
    yield f"nobody of {len(texts)} solves it" if texts and not is_solved else ""
    num_undecided = sum(correct is None for _, _, correct in texts)
    yield f"the verifier could not decide {num_undecided} answers" if num_undecided else ""
    num_unread = len(said) - len(texts)
    yield (
        f"no answer was found in {num_unread} of {len(said)}" if 2 * num_unread > len(said) else ""
    )


def _measure_agreement(said: Sequence[Said]) -> float:
    wrong = [_split_words(text) for _, text, correct in said if text and correct is False]
    return Counter(wrong).most_common(1)[0][1] / len(said) if wrong else 0.0


def _describe_agreement(wrong: Sequence[tuple[str, str]], num_answers: int) -> str:
    """Return which wrong answer most of several authors agree on, or an empty text."""
    groups = Counter(_split_words(text) for _, text in wrong)
    words, count = groups.most_common(1)[0] if groups else ((), 0)
    agreeing = [(name, text) for name, text in wrong if _split_words(text) == words]
    num_authors = len({name for name, _ in agreeing})
    if count < _FEWEST_AGREEING or num_authors < 2 or 3 * count < 2 * num_answers:
        return ""
    return f"{count} of {num_answers} by {num_authors} authors agree on {agreeing[0][1]!r}"


def _split_words(text: str) -> tuple[str, ...]:
    """Return the words and numbers of an answer, without case, commas in numbers and signs.

    >>> _split_words("Pay $1,250.00!")
    ('pay', '1250')
    """
    plain = re.sub(r"(?<=\d),(?=\d{3})", "", text.casefold())
    words = re.findall(r"-?\d+(?:\.\d+)?|[^\W\d_]+", plain)
    return tuple(re.sub(r"\.0+$", "", word) for word in words)


def _looks_equal(
    words: tuple[str, ...], gold: tuple[str, ...], golds: set[tuple[str, ...]]
) -> bool:
    """Return whether an answer has the words of the gold answer, or one holds the other.

    An answer that is the gold answer of another problem is another class, not another wording.
    """
    if not words or not gold:
        return False
    if sorted(words) == sorted(gold):
        return True
    short, long = sorted((words, gold), key=len)
    if words in golds or len(long) - len(short) > _MOST_EXTRA:
        return False
    starts = range(len(long) - len(short) + 1)
    return any(long[start : start + len(short)] == short for start in starts)
