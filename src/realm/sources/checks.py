"""Teachers check routes: what they are asked, and the process labels that their replies give."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from realm.method.steps import Flaw, split_steps

if TYPE_CHECKING:
    from realm.config.teachers import TeacherSettings
    from realm.core.records import Problem, Route
    from realm.sources import Reply, Request
    from realm.sources.prompts import PromptWriter

# What a check may say of a step, and of all of them.
_NAMED = re.compile(r"\[(\d{1,4})\]|\bstep[ \t]+#?(\d{1,4})\b", re.IGNORECASE)
_HOLDS = re.compile(
    r"(?<!not )\b(?:every|each|all)(?: \w+)? steps? (?:\w+ )?holds?\b", re.IGNORECASE
)


def plan_checks(
    teacher: TeacherSettings,
    held_out: Sequence[str],
    routes: Sequence[Route],
    problems: Sequence[Problem],
    writer: PromptWriter,
) -> list[Request]:
    """Return what a teacher is asked of routes: the first of every problem, then the second."""
    train = [problem for problem in problems if problem.split == "train"][: teacher.problems]
    texts: dict[str, dict[str, Route]] = {problem.id: {} for problem in train}
    for route in routes:
        is_shown = not route.guided and route.source not in held_out
        # Copies of a text are checked once.
        if is_shown and route.problem_id in texts and split_steps(route):
            texts[route.problem_id].setdefault(route.text, route)
    groups = [(problem, list(texts[problem.id].values())[: teacher.checks]) for problem in train]
    return [
        writer.write_check(problem, group[turn])
        for turn in range(max((len(group) for _, group in groups), default=0))
        for problem, group in groups
        if turn < len(group)
    ]


def label_checked(
    routes: Sequence[Route],
    requests: Sequence[Request],
    replies: Mapping[tuple[str, str, int], Reply],
) -> list[Route]:
    """Return the routes, those that were checked with their process label."""
    checked = {
        (request.problem.id, request.route.text): replies[request.key]
        for request in requests
        if request.route is not None and request.key in replies
    }
    return [
        label_steps(route, checked[route.problem_id, route.text])
        if not route.guided and (route.problem_id, route.text) in checked
        else route
        for route in routes
    ]


def label_steps(route: Route, reply: Reply) -> Route:
    """Return a route with the process label that a check gives it.

    A wrong answer has a wrong step: a check that finds none leaves the label unknown. So does a
    number that the route does not have.
    """
    holds, flaw = (None, None) if reply.is_cut else read_check(reply.text)
    if flaw is not None and 1 <= flaw.number <= len(split_steps(route)):
        return replace(route, process=False, flaw=flaw.number, fix=flaw.fix)
    return replace(route, process=True) if holds and route.correct else route


def read_check(text: str) -> tuple[bool | None, Flaw | None]:
    """Return whether every step holds, and the first that does not; `None` for what is not said.

    >>> read_check("Step 1 is rule 4. Check: [2] should be: 8 - 1 = 7")
    (False, Flaw(number=2, fix='8 - 1 = 7'))
    >>> read_check("**Check:** every step holds."), read_check("I cannot tell.")
    ((True, None), (None, None))
    """
    said = re.split(r"\bcheck[ \t*_]*:", text, flags=re.IGNORECASE)[-1].strip(" \t\n*_`")
    said = said.partition("\n")[0]
    named = _NAMED.search(said)
    holds = _HOLDS.search(said)
    if named and not holds:
        fix = said[named.end() :].partition("should be")[2].strip(" \t:*_`")
        return False, Flaw(int(named[1] or named[2]), fix or None)
    return (True, None) if holds and not named else (None, None)


def count_labels(routes: Sequence[Route]) -> dict[str, int]:
    """Return of how many routes every step holds, one is flawed, or neither is known."""
    labels = Counter(route.process for route in routes if not route.guided)
    return {"hold": labels[True], "flawed": labels[False], "unknown": labels[None]}
