"""The scripted expert: stands in for a teacher LLM in the `claims` domain, so that the demo needs no API.

Guided, it reads the rules and never errs. Unguided, it writes as one of several *sources*: each source holds its own
misconceptions about the rules, which its routes share (so that a majority can be wrong), and slips at random.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from realm.config.routes import ScriptedTeacher as Settings
from realm.core.errors import ConfigError
from realm.core.records import Problem, Route
from realm.domains.claims.adjudicate import FEES, Claim, Decision, Rules, Step, adjudicate
from realm.sources import Reply, Request

FOLLOWS_MISCONCEPTION = 0.55
"""Chance that a route follows each of its source's misconceptions; a source is not wrong every time."""
SLIPS = {"hasty": 0.5, "frugal": 0.5, "dated": 0.4, "careless": 0.95, "outsider": 0.36}
"""Chance that a route of a source misreads a fact, misremembers a number of the rules, or subtracts wrongly, once."""

MISCONCEPTIONS: dict[str, tuple[dict, ...]] = {
    "hasty": (  # forgets exceptions
        {"emergency_waives_approval": False, "emergency_opens_network": False},
        {"filing_days": {"bronze": 30, "silver": 30, "gold": 30}},
        {"preventive_deductible": False},
        {"emergency_waives_copay": False},
        {"limits": {"bronze": 60, "silver": 60, "gold": 60}},
    ),
    "frugal": (  # reads every rule to the insurer's advantage
        {"network_only": ("bronze", "silver")},
        {"needs_approval": ("therapy", "scan", "surgery", "x-ray")},
        {"accident_cosmetics": False, "grace_days": 0},
        {"copays": {"bronze": 12, "silver": 8, "gold": 5}},
        {"fees": FEES | {"checkup": 16, "vaccine": 10, "surgery": 40}},
    ),
    "dated": (  # works from an old manual
        {"fees": FEES | {"checkup": 15, "dental care": 20, "therapy": 25, "ambulance": 30}},
        {"emergency_waives_copay": False},
        {"copays": {"bronze": 6, "silver": 6, "gold": 6}},
        {"grace_days": 0, "limits": {"bronze": 15, "silver": 25, "gold": 35}},
    ),
    "careless": (),  # knows the rules and slips
    "outsider": (  # comes from another insurer
        {"halve_outside": False, "network_only": ()},
        {"subtract_other": False},
        {"fees": FEES | {"scan": 50, "surgery": 48, "x-ray": 30, "blood test": 20}},
        {"grace_days": 20, "needs_approval": ("scan", "surgery")},
        {"limits": {"bronze": 15, "silver": 20, "gold": 25}},
    ),
}


class ScriptedTeacher:
    """The expert as a teacher among others: guided it never errs, unguided it writes as the source of its name."""

    fields = None
    at_once = 1024
    price = None
    max_tokens = 0

    def __init__(self, settings: Settings, seed: int) -> None:
        """Refuse a name that is no source, where routes are asked for."""
        self.name, self._seed = settings.name, seed
        if self.name not in MISCONCEPTIONS and (settings.routes or settings.eval_routes):
            raise ConfigError(
                f"routes.teachers: the scripted expert writes routes as one of its sources, and {self.name!r} is none. "
                f"Allowed: {', '.join(MISCONCEPTIONS)}."
            )

    async def ask(self, requests: Sequence[Request]) -> list[Reply | None]:
        """Return a chain for each request."""
        return [Reply(text=self._write(request)) for request in requests]

    async def close(self) -> None:
        """Nothing is open."""

    def _write(self, request: Request) -> str:
        if request.kind == "unguided":
            rng = random.Random(
                f"routes:{self._seed}:{request.problem.id}:{self.name}:{request.sample}"
            )
            return unguided_chain(request.problem, self.name, rng).text
        chain = guided_chain(request.problem)
        return f"{chain.text}\n{chain.answer}"


def guided_chain(problem: Problem) -> Route:
    """Return the chain of thought of the expert who reads the rules."""
    decision = adjudicate(Claim(**problem.meta["claim"]))
    return _route(problem, "expert", decision, guided=True)


def unguided_chain(problem: Problem, source: str, rng: random.Random) -> Route:
    """Return one route of `source`: some of its misconceptions, perhaps a slip, and what follows from them."""
    claim, rules = Claim(**problem.meta["claim"]), Rules()
    for misconception in MISCONCEPTIONS[source]:
        if rng.random() < FOLLOWS_MISCONCEPTION:
            rules = replace(rules, **misconception)
    if rng.random() < SLIPS[source]:
        decision = rng.choice([_misread, _misremember, _miscalculate])(claim, rules, rng)
    else:
        decision = adjudicate(claim, rules)
    return _route(problem, source, decision, guided=False)


