"""The probe of process verification: does a model read the steps of a route, or only its answer?

Each prompt shows one route. In three of the five kinds the answer alone tells the wrong verdict, or
nothing: a model that compares answers calls `flawed_step` and `other_problem` sound.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from realm.bank.eligible import select_sound_routes
from realm.core.records import Problem, Route, RouteSet
from realm.method.perturb import perturb_route, transplant_steps

ProbeKind = Literal["sound", "wrong", "wrong_answer", "flawed_step", "other_problem"]
"""What the one route of a prompt is, from the routes that evaluation shows:

| kind          | steps              | answer | true verdict |
|---------------|--------------------|--------|--------------|
| sound         | all hold           | right  | sound        |
| wrong         | as a source wrote  | wrong  | flawed       |
| wrong_answer  | all hold           | wrong  | flawed       |
| flawed_step   | one does not hold  | right  | flawed       |
| other_problem | of another problem | right  | flawed       |
"""
PROBE_KINDS: tuple[ProbeKind, ...] = get_args(ProbeKind)


@dataclass(frozen=True)
class Probe:
    """One route to judge, and its kind.

    Example: `Probe("flawed_step", problem, RouteSet(problem_id="p1", routes=(route,)))`.
    """

    kind: ProbeKind
    problem: Problem
    routes: RouteSet


def draw_probes(
    problems: Sequence[Problem], bank: Mapping[str, Sequence[Route]], *, count: int, seed: int
) -> list[Probe]:
    """Return up to `count` probes of each kind, each of another problem as far as there are any.

    Args:
        problems: The problems to ask.
        bank: The routes of each that evaluation may show.
        count: Probes of each kind.
        seed: Draws problems, routes and what is perturbed in them.
    """
    rng = random.Random(f"probe:{seed}")
    # A label may say that all steps hold and the answer is wrong: such a route is of no kind.
    sound_bank = {
        problem_id: [route for route in routes if route.is_sound() and route.correct]
        for problem_id, routes in bank.items()
    }
    others = select_sound_routes(sound_bank)
    found: dict[ProbeKind, list[Probe]] = {kind: [] for kind in PROBE_KINDS}
    for problem in rng.sample(list(problems), len(problems)):
        for kind in PROBE_KINDS:
            if len(found[kind]) == count:
                continue
            routes = bank.get(problem.id, [])
            wrong = [route for route in routes if not route.correct and not route.is_sound()]
            sources = wrong if kind == "wrong" else sound_bank.get(problem.id, [])
            route = _draw_route(kind, sources, others, rng)
            if route is not None:
                shown = RouteSet(problem_id=problem.id, routes=(route,))
                found[kind].append(Probe(kind, problem, shown))
    return [probe for probes in found.values() for probe in probes]


def _draw_route(
    kind: ProbeKind, sources: Sequence[Route], others: Sequence[Route], rng: random.Random
) -> Route | None:
    """Return a route of this kind; `None` if the problem's routes `sources` give none."""
    if not sources:
        return None
    route = rng.choice(sources)
    if kind == "wrong_answer":
        return perturb_route(route, "answer", others, rng)
    if kind == "flawed_step":
        # Words alone hold no number to change; a step of another problem is then the flaw.
        number = perturb_route(route, "number", others, rng)
        return number or perturb_route(route, "foreign", others, rng)
    if kind == "other_problem":
        foreign = [other for other in others if other.problem_id != route.problem_id]
        return transplant_steps(route, rng.choice(foreign)) if foreign else None
    return route
