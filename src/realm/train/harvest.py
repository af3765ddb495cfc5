"""Stage `harvest` of a further round: the policy's own samples become the routes that training shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from realm.bank.worth import write_bank
from realm.core.jsonl import read_problems, read_routes, write_jsonl
from realm.core.records import Problem, Route
from realm.evaluate.ask import LazyPolicy, Sampling, make_own_route, make_prompt, sample_and_judge

if TYPE_CHECKING:
    from realm.evaluate.records import Answer
    from realm.run import Run
    from realm.verify.verifier import Verifier

PER_ROUTE = 2
"""Samples for each route that a prompt shows, so that a problem's sets differ from step to step."""


def run_harvest(run: Run) -> None:
    """Write RUN/routes.jsonl and RUN/bank.json: own samples for the training problems, the routes there were for all others."""
    config = run.config
    problems, bank = read_problems(run.path("problems.jsonl")), read_routes(run.path("bank.jsonl"))
    train = [problem for problem in problems if problem.split == "train"][: config.train.problems]
    domain = run.domain
    groups = sample_and_judge(
        run,
        LazyPolicy(run.path("distilled"), config),
        [make_prompt(problem, config) for problem in train],
        run.work("harvest") / "samples.jsonl",
        mode="harvest",
        sampling=Sampling(
            PER_ROUTE * config.train.fade.routes, config.train.grpo.get("temperature", 1.0)
        ),
    )
    routes = list(own_bank(train, groups, bank, domain.verifier))
    own = [route for route in routes if route.source == "self"]
    right = sum(bool(route.correct) for route in own) / max(1, len(own))
    print(
        f"{len(own)} distinct routes of the policy's own for {len(train)} problems, {right:.1%} of them right."
    )
    run.record_figures({"rollouts": sum(map(len, groups))})
    write_jsonl(run.path("routes.jsonl"), routes)
    write_bank(
        run.path("bank.json"),
        problems,
        routes,
        domain.verifier.same_all,
        held_out=config.routes.held_out,
    )


def own_bank(
    train: Sequence[Problem],
    groups: Sequence[Sequence[Answer]],
    bank: Sequence[Route],
    verifier: Verifier,
) -> Iterator[Route]:
    """Yield each problem's own routes, no text twice, and of the class that they lack the routes that the bank has.

    Guided chains and the routes of problems that are not trained on stay as they are.
    """
    own: dict[str, dict[str, Route]] = {problem.id: {} for problem in train}
    for problem, group in zip(train, groups, strict=True):
        for answer in group:
            route = make_own_route(problem, answer.judged, verifier)
            if route.text:
                own[problem.id].setdefault(" ".join(route.text.split()), route)
    for routes in own.values():
        yield from routes.values()
    classes = {
        problem_id: {route.correct for route in routes.values()}
        for problem_id, routes in own.items()
    }
    for route in bank:
        if (
            route.problem_id not in own
            or route.guided
            or route.correct not in classes[route.problem_id]
        ):
            yield route
