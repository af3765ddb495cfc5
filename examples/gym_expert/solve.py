"""Solve the three tasks step by step: correctly, or with the habits of somebody who is mistaken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import realm


@dataclass(frozen=True)
class Step:
    """One line of a chain of thought, and its result. A step holds if its result is right."""

    text: str
    result: str


@dataclass(frozen=True)
class Solution:
    """The steps of a solution and its answer, in the form that the task asks for."""

    steps: tuple[Step, ...]
    answer: str


class Slip(NamedTuple):
    """An error of calculation: the result of step `step` is off by `error`."""

    step: int
    error: int


def solve(
    problem: realm.Problem, habits: Mapping[str, Any] | None = None, slip: Slip | None = None
) -> Solution:
    """Return a solution of `problem`.

    Args:
        problem: A problem of one of the tasks in `SOLVERS`.
        habits: Wrong habits: keyword arguments of the task's solver. Default: none.
        slip: One error of calculation. Default: none.
    """
    gold = problem.answer
    return SOLVERS[gold["task"]](gold["metadata"], slip, **(habits or {}))


def _add_terms(  # noqa: PLR0913 - one argument per habit
    metadata: Mapping[str, Any],
    slip: Slip | None,
    *,
    carries: bool = True,
    borrows: bool = True,
    below_zero: bool = True,
    minus_lasts: bool = False,
    adds_last: bool = False,
    leaves_out_last: bool = False,
) -> Solution:
    """Add and subtract from left to right.

    With `minus_lasts`, a minus also counts for the plus right behind it, as if in brackets.
    """
    first, *rest = metadata["expression"].split()
    terms = list(zip(rest[::2], map(int, rest[1::2]), strict=True))
    if leaves_out_last and len(terms) > 1:
        terms.pop()
    total = int(first)
    steps = []
    sign_before = "+"
    for index, (sign, term) in enumerate(terms):
        is_minus = sign == "-" or (minus_lasts and sign_before == "-")
        if adds_last and index == len(terms) - 1:
            is_minus = False
        result = _compute_term(total, term, is_minus, carries=carries, borrows=borrows)
        if slip and slip.step == index:
            result += slip.error
        if not below_zero:
            result = max(0, result)
        verb = "minus" if is_minus else "plus"
        steps.append(Step(f"{total} {verb} {term} leaves {result}", str(result)))
        total = result
        sign_before = sign
    return Solution(tuple(steps), str(total))


def _compute_term(total: int, term: int, is_minus: bool, *, carries: bool, borrows: bool) -> int:
    knows_how = borrows if is_minus else carries
    if not knows_how:
        return _compute_digit_by_digit(total, term, is_minus)
    return total - term if is_minus else total + term


def _compute_digit_by_digit(a: int, b: int, is_minus: bool) -> int:
    """Return a sum without carries, or a difference of the smaller digit from the larger."""
    if a < 0 or b < 0:
        return a - b if is_minus else a + b
    result = 0
    place = 1
    while a or b:
        x, y = a % 10, b % 10
        digit = abs(x - y) if is_minus else (x + y) % 10
        result += place * digit
        a, b, place = a // 10, b // 10, place * 10
    return result


def _count_legs(
    metadata: Mapping[str, Any],
    slip: Slip | None,
    *,
    legs: Mapping[str, int] | None = None,
    leaves_out_last: bool = False,
) -> Solution:
    """Count the legs of one animal after the other; `legs` holds wrong beliefs about animals."""
    from reasoning_gym.arithmetic.leg_counting import ANIMALS

    animals = list(metadata["animals"].items())
    if leaves_out_last and len(animals) > 2:
        animals.pop()
    total = 0
    steps = []
    for index, (animal, count) in enumerate(animals):
        each = (legs or {}).get(animal, ANIMALS[animal])
        product = count * each
        if slip and slip.step == index:
            product += slip.error
        product = max(0, product)
        total += product
        steps.append(Step(f"{count} {animal} {each} each {product} total {total}", str(total)))
    return Solution(tuple(steps), str(total))


def _filter_numbers(  # noqa: PLR0913 - one argument per habit
    metadata: Mapping[str, Any],
    slip: Slip | None,
    *,
    keeps_always: bool = False,
    removes_always: bool = False,
    larger_always: bool = False,
    as_text: bool = False,
    by_tens: bool = False,
    leaves_out_last: bool = False,
) -> Solution:
    """Compare one number of the list after the other with the limit.

    With `as_text`, numbers compare as words in a dictionary. With `by_tens`, the ones are ignored.
    """
    verb, side = metadata["operation"].split("_")
    if keeps_always:
        verb = "keep"
    elif removes_always:
        verb = "remove"
    if larger_always:
        side = "larger"
    limit = metadata["filter_value"]
    numbers = metadata["original_numbers"]
    if leaves_out_last and len(numbers) > 2:
        numbers = numbers[:-1]
    steps = [Step(f"{verb} {side} than {limit}", f"{verb} {side}")]
    kept = []
    for index, number in enumerate(numbers, 1):
        relation = _compare(number, limit, as_text=as_text, by_tens=by_tens)
        if slip and slip.step == index:
            relation = "smaller" if relation == "larger" else "larger"
        is_kept = (relation == side) == (verb == "keep")
        if is_kept:
            kept.append(number)
        what = "keep" if is_kept else "out"
        steps.append(Step(f"{number} and {limit} {relation} {what}", f"{number} {is_kept}"))
    return Solution(tuple(steps), str(kept))


def _compare(number: str, limit: str, *, as_text: bool, by_tens: bool) -> str:
    a: Any = number if as_text else float(number)
    b: Any = limit if as_text else float(limit)
    if by_tens:
        a, b = a // 10, b // 10
    if a > b:
        return "larger"
    return "smaller" if a < b else "equal"


SOLVERS = {
    "chain_sum": _add_terms,
    "leg_counting": _count_legs,
    "number_filtering": _filter_numbers,
}
