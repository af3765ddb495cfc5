"""Change numbers in the routes that a taught prompt shows, so that they cannot be copied and no mistake comes twice."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from realm.core.records import Route, RouteSet

_NUMBER = re.compile(r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?")


def alter_routes(
    routes: RouteSet, chain: Route, gold: str, show: Callable[[Any], str], rng: random.Random
) -> RouteSet:
    """Return the set with some numbers of the right `chain`, one to all, changed wherever a route has them: the same in all.

    So the routes share mistakes, as those of one source do, but mistakes that no source makes. Where the answer (`show` gives
    its text) changes, so does its label; checks and process labels by others no longer hold and are left out.
    """
    numbers = sorted({_value(number) for number in _NUMBER.findall(chain.text)})
    if not numbers:
        return routes
    new = {
        number: _another(number, rng)
        for number in rng.sample(numbers, rng.randint(1, len(numbers)))
    }
    return replace(routes, routes=tuple(_alter(route, new, gold, show) for route in routes.routes))


def _alter(route: Route, new: dict[str, str], gold: str, show: Callable[[Any], str]) -> Route:
    def change(text: str) -> str:
        return _NUMBER.sub(lambda number: new.get(_value(number[0]), number[0]), text)

    text = change(route.text)
    if text == route.text:
        return route
    said = None if route.answer is None else show(route.answer)
    if said is None or change(said) == said:
        return replace(route, text=text, check=None, process=None, flaw=None)
    return replace(
        route,
        text=text,
        answer=change(said),
        correct=change(said) == gold,
        check=None,
        process=None,
        flaw=None,
    )


def _value(number: str) -> str:
    return number.replace(",", "")


def _another(number: str, rng: random.Random) -> str:
    """Return another number of about the size of `number`, with as many decimals.

    >>> _another("7", random.Random(1)), _another("12.50", random.Random(1))
    ('5', '9.00')
    """
    whole, _, decimals = number.partition(".")
    units = int(whole + decimals)
    lowest, highest = units // 2, units * 3 // 2 + 3
    drawn = rng.randint(lowest, highest - 1)
    drawn += drawn >= units
    digits = str(drawn).zfill(len(decimals) + 1)
    return f"{digits[: -len(decimals)]}.{digits[-len(decimals) :]}" if decimals else digits
