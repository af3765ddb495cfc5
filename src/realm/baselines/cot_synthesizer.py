"""CoT-Synthesizer (Zhang et al., arXiv 2501.01668): a model taught to write a better answer from several candidates.

Its data pipeline: candidates of each training problem, a synthesized answer by the teacher, a filter that keeps the right
ones, and supervised training on `question + candidates -> synthesis + answer`. In use it is shown the same candidates that
an assisted prompt shows. Our reading for a teacher that writes chains with a guide: its synthesis is its guided chain of the
problem, which for the scripted expert is what it writes whatever the candidates say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

from realm.bank.draw import draw_routes
from realm.bank.eligible import (
    exclude_chain,
    select_teachable_routes,
    select_training_routes,
)
from realm.baselines.further import completion_opening, rollouts_of, train_further
from realm.config.root import Config
from realm.core.jsonl import read_problems, read_routes
from realm.core.records import Problem, Route
from realm.method.perturb import alter_routes
from realm.method.prompt import render_prompt, render_reasoning
from realm.method.steps import drop_opening_answer

if TYPE_CHECKING:
    from realm.run import Run


def run_cot_synthesizer(run: Run) -> None:
    """Train RUN/distilled to synthesize, on as many completions as ReaLM has rollouts, and write RUN/model."""
    config = run.config
    problems = {
        problem.id: problem
        for problem in read_problems(run.path("problems.jsonl"))
        if problem.split == "train"
    }
    routes = read_routes(run.path("routes.jsonl"))
    count, opening = rollouts_of(run), completion_opening(run)
    rows = synthesis_rows(
        problems,
        routes,
        count,
        show=run.domain.verifier.render,
        config=config,
        opening=opening,
    )
    train_further(run, "cot_synthesizer", rows, "CoT-Synthesizer (arXiv 2501.01668)")


def synthesis_rows(
    problems: Mapping[str, Problem],
    routes: Sequence[Route],
    count: int,
    *,
    show: Callable[[Any], str],
    config: Config,
    opening: str = "",
) -> list[dict[str, Any]]:
    """Return `count` rows: problem after problem, each time with candidates drawn anew and one of its right syntheses.

    A synthesis is a right chain written with the guide, or without where nobody wrote with one; the candidates are never
    among them. `prompt.assisted` is the prompt: a synthesizer is asked by its own.
    """
    bank = select_training_routes(routes, config.routes.held_out, problems)
    chains: dict[str, list[Route]] = {}
    for route in select_teachable_routes(routes, config.routes.held_out, problems):
        if route.correct and bank.get(route.problem_id):
            chains.setdefault(route.problem_id, []).append(route)
    guided = {name: [route for route in group if route.guided] for name, group in chains.items()}
    if any(guided.values()):
        chains = {
            name: guided[name] or group
            for name, group in chains.items()
            if guided[name] or config.distill.use_unguided_when_missing
        }
    names, rows, rng = list(chains), [], Random(f"{config.seed}|altered")
    for number in range(count if names else 0):
        turn, place = divmod(number, len(names))
        problem = problems[names[place]]
        chain = chains[problem.id][turn % len(chains[problem.id])]
        candidates = exclude_chain(bank[problem.id], chain)
        draw = {"seed": config.seed, "row_id": problem.id, "step": turn, "mix": config.train.mix}
        shown = draw_routes(candidates, config.train.fade.routes, **draw)
        if shown.routes:
            if rng.random() < config.distill.altered_share:
                shown = alter_routes(shown, chain, show(problem.answer), show, rng)
            completion = opening + render_reasoning(
                drop_opening_answer(chain), show(problem.answer)
            )
            prompt = render_prompt(problem.question, shown, assisted=config.prompt.assisted)
            rows.append(
                {
                    "problem_id": problem.id,
                    "prompt": prompt,
                    "completion": completion,
                    "route": chain.source,
                }
            )
    return rows
