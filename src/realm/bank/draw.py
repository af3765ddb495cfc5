"""Draw the routes that one assisted prompt shows: both classes wherever the bank has both, in shuffled order."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache

from realm.bank.eligible import collapse_spaces, select_evaluation_routes
from realm.core.records import Route, RouteSet
from realm.core.settings import Section, Share
from realm.method.steps import word_similarity


class RouteMix(Section):
    """Which routes of a problem's bank a training prompt shows."""

    wrong_majority_share: Share | None = None
    """Share of sets in which wrong routes outnumber right ones, where the bank allows it; null:
    every number of right routes is equally likely."""
    prefer_plausible: bool = False
    """Of the wrong routes, show those most like a right one first."""
    show_wrong: bool = True
    """Show wrong routes at all. An ablation turns them off, and with them all pay for verdicts."""


def draw_routes(
    bank: Sequence[Route],
    k: int,
    *,
    seed: int,
    row_id: str,
    step: int = 0,
    mix: RouteMix | None = None,
) -> RouteSet:
    """Return `k` routes of one problem's bank, fewer only where the bank holds fewer.

    With both classes in the bank both are in the set (for k >= 2), and every number of right routes from 1 to k - 1 is
    equally likely: right to wrong 1:1 over training, a wrong majority in some sets, a right one in others. A text comes
    twice only where the bank has no other. A pure function of its arguments. `bank` holds routes that
    may be shown (`realm.bank.eligible`).

    `mix` may ask for a share of sets with a wrong majority, the others then holding as many more right ones, for the wrong
    routes nearest to a right one, or for no wrong ones at all.
    """
    mix = mix or RouteMix()
    rng = _random(f"{seed}|{row_id}|{step}")
    right = _distinct_first([route for route in bank if route.correct], rng)
    wrong = (
        _distinct_first([route for route in bank if not route.correct], rng)
        if mix.show_wrong
        else []
    )
    if mix.prefer_plausible and right:
        texts = dict.fromkeys(route.text for route in bank if route.correct)
        wrong = _plausible_first(wrong, tuple(texts))
    k = min(k, len(right) + len(wrong))
    num_right = _num_right(right, wrong, k, rng, mix.wrong_majority_share)
    chosen = right[:num_right] + wrong[: k - num_right]
    rng.shuffle(chosen)
    return RouteSet(problem_id=row_id, routes=tuple(chosen))


def draw_evaluation_sets(
    problem_ids: Iterable[str],
    routes: Iterable[Route],
    *,
    held_out: Collection[str],
    count: int,
    seed: int,
) -> dict[str, RouteSet]:
    """Return the routes that each problem's assisted prompt shows in evaluation, up to `count` of them.

    Which ones, and in which order, is drawn by a hash of seed, problem and text, never by label, so
    that every method and every run of one seed sees the same sets.
    """
    problem_ids = list(problem_ids)
    bank = select_evaluation_routes(routes, held_out, set(problem_ids))

    def rank(route: Route) -> bytes:
        key = f"{seed}\n{route.problem_id}\n{route.source}\n{route.text}"
        return hashlib.sha256(key.encode(errors="replace")).digest()

    return {
        problem_id: RouteSet(
            problem_id=problem_id,
            routes=tuple(sorted(bank.get(problem_id, []), key=rank)[:count]),
        )
        for problem_id in problem_ids
    }


def _num_right(
    right: list[Route],
    wrong: list[Route],
    k: int,
    rng: random.Random,
    wrong_majority_share: float | None,
) -> int:
    """Return how many of `k` routes are right ones: drawn, then moved as little as the bank demands."""
    if k == 0 or not (right and wrong):
        return k if right else 0
    if wrong_majority_share is not None and k > 2:
        drawn = _with_wrong_majority(k, wrong_majority_share, rng)
    else:
        drawn = rng.randint(0, 1) if k == 1 else rng.randint(1, k - 1)
    without_copies = max(k - _num_distinct(wrong), min(drawn, _num_distinct(right)))
    return max(k - len(wrong), min(without_copies, len(right)))


def _with_wrong_majority(k: int, share: float, rng: random.Random) -> int:
    """Return how many of `k` routes are right: fewer than half in a `share` of the draws, from 1 to k - 1 always.

    The other draws make up for it, so that right to wrong stays 1:1 over training as far as the share allows.
    """
    few = range(1, (k + 1) // 2)
    if rng.random() < share:
        return rng.choice(few)
    mean_few = (few[0] + few[-1]) / 2
    balancing = (k / 2 - share * mean_few) / (1 - share)
    wanted = min(k - 1, max(few[-1] + 1, balancing))
    return int(wanted) + (rng.random() < wanted - int(wanted))


def _plausible_first(wrong: list[Route], right: tuple[str, ...]) -> list[Route]:
    """Return `wrong` with the routes nearest to a right one first; those equally near, to a tenth, stay as they were drawn."""
    copies: set[str] = set()
    ranks = []
    for route in wrong:
        ranks.append(
            (collapse_spaces(route.text) in copies, -round(_nearness(route.text, right), 1))
        )
        copies.add(collapse_spaces(route.text))
    return [wrong[place] for place in sorted(range(len(wrong)), key=ranks.__getitem__)]


@lru_cache(maxsize=100_000)
def _nearness(text: str, others: tuple[str, ...]) -> float:
    return max(word_similarity(text, other) for other in others)


def _distinct_first(routes: list[Route], rng: random.Random) -> list[Route]:
    """Return `routes` shuffled, with every further copy of a text behind the texts that differ."""
    rng.shuffle(routes)
    seen: set[str] = set()
    first, copies = [], []
    for route in routes:
        (copies if collapse_spaces(route.text) in seen else first).append(route)
        seen.add(collapse_spaces(route.text))
    return first + copies


def _num_distinct(routes: list[Route]) -> int:
    return len({collapse_spaces(route.text) for route in routes})


def _random(key: str) -> random.Random:
    digest = hashlib.blake2b(key.encode(), digest_size=16, person=b"route set").digest()
    return random.Random(int.from_bytes(digest))
