"""Iterated rounds: train again from the last model, with routes that it wrote itself.

A round is a run folder inside the first one. Its `distilled/` is the model of the last round, and
its stage `harvest` samples that model for routes. So its evaluation says what the round added.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from realm.bank.eligible import collapse_spaces
from realm.bank.worth import write_bank
from realm.core.jsonl import read_problems, read_routes, write_jsonl
from realm.core.stages import Stage
from realm.sampling import LazyPolicy, Sampling, make_own_route, make_prompt, sample_and_judge
from realm.stages import VERIFIER_SETTINGS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realm.core.records import Route
    from realm.run import Run

logger = logging.getLogger(__name__)

_BANK = "bank.jsonl"
"""The last round's routes. They fill in where the policy's own are all right or all wrong."""
_SAMPLES_PER_ROUTE = 2
"""Samples for each route that a prompt shows, so that a problem's sets differ between steps."""


def run_harvest(run: Run) -> None:
    """Write RUN/routes.jsonl and bank.json: own routes for training problems, else the bank's."""
    from realm.train.rl import select_rl_problems  # loads torch

    config, verifier = run.config, run.domain.verifier
    train = select_rl_problems(run)
    # As RL samples; 1.0 is TRL's default.
    temperature = config.train.grpo.get("temperature", 1.0)
    groups = sample_and_judge(
        run,
        LazyPolicy(run.path("distilled"), config),
        [make_prompt(problem, config) for problem in train],
        run.work("harvest") / "samples.jsonl",
        mode="harvest",
        sampling=Sampling(_SAMPLES_PER_ROUTE * config.train.fade.routes, temperature),
    )
    own = {
        problem.id: [make_own_route(problem, answer.judged, verifier) for answer in group]
        for problem, group in zip(train, groups, strict=True)
    }
    routes = replace_routes(read_routes(run.path(_BANK)), own)
    written = [route for route in routes if route.source == "self"]
    share = sum(bool(route.correct) for route in written) / max(1, len(written))
    logger.info(
        f"{len(written)} distinct routes of the policy's own for {len(train)} problems, "
        f"{share:.1%} of them right."
    )
    run.record_figures({"rollouts": sum(map(len, groups))})
    write_jsonl(run.path("routes.jsonl"), routes)
    problems, held_out = read_problems(run.path("problems.jsonl")), config.routes.held_out
    write_bank(run.path("bank.json"), problems, routes, verifier.same_all, held_out=held_out)


def replace_routes(bank: Sequence[Route], own: dict[str, list[Route]]) -> list[Route]:
    """Return the policy's own routes, no text twice, with the bank's where they are missing.

    Of a problem with own routes the bank gives the routes of a class (right, wrong) that has no own
    one, and its guided chains. Routes of other problems stay as they are.
    """
    routes: list[Route] = []
    classes: dict[str, set[bool | None]] = {}
    # The first of equal texts is kept, so that a resumed harvest gives the same bank.
    for problem_id, written in own.items():
        distinct: dict[str, Route] = {}
        for route in written:
            if route.text:
                distinct.setdefault(collapse_spaces(route.text), route)
        routes += distinct.values()
        classes[problem_id] = {route.correct for route in distinct.values()}
    return routes + [
        route
        for route in bank
        if route.guided or route.correct not in classes.get(route.problem_id, ())
    ]


HARVEST = Stage(
    name="harvest",
    function=run_harvest,
    settings=(
        "seed",
        *VERIFIER_SETTINGS,
        "prompt",
        "routes.held_out",
        "train.problems",
        "train.fade.routes",
        "train.grpo",
        "evaluate.max_new_tokens",
        "evaluate.batch_tokens",
    ),
    inputs=("problems.jsonl", _BANK, "distilled/"),
    outputs=("routes.jsonl", "bank.json"),
)


def next_round(run: Run, number: int) -> Run:
    """Return the run of round `number`, with what exists of the round before it linked in."""
    # All rounds lie side by side in the folder of the first run.
    first = run.folder if number == 2 else run.folder.parent
    stages = {HARVEST.name: HARVEST}
    stages |= {name: run.stages[name] for name in ("train", "eval", "report")}
    following = run.derive(first / f"round-{number}", run.config, stages)
    inherited = {
        "problems.jsonl": run.path("problems.jsonl"),
        _BANK: run.path("routes.jsonl"),
        "distilled": run.path("model"),
    }
    for name, path in inherited.items():
        if path.exists():
            following.adopt(path, name)
    return following
