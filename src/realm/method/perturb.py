"""Break one step of a sound route, so that the flawed step is known.

The mistakes of a bank's routes nearly always change the answer. A reader can then judge a route by
its answer alone, and never learns to read steps. A perturbed route gives that away only in one of
four kinds. It needs no source and no domain, so every bank gets process labels for free.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from realm.method.steps import has_answer_step, split_steps, split_words

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence

    from realm.core.records import Route

Perturbation = Literal["number", "foreign", "missing", "answer"]
"""What is wrong in a perturbed route, and what becomes of its answer:

| kind    | the flawed step                             | answer  |
|---------|---------------------------------------------|---------|
| number  | one number of it is another                 | as it was |
| foreign | it is a step of another problem             | as it was |
| missing | it is left out; the next one has its number | as it was |
| answer  | the last one states another answer          | another |
"""

# A whole or decimal number with thousands separators, not part of a word or of a longer number. Not
# the author's own number of the step, as in "2. That is late" or "Step 2:": it is no claim.
_NUMBER = re.compile(
    r"(?<![\w.])(?<!\bstep )(?!^\d+[.):]\s)\d+(?:,\d{3})*(?:\.\d+)?", re.IGNORECASE
)


def perturb_route(
    route: Route, kind: Perturbation, others: Sequence[Route], rng: random.Random
) -> Route | None:
    """Return a sound route with one step broken, or `None` if this kind does not apply to it.

    Args:
        route: A route whose steps all hold.
        kind: What goes wrong.
        others: Sound routes of other problems, for steps and answers that are not of this one.
        rng: Draws the step and what stands there instead.
    """
    steps = list(split_steps(route))
    # Where the answer is part of a longer last step, breaking that step might change the answer.
    body = range(len(steps) - 1)
    if kind == "answer":
        return _change_answer(route, steps, others, rng)
    if kind == "missing":
        # The next step must differ, else the gap is no gap.
        gaps = [i for i in body if steps[i] != steps[i + 1]]
        if len(body) < 2 or not gaps:
            return None
        index = rng.choice(gaps)
        return _make_flawed(route, steps, index, [])
    candidates = [i for i in body if kind == "foreign" or _NUMBER.search(steps[i])]
    if not candidates:
        return None
    index = rng.choice(candidates)
    if kind == "number":
        new = _change_number(steps[index], rng)
    else:
        drawn = _draw_foreign_step(steps[index], others, rng)
        if drawn is None or drawn in steps:
            return None
        new = drawn
    return _make_flawed(route, steps, index, [new])


def transplant_steps(route: Route, other: Route) -> Route | None:
    """Return the steps of `other` with the answer of `route`; `None` if they cannot be joined.

    Such a route is flawed from the first step that differs, although its answer is right.
    """
    if not (has_answer_step(route) and has_answer_step(other)):
        return None
    own, foreign = split_steps(route), split_steps(other)
    steps = [*foreign[:-1], own[-1]]
    differs = (i for i, step in enumerate(steps) if own[i : i + 1] != (step,))
    index = next(differs, None)
    if index is None or index == len(steps) - 1:
        return None
    fix = own[index] if index < len(own) else None
    return replace(
        route,
        text="\n".join(steps),
        process=False,
        flaw=index + 1,
        fix=fix,
        usage={},
        cost_usd=None,
    )


def share_mistakes(routes: Sequence[Route], sound: Route, rng: random.Random) -> tuple[Route, ...]:
    """Return the routes with one to all of the numbers of a sound one changed in all alike.

    So they share mistakes from step to step, as the routes of one source do, but mistakes that no
    source makes.

    Args:
        routes: Routes of one problem.
        sound: A sound route of that problem: its numbers are the ones that matter.
        rng: Draws the numbers, and what stands there instead.
    """
    # Sorted, since the order of a set of texts differs from process to process.
    numbers = sorted({match for step in split_steps(sound) for match in _NUMBER.findall(step)})
    chosen = rng.sample(numbers, rng.randint(1, len(numbers))) if numbers else []
    changed = {number: _draw_other(number, rng) for number in chosen}
    return tuple(_change_numbers(route, sound, changed) for route in routes)


def _change_numbers(route: Route, sound: Route, changed: Mapping[str, str]) -> Route:
    """Return the route with other numbers, and the labels that it has then."""

    def change(text: str) -> str:
        return _NUMBER.sub(lambda match: changed.get(match[0], match[0]), text)

    steps = split_steps(route)
    new = [change(step) for step in steps]
    index = next((i for i, step in enumerate(steps) if step != new[i]), None)
    # An answer that is no text, such as a list, stands as it is, and its step too.
    is_text = isinstance(route.answer, str)
    if index is None or not is_text:
        return route
    flaw, fix = route.flaw, route.fix  # that of an earlier step stays, also if it is unknown
    if route.is_sound() or (flaw is not None and index + 1 < flaw):
        flaw, fix = index + 1, steps[index]
    answer = change(route.answer)
    return replace(
        route,
        text="\n".join(new),
        answer=answer,
        correct=route.correct if answer == route.answer else answer == sound.answer,
        process=False,
        flaw=flaw,
        fix=fix,
        usage={},
        cost_usd=None,
    )


def _make_flawed(route: Route, steps: Sequence[str], index: int, new: Sequence[str]) -> Route:
    """Return the route with the step at `index` replaced by the steps `new`."""
    text = "\n".join([*steps[:index], *new, *steps[index + 1 :]])
    # What it cost was the sound route's.
    return replace(
        route, text=text, process=False, flaw=index + 1, fix=steps[index], usage={}, cost_usd=None
    )


def _change_answer(
    route: Route, steps: Sequence[str], others: Sequence[Route], rng: random.Random
) -> Route | None:
    """Return the route with the answer of another problem.

    It is `None` unless both routes state their answer in a step of its own.
    """
    if not has_answer_step(route):
        return None
    for other in _sample(others, rng):
        if has_answer_step(other) and split_words(str(other.answer)) != split_words(
            str(route.answer)
        ):
            wrong = _make_flawed(route, steps, len(steps) - 1, [split_steps(other)[-1]])
            return replace(wrong, answer=other.answer, correct=False)
    return None


def _draw_foreign_step(step: str, others: Sequence[Route], rng: random.Random) -> str | None:
    """Return a step of other routes, if possible one that begins with the same word."""
    pool = [other for route in _sample(others, rng) for other in split_steps(route)[:-1]]
    pool = [other for other in pool if split_words(other) != split_words(step)]
    alike = [other for other in pool if split_words(other)[0] == split_words(step)[0]]
    return rng.choice(alike or pool) if pool else None


def _sample(others: Sequence[Route], rng: random.Random) -> list[Route]:
    # Eight routes hold a step of the wanted kind nearly always, and are read quickly.
    return rng.sample(others, min(8, len(others)))


def _change_number(step: str, rng: random.Random) -> str:
    """Return the step with one of its numbers changed."""
    match = rng.choice(list(_NUMBER.finditer(step)))
    return step[: match.start()] + _draw_other(match[0], rng) + step[match.end() :]


def _draw_other(number: str, rng: random.Random) -> str:
    """Return another number of about the size of `number`, with as many decimals.

    >>> import random
    >>> _draw_other("7", random.Random(1)), _draw_other("12.50", random.Random(1))
    ('5', '9.00')
    """
    whole, _, decimals = number.replace(",", "").partition(".")
    units = int(whole + decimals)
    lowest, highest = units // 2, units * 3 // 2 + 3
    drawn = rng.randint(lowest, highest - 1)
    drawn += drawn >= units  # skip `units` itself, so that every other value is equally likely
    # So that a digit is left before the decimal point.
    digits = str(drawn).zfill(len(decimals) + 1)
    return f"{digits[: -len(decimals)]}.{digits[-len(decimals) :]}" if decimals else digits
