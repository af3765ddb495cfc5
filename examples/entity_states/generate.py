"""Draw procedures, word them, and split them.

Some pairs of rules never meet in a training problem: problems with one are the split test_rules.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import product

import realm

from .world import (
    BLIND_SPOTS,
    CONTAINERS,
    EXCEPTIONS,
    INDOORS,
    MELTING,
    OUTDOORS,
    PLACES,
    Container,
    Event,
    Procedure,
    Query,
    State,
    Thing,
    apply_event,
    find_step,
    list_things,
    make_state,
    read_fact,
    solve,
)

THINGS = ("key", "coat", "paper", "clock", "lamp", "hammer", "jacket", "fabric", "guitar", "camera")
LEVELS = {1: (3, 4), 2: (5, 7), 3: (8, 10)}
"""The least and the most steps of each level. A level has one container more than the one below,
and one thing more than containers."""
EVENTS = {
    "take": 2,
    "put": 4,
    "open": 1,
    "close": 3,
    "carry": 5,
    "rain": 4,
    "sun": 4,
    "frost": 1,
    "day": 1,
}
"""How often a step is of each kind."""
QUESTIONS = {"place": 3, "form": 2, "moisture": 1, "step": 2}
"""How often each is asked for, where there is a choice: a fact after a step, or the step that first
makes one true."""
LIMITED_BY = {"wet": "dry", "dry": "wet", "solid": "liquid", "liquid": "solid", "never": "liquid"}
"""No split has many more answers of one kind than of the other, so that guessing does not pay."""
DECISIVE = {0: 2, **dict.fromkeys(EXCEPTIONS, 1), **dict.fromkeys(BLIND_SPOTS, 2)}
"""How often a problem turns on each rule: a reader who does not know it errs. 0: on no rule in
particular, but on what changes at all."""
HELD_OUT_PAIRS = (
    frozenset({8, 20}),  # what spills, and freezes
    frozenset({9, 13}),  # a liquid in an open drum is carried, and rained on
    frozenset({12, 15}),  # wet in a closed basket, and a day that does not dry it
    frozenset({5, 19}),  # a closed container refuses a thing, and a closed drum gets hot
)
"""Pairs of rules that decide one problem in `test_rules` only."""


def draw_procedure(rng: random.Random, level: int, decisive: int = 0) -> Procedure | None:
    """Return a random procedure of which a reader errs who does not know the rule `decisive`.

    It is `None` if no question about the procedure that was drawn turns on that rule.
    """
    containers = [
        Container(name=name, place=_draw_place(rng), is_open=rng.random() < 0.6)
        for name in rng.sample(CONTAINERS, level)
    ]
    names = [rng.choice(MELTING), *rng.sample(THINGS, level)]
    rng.shuffle(names)
    things = [_draw_thing(name, containers, rng) for name in names]
    states = [make_state(things, containers)]
    misread = states.copy()
    events: list[Event] = []
    for _ in range(rng.randint(*LEVELS[level])):
        event = _draw_event(states[-1], events[-1].kind if events else "", rng)
        events.append(event)
        states.append(states[-1] | apply_event(event, states[-1])[0])
        # Where no rule is to decide, the other reader believes that nothing ever changes.
        changes = apply_event(event, misread[-1], {decisive})[0] if decisive else {}
        misread.append(misread[-1] | changes)
    query = _draw_query(states, misread, rng)
    if query is None:
        return None
    return Procedure(
        things=tuple(things), containers=tuple(containers), events=tuple(events), query=query
    )


def _draw_place(rng: random.Random) -> str:
    # Weather happens outdoors.
    return rng.choice(OUTDOORS if rng.random() < 0.8 else INDOORS)


def _draw_thing(name: str, containers: Sequence[Container], rng: random.Random) -> Thing:
    is_liquid = name in MELTING and rng.random() < 0.4
    state = {"is_liquid": is_liquid, "is_wet": not is_liquid and rng.random() < 0.3}
    if rng.random() < 0.4:
        return Thing(name=name, place=_draw_place(rng), **state)
    holder = rng.choice(containers)
    return Thing(name=name, place=holder.place, holder=holder.name, **state)


def _draw_event(state: State, last: str, rng: random.Random) -> Event:
    """Return an event that is possible in a state; the weather does not repeat at once."""
    things = [one for one in state.values() if isinstance(one, Thing)]
    containers = [one for one in state.values() if isinstance(one, Container)]
    can_change = {"open": [one for one in containers if not one.is_open]}
    can_change["close"] = [one for one in containers if one.is_open]
    while True:
        [kind] = rng.choices(list(EVENTS), list(EVENTS.values()))
        if kind in ("rain", "sun", "frost", "day"):
            if kind != last:
                return Event(kind=kind)
        elif kind in can_change:
            if can_change[kind]:
                return Event(kind=kind, name=rng.choice(can_change[kind]).name)
        elif kind == "put":
            thing, holder = rng.choice(things), rng.choice(containers)
            if thing.holder != holder.name:
                return Event(kind=kind, name=thing.name, target=holder.name)
        else:
            moved = rng.choice(things if kind == "take" else containers)
            target = rng.choice([place for place in PLACES if place != moved.place])
            return Event(kind=kind, name=moved.name, target=target)


def _draw_query(
    states: Sequence[State], misread: Sequence[State], rng: random.Random
) -> Query | None:
    """Return a question that the two readers answer differently, or `None`."""
    queries: dict[str, list[Query]] = defaultdict(list)
    for thing, fact in product(list_things(states[0]), ("place", "form", "moisture")):
        true, other = (
            [read_fact(state, thing.name, fact) for state in part] for part in (states, misread)
        )
        for step in range(2, len(states)):
            if true[step] != other[step]:
                queries[fact].append(Query(thing=thing.name, fact=fact, step=step))
        for value in dict.fromkeys([*true, *other]):
            if value != true[0] and find_step(true, value) != find_step(other, value):
                queries["step"].append(Query(thing=thing.name, fact=fact, value=value))
    if not queries:
        return None
    [kind] = rng.choices(list(queries), [QUESTIONS[kind] for kind in queries])
    return rng.choice(queries[kind])


def describe_procedure(procedure: Procedure) -> str:
    """Return a procedure and its question in words, states in those of the chain."""
    steps = [f"{number}. {event}." for number, event in enumerate(procedure.events, 1)]
    first = [*map(str, procedure.things), *map(str, procedure.containers)]
    return "\n".join(["At first:", *first, "Steps:", *steps, _ask(procedure)])


def _ask(procedure: Procedure) -> str:
    query = procedure.query
    if query.step is None:
        if query.fact == "place":
            return f"Which step first brings the {query.thing} to the {query.value}?"
        return f"Which step first makes the {query.thing} {query.value}?"
    when = "at the end" if query.step == len(procedure.events) else f"after step {query.step}"
    if query.fact == "place":
        return f"Where is the {query.thing} {when}?"
    choice = "wet or dry" if query.fact == "moisture" else "solid or liquid"
    return f"Is the {query.thing} {choice} {when}?"


def draw_problems(
    sizes: Mapping[str, int], levels: Sequence[int], seed: int
) -> Iterator[realm.Problem]:
    """Yield `sizes[split]` distinct problems for each split; the same seed gives the same ones.

    A split's problems do not depend on the sizes of the others, but none is drawn twice. Those of
    `test_larger` are of the level above the highest of `levels`.
    """
    seen: set[Procedure] = set()
    for split, size in sizes.items():
        rng = random.Random(f"entity_states:{seed}:{split}")
        answers: Counter[str] = Counter()
        while answers.total() < size:
            level = max(levels) + 1 if split == "test_larger" else rng.choice(levels)
            [decisive] = rng.choices(list(DECISIVE), list(DECISIVE.values()))
            procedure = None
            while procedure is None:
                procedure = draw_procedure(rng, level, decisive)
            solution = solve(procedure)
            answer = "step" if solution.answer.isdecimal() else solution.answer
            is_common = answers[answer] > answers[LIMITED_BY.get(answer, answer)] + 2
            is_held_out = any(pair <= solution.rules for pair in HELD_OUT_PAIRS)
            is_wrong_split = split != "test_larger" and is_held_out != (split == "test_rules")
            if procedure in seen or is_common or is_wrong_split:
                continue
            seen.add(procedure)
            yield _make_problem(f"{split}-{answers.total():05d}", split, procedure, level)
            answers[answer] += 1


def _make_problem(identity: str, split: str, procedure: Procedure, level: int) -> realm.Problem:
    solution = solve(procedure)
    return realm.Problem(
        id=identity,
        split=split,
        question=describe_procedure(procedure),
        answer=solution.answer,
        meta={
            "procedure": asdict(procedure),
            "rules": sorted(solution.rules),
            "level": level,
        },
    )


def procedure_of(problem: realm.Problem) -> Procedure:
    """Return the procedure that a problem describes."""
    facts = problem.meta["procedure"]
    return Procedure(
        things=tuple(Thing(**one) for one in facts["things"]),
        containers=tuple(Container(**one) for one in facts["containers"]),
        events=tuple(Event(**one) for one in facts["events"]),
        query=Query(**facts["query"]),
    )
