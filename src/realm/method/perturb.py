"""Change numbers in the routes that a taught prompt shows.

The model cannot copy such routes, and never meets the same mistake twice.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from realm.core.records import Route, RouteSet

# A whole or decimal number with thousands separators, not part of a word or of a longer number.
_NUMBER = re.compile(r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?")


def alter_routes(
    routes: RouteSet, chain: Route, gold: str, render: Callable[[Any], str], rng: random.Random
) -> RouteSet:
    """Return the set with one to all of the numbers of the right `chain` changed in every route.

    A number changes to the same value in all routes, so that they share mistakes as routes of one
    source do, but mistakes that no source makes. If the answer of a route changes, so does its
    label. Its check and process label no longer hold and are dropped.

    Args:
        routes: The routes that a prompt shows.
        chain: The chain that the prompt teaches; its numbers are the ones that matter.
        gold: The text of the gold answer.
        render: Returns the text of an answer.
        rng: Draws the numbers.
    """
    # Sorted, since the order of a set of texts differs from process to process.
    numbers = sorted({_drop_separators(number) for number in _NUMBER.findall(chain.text)})
    if not numbers:
        return routes
    changed = {
        number: _draw_other(number, rng)
        for number in rng.sample(numbers, rng.randint(1, len(numbers)))
    }
    altered = tuple(_alter_route(route, changed, gold, render) for route in routes.routes)
    return replace(routes, routes=altered)


def _alter_route(
    route: Route, changed: dict[str, str], gold: str, render: Callable[[Any], str]
) -> Route:
    def change(text: str) -> str:
        return _NUMBER.sub(lambda m: changed.get(_drop_separators(m[0]), m[0]), text)

    text = change(route.text)
    if text == route.text:
        return route
    # A check or a process label by somebody else spoke of the numbers before.
    route = replace(route, text=text, check=None, process=None, flaw=None)
    answer = None if route.answer is None else render(route.answer)
    if answer is None or change(answer) == answer:
        return route
    return replace(route, answer=change(answer), correct=change(answer) == gold)


def _drop_separators(number: str) -> str:
    return number.replace(",", "")


def _draw_other(number: str, rng: random.Random) -> str:
    """Return another number of about the size of `number`, with as many decimals.

    >>> import random
    >>> _draw_other("7", random.Random(1)), _draw_other("12.50", random.Random(1))
    ('5', '9.00')
    """
    whole, _, decimals = number.partition(".")
    units = int(whole + decimals)
    lowest, highest = units // 2, units * 3 // 2 + 3
    drawn = rng.randint(lowest, highest - 1)
    drawn += drawn >= units  # skip `units` itself, so that every other value is equally likely
    # So that a digit is left before the decimal point.
    digits = str(drawn).zfill(len(decimals) + 1)
    return f"{digits[: -len(decimals)]}.{digits[-len(decimals) :]}" if decimals else digits
