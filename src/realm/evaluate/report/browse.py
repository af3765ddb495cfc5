"""The browser of the page: every problem with its routes and what each model wrote.

The page holds them compressed, since a run has tens of thousands of texts that repeat each other.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from realm.evaluate.report.words import MODELS, PROBE_WORDS
from realm.method.steps import split_steps

if TYPE_CHECKING:
    from realm.core.records import Problem, Route
    from realm.sampling import Answer

MAX_BYTES = 2_000_000
"""Of the compressed problems: the page stays below 3 MB."""
TAGS = {
    "wrong-alone": "wrong alone",
    "wrong-with-routes": "wrong with routes",
    "misled": "right alone, wrong with routes",
    "helped": "wrong alone, right with routes",
    "copied": "copies a wrong majority",
    "verdict-wrong": "a verdict is wrong or missing",
    "verdicts-right": "all verdicts are right",
    "won": "changed by RL: now right",
    "lost": "changed by RL: now wrong",
    "undecided": "an answer is undecided",
    "probe": "part of the probe",
    "right-alone": "right alone",
}
"""What a problem can be filtered by, and how the page calls it. Of the furthest trained model."""


@dataclass(frozen=True, kw_only=True)
class Browser:
    """What the page needs to list problems.

    Example: `Browser(data="H4sI...", counts={"wrong-alone": 3}, sources=["gpt-4o"],
    splits=["test"], num_problems=200, num_left_out=0)`.
    """

    data: str
    """The problems as JSON, compressed by gzip, as base64."""
    counts: Mapping[str, int]
    """Number of problems by tag."""
    sources: Sequence[str]
    splits: Sequence[str]
    num_problems: int
    num_left_out: int
    """Problems that the page has no room for; they are the last of the list."""


def make_browser(
    answers: Sequence[Answer],
    problems: Mapping[str, Problem],
    routes: Iterable[Route],
    *,
    held_out: Collection[str],
    render: Callable[[Any], str],
) -> Browser | None:
    """Return the browser of a run, failed questions first; `None` if there is nothing to show.

    Args:
        answers: All answers of the evaluation.
        problems: The problems by id.
        routes: All routes, guided chains included.
        held_out: Sources that training never shows.
        render: Writes an answer as text.
    """
    bank, asked = defaultdict(list), defaultdict(list)
    for route in routes:
        bank[route.problem_id].append(route)
    for answer in answers:
        asked[answer.problem_id].append(answer)
    entries = [
        _describe_problem(problem, bank[problem.id], asked[problem.id], held_out, render)
        for problem in problems.values()
        if bank[problem.id] or asked[problem.id]
    ]
    if not entries:
        return None
    entries.sort(key=_rank)  # stable: otherwise in the order of the problems
    data, num_kept = _pack(entries)
    kept = entries[:num_kept]
    return Browser(
        data=data,
        counts=Counter(tag for entry in kept for tag in entry["tags"]),
        sources=sorted({route["source"] for entry in kept for route in entry["routes"]}),
        splits=sorted({entry["split"] for entry in kept}),
        num_problems=num_kept,
        num_left_out=len(entries) - num_kept,
    )


def _describe_problem(
    problem: Problem,
    routes: Sequence[Route],
    answers: Sequence[Answer],
    held_out: Collection[str],
    render: Callable[[Any], str],
) -> dict[str, Any]:
    return {
        "id": problem.id,
        "split": problem.split,
        "question": problem.question,
        "gold": render(problem.answer),
        "tags": sorted(find_tags(answers, routes)),
        "routes": [_describe_route(route, held_out, render) for route in routes],
        "answers": [_describe_answer(answer) for answer in sorted(answers, key=_rank_answer)],
    }


def _describe_route(
    route: Route, held_out: Collection[str], render: Callable[[Any], str]
) -> dict[str, Any]:
    return {
        "source": route.source,
        "steps": split_steps(route),
        "answer": None if route.answer is None else render(route.answer),
        "correct": route.correct,
        "sound": route.is_sound(),
        "flaw": route.flaw,
        "guided": route.guided,
        "held_out": route.source in held_out,
    }


def _describe_answer(answer: Answer) -> dict[str, Any]:
    judged = answer.judged
    row: dict[str, Any] = {
        "method": answer.method,
        "mode": answer.mode,
        "text": judged.text,
        "correct": judged.correct,
        "tokens": judged.num_tokens,
    }
    if answer.kind:
        # The route of a probe is in no other file: it may have been altered.
        row |= {"kind": PROBE_WORDS[answer.kind], "prompt": answer.prompt}
        row |= {"verdicts": judged.verdicts, "labels": judged.labels}
    elif answer.routes:
        row |= {"shown": answer.routes, "verdicts": judged.verdicts}
    return row


def find_tags(answers: Sequence[Answer], routes: Sequence[Route]) -> set[str]:
    """Return what a problem can be filtered by, see `TAGS`."""
    greedy = {(one.method, one.mode): one for one in answers if one.kind is None}
    methods = [name for name in MODELS if (name, "autonomous") in greedy]
    last = methods[-1] if methods else ""
    alone, assisted = greedy.get((last, "autonomous")), greedy.get((last, "assisted"))
    found = {"probe"} if any(one.kind for one in answers) else set()
    if any(one.judged.correct is None for one in answers):
        found.add("undecided")
    if alone:
        found.add("right-alone" if alone.judged.correct else "wrong-alone")
    if assisted:
        found |= _tag_assisted(assisted, routes)
    if alone and assisted and bool(alone.judged.correct) != bool(assisted.judged.correct):
        found.add("misled" if alone.judged.correct else "helped")
    if last == "realm" and len(methods) > 1 and alone:
        before = greedy[methods[-2], "autonomous"].judged.correct
        if bool(before) != bool(alone.judged.correct):
            found.add("lost" if before else "won")
    return found


def _tag_assisted(answer: Answer, routes: Sequence[Route]) -> set[str]:
    """Return the tags of an answer with routes: right or wrong, copied, and its verdicts."""
    judged = answer.judged
    shown = [routes[place] for place in answer.routes]
    labels = [route.is_sound() for route in shown]
    found = {"verdicts-right" if list(judged.verdicts) == labels else "verdict-wrong"}
    if not judged.correct:
        found.add("wrong-with-routes")
        # As text: comparing by the verifier may take seconds for each pair.
        given = Counter(str(route.answer) for route in shown if route.answer is not None)
        flawed = {str(route.answer) for route in shown if not route.correct}
        # Of answers given equally often, the first one shown counts.
        for majority, _ in given.most_common(1):
            if majority in flawed and majority == str(judged.answer):
                found.add("copied")
    return found


def _rank_answer(answer: Answer) -> tuple[float, int]:
    """Return the place of an answer: the furthest trained model first, alone before the rest."""
    modes = ("autonomous", "assisted", "samples", "probe")
    # The models of earlier rounds come between those of the first and the last.
    model = MODELS.index(answer.method) if answer.method in MODELS else len(MODELS) - 1.5
    return -model, modes.index(answer.mode)


def _rank(entry: Mapping[str, Any]) -> int:
    """Return the place of a problem in the list: failed ones first, those nobody asked last."""
    if not entry["answers"]:
        return 3
    return 0 if "wrong-alone" in entry["tags"] else 1 if "wrong-with-routes" in entry["tags"] else 2


def _pack(entries: Sequence[Mapping[str, Any]]) -> tuple[str, int]:
    """Return the compressed entries as text, and how many of them fit into the page."""
    count = len(entries)
    while True:
        text = json.dumps(entries[:count], ensure_ascii=False, separators=(",", ":"))
        # Without a time of day, so that the same run gives the same page.
        data = base64.b64encode(gzip.compress(text.encode(errors="replace"), mtime=0))
        if len(data) <= MAX_BYTES or count == 1:
            return data.decode("ascii"), count
        # A little less than what would fit if all were alike.
        count = max(1, int(count * 0.95 * MAX_BYTES / len(data)))
