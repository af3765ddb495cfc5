"""CoT-Synthesizer (Zhang et al., arXiv 2501.01668): write a better answer from several candidates.

Its data pipeline: candidates of each training problem, a synthesized answer by the teacher, a
filter that keeps the right ones, and supervised training on `question + candidates -> synthesis +
answer`. In use it is shown the candidates that an assisted prompt shows. The teacher of guided
chains (`routes.teachers`) writes the syntheses, with the rule book in its prompt. Our reading for
routes without such a teacher: the synthesis is a guided chain of the problem, which its author
wrote whatever the candidates say.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import cycle, islice, product
from typing import TYPE_CHECKING, Any

from realm.bank.draw import draw_routes
from realm.bank.eligible import (
    exclude_chain,
    select_sound_routes,
    select_teachable_routes,
    select_training_routes,
)
from realm.baselines.further import count_further_completions, train_further
from realm.core.jsonl import read_problems, read_routes
from realm.core.ranks import run_on_main
from realm.method.prompt import render_prompt, render_reasoning, render_routes
from realm.method.steps import drop_answer_step
from realm.sources.plan import ask_expert, find_expert, get_settings, label_replies
from realm.sources.prompts import PromptWriter

if TYPE_CHECKING:
    from realm.config.root import Config
    from realm.config.teachers import TeacherSettings
    from realm.core.records import Problem, Route, RouteSet
    from realm.run import Run
    from realm.sources import Request
    from realm.verify.verifier import Verifier


logger = logging.getLogger(__name__)

Lesson = tuple["Problem", "RouteSet", "Route"]
"""A problem, the candidates that its prompt shows, and the synthesis that is taught."""


def run_cot_synthesizer(run: Run) -> None:
    """Train RUN/distilled to synthesize, for ReaLM's number of completions; write RUN/model."""
    count, teacher = count_further_completions(run), find_expert(run)
    problems = {
        problem.id: problem
        for problem in read_problems(run.path("problems.jsonl"))
        if problem.split == "train"
    }
    routes = read_routes(run.path("routes.jsonl"))
    if teacher is None:
        draw = partial(draw_lessons, problems, routes, count, run.config)
    else:
        draw = partial(ask_for_lessons, run, teacher, problems, routes, count)
    lessons = run_on_main(lambda: list(draw()))
    rows = make_synthesis_rows(lessons, run.config, run.domain.verifier)
    title = "CoT-Synthesizer (arXiv 2501.01668)"
    train_further(run, "cot_synthesizer", rows, title, adds_opening=True)


def make_synthesis_rows(
    lessons: Iterable[Lesson], config: Config, verifier: Verifier
) -> list[dict[str, Any]]:
    """Return the rows to train on.

    The prompt is `prompt.assisted`, which this method replaces by its own.
    """
    return [
        {
            "problem_id": problem.id,
            "prompt": render_prompt(problem.question, shown, assisted=config.prompt.assisted),
            "completion": render_reasoning(
                drop_answer_step(chain), verifier.render(problem.answer)
            ),
            "route": chain.source,
        }
        for problem, shown, chain in lessons
    ]


def draw_lessons(
    problems: Mapping[str, Problem], routes: Sequence[Route], count: int, config: Config
) -> Iterator[Lesson]:
    """Yield `count` lessons: problem after problem, each time with candidates drawn anew.

    The synthesis is one of the problem's right chains, and never among the candidates.
    """
    bank = select_training_routes(routes, config.routes.held_out, problems)
    syntheses = _collect_syntheses(routes, bank, problems, config)
    names, sound = list(syntheses), select_sound_routes(bank)
    for number in range(count if names else 0):
        turn, place = divmod(number, len(names))  # each turn goes once over all problems
        name = names[place]
        chain = syntheses[name][turn % len(syntheses[name])]
        shown = _draw_candidates(name, exclude_chain(bank[name], chain), sound, turn, config)
        if shown.routes:  # else the chain is the only route of the problem
            yield problems[name], shown, chain


def ask_for_lessons(
    run: Run,
    teacher: TeacherSettings,
    problems: Mapping[str, Problem],
    routes: Sequence[Route],
    count: int,
) -> Iterator[Lesson]:
    """Yield `count` lessons with right syntheses that the teacher writes; nothing if none is right.

    Each problem has as many syntheses as the teacher writes guided chains; they come round again.
    """
    config = run.config
    bank = select_training_routes(routes, config.routes.held_out, problems)
    sound = select_sound_routes(bank)
    writer = PromptWriter(get_settings(run), run.domain, config.resolve)
    requests: list[Request] = []
    shown = {}
    # Turn by turn, so that a budget that runs out leaves all problems alike.
    for turn, name in product(range(teacher.guided), bank):
        candidates = _draw_candidates(name, bank[name], sound, turn, config)
        # No more requests than lessons, since each right reply makes one.
        if candidates.routes and len(requests) < count:
            text = render_routes(candidates)
            one = writer.write_request(problems[name], "synthesis", turn, candidates=text)
            requests.append(one)
            shown[one.key] = candidates
    replies = ask_expert(run, teacher, requests)
    answered = [one for one in requests if one.key in replies]
    texts = [replies[one.key] for one in answered]
    chains = label_replies(answered, texts, teacher.name, run.domain.verifier)
    right = [
        (request.problem, shown[request.key], chain)
        for request, chain in zip(answered, chains, strict=True)
        if chain.correct
    ]
    figures = {"syntheses": len(answered), "right": len(right)}
    logger.info("CoT-Synthesizer: %s; the right ones are taught.", figures)
    run.record_figures(figures)
    # Round again: it trains on as many completions as ReaLM, however few are right.
    return islice(cycle(right), count)


def _draw_candidates(
    name: str, candidates: Sequence[Route], sound: Sequence[Route], turn: int, config: Config
) -> RouteSet:
    """Return the routes that a prompt shows of `candidates`: others in each turn."""
    count, mix = config.train.fade.routes, config.train.mix
    return draw_routes(
        candidates, count, seed=config.seed, row_id=name, step=turn, mix=mix, others=sound
    )


def _collect_syntheses(
    routes: Sequence[Route],
    bank: Mapping[str, Sequence[Route]],
    problems: Mapping[str, Problem],
    config: Config,
) -> dict[str, list[Route]]:
    """Return the right chains of each problem that has candidates.

    Chains written with the guide are taken. The others are taken only if nobody wrote with a
    guide or, with `distill.use_unguided_when_missing`, if the problem has no guided chain.
    """
    chains: dict[str, list[Route]] = {}
    for route in select_teachable_routes(routes, config.routes.held_out, problems):
        if route.correct and bank.get(route.problem_id):  # else there is nothing to weigh
            chains.setdefault(route.problem_id, []).append(route)
    guided = {name: [route for route in group if route.guided] for name, group in chains.items()}
    if not any(guided.values()):
        return chains  # nobody wrote with a guide
    if config.distill.use_unguided_when_missing:
        return {name: guided[name] or group for name, group in chains.items()}
    return {name: group for name, group in guided.items() if group}
