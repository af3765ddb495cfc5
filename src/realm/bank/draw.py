"""Draw the routes that one assisted prompt shows, in random order.

Both classes, right and wrong, are shown wherever the bank has both.
"""

from __future__ import annotations

import hashlib
import random
from functools import lru_cache
from typing import TYPE_CHECKING

from realm.bank.eligible import collapse_spaces, select_evaluation_routes
from realm.core.records import Route, RouteSet
from realm.core.settings import Section, Share
from realm.method.steps import word_similarity

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence


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
    """Return `k` routes of one problem, or all of them if the bank holds fewer.

    If the bank has both classes, so has every set of two or more. By default each number of right
    routes from 1 to k - 1 is equally likely: right to wrong is 1:1 over training, and the majority
    is wrong in some sets and right in others. A text is shown twice only if there is no other.

    A pure function of its arguments: the copies of a prompt and a resumed run get the same set.

    Args:
        bank: Routes of one problem that may be shown (see `realm.bank.eligible`).
        k: How many routes the prompt shows.
        seed: The run's seed.
        row_id: The problem.
        step: The optimizer step, or another number that tells sets of one problem apart.
        mix: What the sets should hold.
    """
    mix = mix or RouteMix()
    rng = _make_rng(f"{seed}|{row_id}|{step}")
    # Right routes, wrong ones, their number, their order: a seed's sets depend on this order.
    right = _shuffle_distinct_first([route for route in bank if route.correct], rng)
    wrong: list[Route] = []
    if mix.show_wrong:
        wrong = _shuffle_distinct_first([route for route in bank if not route.correct], rng)
    if mix.prefer_plausible and right:
        # Without copies and as a tuple, since similarities are cached by it.
        texts = dict.fromkeys(route.text for route in bank if route.correct)
        wrong = _sort_plausible_first(wrong, tuple(texts))
    k = min(k, len(right) + len(wrong))
    num_right = _draw_num_right(right, wrong, k, rng, mix.wrong_majority_share)
    chosen = right[:num_right] + wrong[: k - num_right]
    rng.shuffle(chosen)  # else right routes would stand first, and verdicts could go by place
    return RouteSet(problem_id=row_id, routes=tuple(chosen))


def draw_evaluation_sets(
    problem_ids: Iterable[str],
    routes: Iterable[Route],
    *,
    held_out: Collection[str],
    count: int,
    seed: int,
) -> dict[str, RouteSet]:
    """Return the routes that each problem's assisted prompt shows in evaluation, up to `count`.

    Which ones, and in which order, is drawn by a hash of seed, problem and text, never by label, so
    that every method sees the same sets.
    """
    problem_ids = list(problem_ids)
    bank = select_evaluation_routes(routes, held_out, set(problem_ids))

    def rank(route: Route) -> bytes:
        key = f"{seed}\n{route.problem_id}\n{route.source}\n{route.text}"
        # A model may write half of a surrogate pair, which has no encoding.
        return hashlib.sha256(key.encode(errors="replace")).digest()

    return {
        problem_id: RouteSet(
            problem_id=problem_id,
            routes=tuple(sorted(bank.get(problem_id, []), key=rank)[:count]),
        )
        for problem_id in problem_ids
    }


def _draw_num_right(
    right: list[Route],
    wrong: list[Route],
    k: int,
    rng: random.Random,
    wrong_majority_share: float | None,
) -> int:
    """Return how many of `k` routes are right: drawn, then moved as little as the bank demands."""
    if k == 0 or not (right and wrong):
        return k if right else 0
    if wrong_majority_share is not None and k > 2:
        drawn = _draw_by_majority(k, wrong_majority_share, rng)
    else:
        drawn = rng.randint(0, 1) if k == 1 else rng.randint(1, k - 1)
    # First as few copies of a text as possible, then what the numbers of routes allow at all.
    drawn = max(k - _count_distinct(wrong), min(drawn, _count_distinct(right)))
    return max(k - len(wrong), min(drawn, len(right)))


def _draw_by_majority(k: int, wrong_majority_share: float, rng: random.Random) -> int:
    """Return how many of `k` routes are right, from 1 to k - 1.

    It is fewer than half in a `wrong_majority_share` of the draws. The other draws make up for it,
    so that right to wrong stays 1:1 over training as far as the share allows.
    """
    # The right routes must be fewer than half: a tie has no majority.
    minorities = range(1, (k + 1) // 2)
    if rng.random() < wrong_majority_share:
        return rng.choice(minorities)
    mean_minority = (minorities[0] + minorities[-1]) / 2
    # Solves share * mean_minority + (1 - share) * balancing = k / 2.
    balancing = (k / 2 - wrong_majority_share * mean_minority) / (1 - wrong_majority_share)
    wanted = min(k - 1, max(minorities[-1] + 1, balancing))
    # Rounded up or down by chance, so that the mean is `wanted`.
    return int(wanted) + (rng.random() < wanted - int(wanted))


def _sort_plausible_first(wrong: list[Route], right_texts: tuple[str, ...]) -> list[Route]:
    """Return `wrong` with the routes most like a right one first, copies of a text last.

    Similarities are rounded to a tenth, so that routes about as plausible stay in random order.
    """
    seen: set[str] = set()
    ranked = []
    for place, route in enumerate(wrong):
        text = collapse_spaces(route.text)
        ranked.append((text in seen, -round(_find_similarity(route.text, right_texts), 1), place))
        seen.add(text)
    return [wrong[place] for _, _, place in sorted(ranked)]


@lru_cache(maxsize=100_000)
def _find_similarity(text: str, others: tuple[str, ...]) -> float:
    return max(word_similarity(text, other) for other in others)


def _shuffle_distinct_first(routes: list[Route], rng: random.Random) -> list[Route]:
    """Return `routes` shuffled, with further copies of a text behind all distinct texts."""
    rng.shuffle(routes)
    first: dict[str, Route] = {}
    copies: list[Route] = []
    for route in routes:
        text = collapse_spaces(route.text)
        if text in first:
            copies.append(route)
        else:
            first[text] = route
    return [*first.values(), *copies]


def _count_distinct(routes: list[Route]) -> int:
    return len({collapse_spaces(route.text) for route in routes})


def _make_rng(key: str) -> random.Random:
    # Python's own hash of a text differs from process to process.
    digest = hashlib.blake2b(key.encode(), digest_size=16, person=b"route set").digest()
    return random.Random(int.from_bytes(digest))
