"""Iterated rounds: train again from the last model, with routes that it wrote itself.

With `rounds: n` the stage `train` runs all rounds, each as a run folder inside RUN. From the second
on, a round's config names the last round's model as its model, its stage `harvest` samples that
model for routes, and with `distill.every_round` it distils the right ones before it trains: what
the model has solved with routes, it is taught to solve without them.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realm.bank.eligible import collapse_spaces
from realm.bank.worth import write_bank
from realm.config.root import VERIFIER_SETTINGS
from realm.core.folder import Stage, remove_path
from realm.core.jsonl import read_problems, read_routes, write_jsonl
from realm.core.ranks import is_main_process, run_on_main
from realm.sampling import (
    OWN_SOURCE,
    LazyPolicy,
    Sampling,
    make_own_route,
    make_prompt,
    sample_and_judge,
)
from realm.stages import STAGES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realm.core.records import Judged, Problem, Route
    from realm.run import Run

logger = logging.getLogger(__name__)

_BANK = "bank.jsonl"
"""The last round's routes. They fill in where the policy's own are all right or all wrong."""


def run_harvest(run: Run) -> None:
    """Write RUN/routes.jsonl and bank.json: own routes for training problems, else the bank's."""
    config, verifier = run.config, run.domain.verifier
    bank = read_routes(run.path(_BANK))
    samples = _sample_last_model(run, bank)
    if not is_main_process():
        return
    own = {
        problem.id: [make_own_route(problem, judged, verifier) for judged in group]
        for problem, group in samples
    }
    routes = replace_routes(bank, own)
    written = [route for route in routes if route.source == OWN_SOURCE and not route.guided]
    share = sum(bool(route.correct) for route in written) / max(1, len(written))
    logger.info(
        f"{len(written)} distinct routes of the policy's own for {len(own)} problems, "
        f"{share:.1%} of them right."
    )
    run.record_figures({"rollouts": sum(map(len, own.values()))})
    if config.distill.every_round:
        from realm.train.transfer import stands_without_routes

        # The policy has the rules in its weights: its right chains are taught as guided ones are.
        right = [(problem, one) for problem, group in samples for one in group if one.correct]
        taught = [pair for pair in right if stands_without_routes(pair[1])]
        routes += [replace(make_own_route(*pair, verifier), guided=True) for pair in taught]
        logger.info(
            f"{len(taught)} right samples are to be taught; {len(right) - len(taught)} others are "
            "not well formed, or name a route."
        )
    write_jsonl(run.path("routes.jsonl"), routes)
    problems, held_out = read_problems(run.path("problems.jsonl")), config.routes.held_out
    write_bank(run.path("bank.json"), problems, routes, verifier.same_all, held_out=held_out)


def _sample_last_model(run: Run, bank: Sequence[Route]) -> list[tuple[Problem, list[Judged]]]:
    """Return the last model's judged samples of each problem of reinforcement learning.

    Where they are taught, half of them are drawn with routes of the bank, which may hold what the
    model lacks. Private thoughts about routes cannot be taught without them.
    """
    from realm.train.rl import select_rl_problems  # loads torch
    from realm.train.rows import HARVEST_PER_ROUTE, draw_assisted_prompts

    config, problems = run.config, select_rl_problems(run)
    model = config.resolve_model()  # RUN/round-n/model, for which a server may answer
    policy = LazyPolicy(model, config, Path(model).parent.name)
    # As RL samples; 1.0 is TRL's default.
    temperature = config.train.grpo.get("temperature", 1.0)
    count = HARVEST_PER_ROUTE * config.train.fade.routes
    asked = {"harvest": [make_prompt(problem, config) for problem in problems]}
    if config.distill.every_round and not config.prompt.think_end:
        asked["harvest with routes"] = draw_assisted_prompts(problems, bank, config)
        count //= 2
    samples: dict[str, list[Judged]] = {problem.id: [] for problem in problems}
    for mode, prompts in asked.items():
        path = run.work("harvest") / f"{mode.replace(' ', '-')}.jsonl"
        sampling = Sampling(count, temperature)
        for group in sample_and_judge(run, policy, prompts, path, mode=mode, sampling=sampling):
            for answer in group:
                samples[answer.problem_id].append(answer.judged)
    return [(problem, samples[problem.id]) for problem in problems]


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
        "model",
        *VERIFIER_SETTINGS,
        "prompt",
        "routes.held_out",
        "distill.every_round",
        "train.skip",
        "train.problems",
        "train.fade.routes",
        "train.mix",
        "train.grpo",
        "evaluate.max_new_tokens",
        "evaluate.batch_tokens",
    ),
    inputs=("problems.jsonl", _BANK),
    outputs=("routes.jsonl", "bank.json"),
)


def run_rounds(run: Run) -> None:
    """Run all rounds of reinforcement learning, each in RUN/round-n; the last one's model is RUN's.

    A round that is up to date is not run again, so that a run can be given one round more.
    """
    made: list[Run] = []
    figures = Counter[str]()
    for number in range(1, run.config.rounds + 1):
        last = make_round(run, number, made[-1] if made else None)
        made.append(last)
        logger.info("round %d of %d, in %s", number, run.config.rounds, last.folder)
        for stage in last.stages:
            last.do(stage)
            # A Counter adds: the budget of the run is that of all its rounds.
            figures.update(run_on_main(last.manifest)["stages"][stage].get("figures", {}))
    if not is_main_process():
        return
    run.record_figures(dict(figures))
    for name in ("model", "fade.jsonl", "headroom.json", "rollouts"):
        # The headroom is that before reinforcement learning; all else is of its end.
        last = made[0] if name == "headroom.json" else made[-1]
        remove_path(run.path(name))
        if name == "model":  # may be large
            run.adopt(last.path(name), name)
        elif last.path(name).is_dir():
            shutil.copytree(last.path(name), run.path(name))
        else:
            shutil.copy(last.path(name), run.path(name))


def make_round(run: Run, number: int, last: Run | None) -> Run:
    """Return round `number` of `run` as a run of its own; it starts from the model of `last`."""
    settings: dict[str, Any] = {"rounds": 1}
    names = ["train"]
    links = {name: run.path(name) for name in ("problems.jsonl", "rules.md")}
    if last is None:
        # Later rounds start from the last model, and read the routes that they harvest.
        links |= {name: run.path(name) for name in ("routes.jsonl", "sft.jsonl", "distilled")}
    else:
        # Relative to the config, as in a file. The dot tells a folder from a hub id.
        model = os.path.relpath(last.path("model"), run.config.resolve("."))
        distills = run.config.distill.every_round
        # With `zero` the round trains the last model as it is.
        settings |= {"model": f"./{model}", "recipe": "r1" if distills else "zero"}
        names = ["harvest", "distill", "train"] if distills else ["harvest", "train"]
        links[_BANK] = last.path("routes.jsonl")
    stages = {name: (STAGES | {"harvest": HARVEST})[name] for name in names}
    folder = run.path(f"round-{number}")
    following = run.derive(folder, run.config.with_settings(settings), stages)
    for name, path in links.items():
        if path.exists() and is_main_process():
            following.adopt(path, name)
    return following


ROUNDS = replace(
    STAGES["train"],
    function=run_rounds,
    settings=tuple(
        dict.fromkeys(
            ("rounds", *STAGES["train"].settings, *STAGES["distill"].settings, *HARVEST.settings)
        )
    ),
)
"""The stage `train` of a run of several rounds."""