def write_routes(
    problems: Sequence[Problem],
    *,
    sources: Sequence[str],
    per_source: int,
    guided: bool,
    seed: int,
    guide: Callable[[Problem], Route] = guided_chain,
    solve: Callable[[Problem, str, random.Random], Route] = unguided_chain,
) -> Iterator[Route]:
    """Yield, problem by problem, a guided chain (where asked for) and `per_source` routes of each source.

    `guide` and `solve` write them: the expert of the domain, by default that of claims.
    """
    for problem in problems:
        if guided:
            yield guide(problem)
        for source in sources:
            rng = random.Random(f"routes:{seed}:{problem.id}:{source}")
            for _ in range(per_source):
                route = solve(problem, source, rng)
                yield route if guided else replace(route, check=None)


def verify(decision: Decision, truth: Decision) -> str:
    """Return the guided expert's check of a route, which follows its own work on the problem: what the route says, and
    where that is wrong what it should say and the first step that does not hold.

    A step holds when it reaches the right result; `fee 50 allows 12` for `fee 42 allows 12` does.
    """
    if decision.answer == truth.answer:
        return f"{decision.answer} holds"
    pairs = zip(decision.steps, truth.steps, strict=False)
    first = next((true for step, true in pairs if not _holds(step, true)), truth.steps[-1])
    return f"{decision.answer} not {truth.answer} from {first.topic} {first.result}"


def first_flaw(decision: Decision, truth: Decision) -> str | None:
    """Return the text of the first step of a route that does not hold; `None` where every step does."""
    pairs = zip(decision.steps, truth.steps, strict=False)
    return next((step.text for step, true in pairs if not _holds(step, true)), None)


def _holds(step: Step, true: Step) -> bool:
    return (step.topic, step.result) == (true.topic, true.result)


def _misread(claim: Claim, rules: Rules, rng: random.Random) -> Decision:
    """Decide a claim in which one fact was overlooked, or one number taken for another of the same claim."""
    facts, numbers = (
        ["emergency", "approval", "in_network", "accident"],
        ["bill", "deductible", "other_paid", "filed_days"],
    )
    name = rng.choice([*facts, *numbers])
    if name in facts:
        return adjudicate(replace(claim, **{name: not getattr(claim, name)}), rules)
    return adjudicate(replace(claim, **{name: getattr(claim, rng.choice(numbers))}), rules)


def _misremember(claim: Claim, rules: Rules, rng: random.Random) -> Decision:
    """Decide a claim with one number of the rules a little off: the fee, the copay, the limit or the filing time."""
    name, key = rng.choice(
        [
            ("fees", claim.service),
            ("copays", claim.tier),
            ("limits", claim.tier),
            ("filing_days", claim.tier),
        ]
    )
    values = getattr(rules, name)
    shift = rng.choice([-30, 30] if name == "filing_days" else [-6, -4, -3, -2, 2, 3, 4, 6])
    return adjudicate(claim, replace(rules, **{name: {**values, key: max(0, values[key] + shift)}}))


def _miscalculate(claim: Claim, rules: Rules, rng: random.Random) -> Decision:
    """Decide a claim with one result off by a little, and carry it through the steps that follow."""
    decision = adjudicate(claim, rules)
    amounts = [
        index
        for index, step in enumerate(decision.steps)
        if step.topic in ("deductible", "copay", "other")
    ]
    if not amounts:
        return decision
    wrong = rng.choice(amounts)
    steps, before = list(decision.steps), 0
    for index, step in enumerate(steps):
        if index < wrong or not step.result.isdigit():
            pass
        elif index == wrong:
            steps[index] = replace(
                step, result=str(max(0, int(step.result) + rng.choice([-10, -2, -1, 1, 2, 10])))
            )
        elif step.topic == "limit":
            steps[index] = replace(step, result=str(min(before, int(step.detail))))
        else:
            steps[index] = replace(step, result=str(max(0, before - int(step.detail))))
        before = int(steps[index].result) if steps[index].result.isdigit() else 0
    return Decision(tuple(steps), f"pay {before}")


def _route(problem: Problem, source: str, decision: Decision, *, guided: bool) -> Route:
    truth = adjudicate(Claim(**problem.meta["claim"]))
    text = "\n".join(step.text for step in decision.steps)
    return Route(
        problem_id=problem.id,
        source=source,
        text=text if guided else f"{decision.answer}\n{text}",
        answer=decision.answer,
        correct=decision.answer == truth.answer,
        guided=guided,
        process=len(decision.steps) == len(truth.steps)
        and all(map(_holds, decision.steps, truth.steps)),
        check=None if guided else verify(decision, truth),
        flaw=first_flaw(decision, truth),
    )
