"""Draw the routes that one assisted prompt shows: both classes wherever the bank has both, in shuffled order."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

from realm.records import Route, RouteSet


def draw_routes(bank: Sequence[Route], k: int, *, seed: int, row_id: str, step: int = 0) -> RouteSet:
    """Return `k` routes of one problem's bank, fewer only where the bank holds fewer.

    With both classes in the bank both are in the set (for k >= 2), and every number of right routes from 1 to k - 1 is
    equally likely: right to wrong 1:1 over training, a wrong majority in some sets, a right one in others. A text comes
    twice only where the bank has no other. Guided chains and empty texts are never shown. A pure function of its arguments.
    """
    rng = _random(f"{seed}|{row_id}|{step}")
    shown = [route for route in bank if route.text.strip() and not route.guided]
    right = _distinct_first([route for route in shown if route.correct], rng)
    wrong = _distinct_first([route for route in shown if not route.correct], rng)
    k = min(k, len(right) + len(wrong))
    num_right = _num_right(right, wrong, k, rng)
    chosen = right[:num_right] + wrong[: k - num_right]
    rng.shuffle(chosen)
    return RouteSet(problem_id=row_id, routes=tuple(chosen))


def _num_right(right: list[Route], wrong: list[Route], k: int, rng: random.Random) -> int:
    """Return how many of `k` routes are right ones: drawn evenly, then moved as little as the bank demands."""
    if k == 0 or not (right and wrong):
        return k if right else 0
    drawn = rng.randint(0, 1) if k == 1 else rng.randint(1, k - 1)
    without_copies = max(k - _num_distinct(wrong), min(drawn, _num_distinct(right)))
    return max(k - len(wrong), min(without_copies, len(right)))


def _distinct_first(routes: list[Route], rng: random.Random) -> list[Route]:
    """Return `routes` shuffled, with every further copy of a text behind the texts that differ."""
    rng.shuffle(routes)
    seen: set[str] = set()
    first, copies = [], []
    for route in routes:
        (copies if _text(route) in seen else first).append(route)
        seen.add(_text(route))
    return first + copies


def _num_distinct(routes: list[Route]) -> int:
    return len({_text(route) for route in routes})


def _text(route: Route) -> str:
    return " ".join(route.text.split())


def _random(key: str) -> random.Random:
    digest = hashlib.blake2b(key.encode(), digest_size=16, person=b"route set").digest()
    return random.Random(int.from_bytes(digest))
