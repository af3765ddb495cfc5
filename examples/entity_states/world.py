"""Execute the rule book: `solve` turns a procedure into the state after each step and the answer.

A reader may not know some rules, those in `unknown`. The same code executes what such a reader
believes. The numbers are those of rules.md.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

OUTDOORS = ("garden", "harbor", "market", "farm")
INDOORS = ("hotel", "library", "museum", "school")
PLACES = (*OUTDOORS, *INDOORS)
MELTING = ("wax", "butter")
CONTAINERS = ("box", "bag", "basket", "drum")
EXCEPTIONS = (2, 5, 8, 9, 11, 12, 15, 17, 18, 19)
"""Rules that a reader may not know. The weather is then everywhere (2), or an exception does not
hold."""
BLIND_SPOTS = (12, 15, 17, 19)
"""Exceptions that nobody knows who has not read the rule book."""


@dataclass(frozen=True, kw_only=True)
class Thing:
    """A thing and its state."""

    name: str
    place: str
    holder: str | None = None
    """The container that it is in."""
    is_wet: bool = False
    is_liquid: bool = False

    def __str__(self) -> str:
        facts = [] if self.name not in MELTING else ["liquid" if self.is_liquid else "solid"]
        facts.append("wet" if self.is_wet else "dry")
        facts += [f"in {self.holder}"] if self.holder else []
        return f"{self.name}: {', '.join([*facts, self.place])}"


@dataclass(frozen=True, kw_only=True)
class Container:
    """A container and its state. Its name says what kind it is."""

    name: str
    place: str
    is_open: bool = True

    def __str__(self) -> str:
        return f"{self.name}: {'open' if self.is_open else 'closed'}, {self.place}"


State = Mapping[str, Thing | Container]
"""Everything by its name, in the order of the question."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """One step: take, put, open, close, carry, rain, sun, frost or day; or none, overlooked."""

    kind: str
    name: str = ""
    """The thing or the container that is moved, opened or closed."""
    target: str = ""
    """The place or the container that it is moved to."""

    def __str__(self) -> str:
        wordings = {
            "take": f"Take the {self.name} to the {self.target}",
            "put": f"Put the {self.name} in the {self.target}",
            "open": f"Open the {self.name}",
            "close": f"Close the {self.name}",
            "carry": f"Carry the {self.name} to the {self.target}",
            "rain": "Rain falls",
            "sun": "The sun shines",
            "frost": "Frost comes",
            "day": "A day passes",
            "none": "Nothing happens",
        }
        return wordings[self.kind]


@dataclass(frozen=True, kw_only=True)
class Query:
    """What is asked of a thing: a fact after a step, or the step that first makes it true."""

    thing: str
    fact: str
    """place, moisture or form."""
    step: int | None = None
    """The number of a step."""
    value: str | None = None
    """Without `step`: the place or the state that a step must bring about."""


@dataclass(frozen=True, kw_only=True)
class Procedure:
    """One problem: what is there at first, what happens, and what is asked."""

    things: tuple[Thing, ...]
    containers: tuple[Container, ...]
    events: tuple[Event, ...]
    query: Query


@dataclass(frozen=True, kw_only=True)
class Solution:
    """The lines of a chain of thought, one for each step, the answer, and the rules that decide."""

    lines: tuple[str, ...]
    answer: str
    rules: frozenset[int]


def solve(procedure: Procedure, unknown: Collection[int] = ()) -> Solution:
    """Return the state after each step that the query needs, without the rules in `unknown`."""
    query = procedure.query
    states = [make_state(procedure.things, procedure.containers)]
    lines, used = [], set[int]()
    for event in procedure.events[: query.step]:
        changes, numbers = apply_event(event, states[-1], unknown)
        changed = [str(new) for name, new in changes.items() if new != states[-1][name]]
        lines.append(f"{event} -> {'; '.join(changed) or 'nothing changes'}")
        states.append({**states[-1], **changes})
        used |= numbers
    facts = [read_fact(state, query.thing, query.fact) for state in states]
    answer = facts[-1] if query.value is None else find_step(facts, query.value)
    return Solution(lines=tuple(lines), answer=answer, rules=frozenset(used))


def make_state(things: Sequence[Thing], containers: Sequence[Container]) -> State:
    """Return things and containers by name."""
    return {one.name: one for one in (*things, *containers)}


def read_fact(state: State, name: str, fact: str) -> str:
    """Return the place, the moisture or the form of a thing."""
    thing = state[name]
    if fact == "place":
        return thing.place
    if fact == "moisture":
        return "wet" if thing.is_wet else "dry"
    return "liquid" if thing.is_liquid else "solid"


def find_step(facts: Sequence[str], value: str) -> str:
    """Return the number of the first step after which the fact is `value`, or `never`.

    >>> find_step(["dry", "dry", "wet"], "wet"), find_step(["dry", "dry"], "wet")
    ('2', 'never')
    """
    return str(facts.index(value, 1)) if value in facts[1:] else "never"


def apply_event(
    event: Event, state: State, unknown: Collection[int] = ()
) -> tuple[State, set[int]]:
    """Return what a step concerns in its new state, and the numbers of the rules that decide."""
    if event.kind in ("take", "put"):
        return _move(event, state, unknown)
    if event.kind in ("open", "close"):
        return {event.name: replace(state[event.name], is_open=event.kind == "open")}, {6}
    if event.kind == "carry":
        return _carry(event, state, unknown)
    if event.kind == "none":
        return {}, set()
    effect = {"rain": _get_wet, "day": _dry, "sun": _heat, "frost": _freeze}[event.kind]
    changes, used = {}, set[int]() if event.kind == "day" else {2}
    for thing in list_things(state):
        if event.kind == "day" or thing.place in OUTDOORS or 2 in unknown:
            changes[thing.name], numbers = effect(thing, state.get(thing.holder), unknown)
            used |= numbers
    return changes, used


def list_things(state: State) -> list[Thing]:
    """Return the things of a state, in their order."""
    return [one for one in state.values() if isinstance(one, Thing)]


def _move(event: Event, state: State, unknown: Collection[int]) -> tuple[State, set[int]]:
    thing = state[event.name]
    concerned = [state[name] for name in (thing.holder, event.target) if name in state]
    if 5 not in unknown and any(map(_is_closed, concerned)):
        return {}, {5}
    if event.kind == "take":
        return {thing.name: replace(thing, place=event.target, holder=None)}, {3}
    target = state[event.target]
    return {thing.name: replace(thing, place=target.place, holder=target.name)}, {4}


def _carry(event: Event, state: State, unknown: Collection[int]) -> tuple[State, set[int]]:
    container = state[event.name]
    changes, used = {container.name: replace(container, place=event.target)}, {7}
    for thing in list_things(state):
        if thing.holder != container.name:
            continue
        changes[thing.name] = replace(thing, place=event.target)
        if thing.is_liquid and container.is_open and 8 not in unknown:
            if container.name == "drum" and 9 not in unknown:
                used.add(9)
            else:
                used.add(8)
                changes[thing.name] = replace(thing, holder=None)
    return changes, used


def _is_closed(holder: Container | None) -> bool:
    return holder is not None and not holder.is_open


def _get_wet(
    thing: Thing, holder: Container | None, unknown: Collection[int]
) -> tuple[Thing, set[int]]:
    used = {10}
    if _is_closed(holder) and 11 not in unknown:
        if holder.name != "basket" or 12 in unknown:
            return thing, {11}
        used = {12}
    if thing.is_liquid:
        return thing, {13}
    return replace(thing, is_wet=True), used


def _dry(
    thing: Thing, holder: Container | None, unknown: Collection[int]
) -> tuple[Thing, set[int]]:
    if not thing.is_wet:
        return thing, set()
    if _is_closed(holder) and 15 not in unknown:
        return thing, {15}
    return replace(thing, is_wet=False), {14}


def _heat(
    thing: Thing, holder: Container | None, unknown: Collection[int]
) -> tuple[Thing, set[int]]:
    melts = thing.name in MELTING and not thing.is_liquid
    if not (melts or thing.is_wet):
        return thing, set()
    used = set()
    if _is_closed(holder) and 18 not in unknown:
        if holder.name != "drum" or 19 in unknown:
            return thing, {18}
        used = {19}
    if thing.is_wet and not (melts and 17 in unknown):
        return replace(thing, is_wet=False), used | {17}
    return replace(thing, is_wet=False, is_liquid=True), used | {16}


def _freeze(
    thing: Thing, holder: Container | None, unknown: Collection[int]
) -> tuple[Thing, set[int]]:
    return replace(thing, is_liquid=False), {20} if thing.is_liquid else set()
