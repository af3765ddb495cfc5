"""CoT-Synthesizer (Zhang et al., arXiv 2501.01668): write a better answer from several candidates.

Its data pipeline: candidates of each training problem, a synthesized answer by the teacher, a
filter that keeps the right ones, and supervised training on `question + candidates -> synthesis +
answer`. In use it is shown the candidates that an assisted prompt shows. Our reading for a teacher
that writes chains with a guide: its synthesis is its guided chain of the problem. The scripted
expert writes the same chain whatever the candidates say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from realm.method.prompt import render_prompt, render_reasoning
from realm.method.steps import drop_answer_step

if TYPE_CHECKING:
    from realm.config.root import Config
    from realm.core.records import Problem, Route
    from realm.run import Run
    from realm.verify.verifier import Verifier


def run_cot_synthesizer(run: Run) -> None:
    """Train RUN/distilled to synthesize, for ReaLM's number of completions; write RUN/model."""
    problems = read_problems(run.path("problems.jsonl"))
    rows = make_synthesis_rows(
        {problem.id: problem for problem in problems if problem.split == "train"},
        read_routes(run.path("routes.jsonl")),
        count_further_completions(run),
        config=run.config,
        verifier=run.domain.verifier,
    )
    title = "CoT-Synthesizer (arXiv 2501.01668)"
    train_further(run, "cot_synthesizer", rows, title, adds_opening=True)


def make_synthesis_rows(
    problems: Mapping[str, Problem],
    routes: Sequence[Route],
    count: int,
    *,
    config: Config,
    verifier: Verifier,
) -> list[dict[str, Any]]:
    """Return `count` rows: problem after problem, each time with candidates drawn anew.

    The synthesis is one of the problem's right chains, and never among the candidates. The prompt
    is `prompt.assisted`, which this method replaces by its own.
    """
    bank = select_training_routes(routes, config.routes.held_out, problems)
    syntheses = _collect_syntheses(routes, bank, problems, config)
    names, rows = list(syntheses), []
    sound = select_sound_routes(bank)
    for number in range(count if names else 0):
        turn, place = divmod(number, len(names))  # each turn goes once over all problems
        problem = problems[names[place]]
        chain = syntheses[problem.id][turn % len(syntheses[problem.id])]
        candidates = exclude_chain(bank[problem.id], chain)
        shown = draw_routes(
            candidates,
            config.train.fade.routes,
            seed=config.seed,
            row_id=problem.id,
            step=turn,  # other candidates in each turn
            mix=config.train.mix,
            others=sound,
        )
        if not shown.routes:
            continue  # the chain is the only route of the problem
        answer = verifier.render(problem.answer)
        row = {
            "problem_id": problem.id,
            "prompt": render_prompt(problem.question, shown, assisted=config.prompt.assisted),
            "completion": render_reasoning(drop_answer_step(chain), answer),
            "route": chain.source,
        }
        rows.append(row)
    return rows


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
