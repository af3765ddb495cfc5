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
from realm.method.perturb import Perturbation, perturb_route, share_mistakes
from realm.method.steps import word_similarity

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence


class RouteMix(Section):
    """Which routes of a problem's bank a training prompt shows."""

    flawed_majority_share: Share | None = None
    """Share of sets in which flawed routes outnumber sound ones, where the bank allows it; null:
    every number of sound routes is equally likely."""
    perturbed_share: Share = 0.5
    """Share of sets whose flawed routes mostly keep the right answer: sound routes with one step
    broken, and routes of the bank with the right answer and a known flaw. In the other sets their
    answers are wrong where the bank allows it."""
    shared_mistakes_share: Share = 0.0
    """Share of sets in which some numbers are changed in all routes alike, sound ones included, so
    that a step which all routes show may be wrong, as where they are of one source. Only where
    answers are texts: routes whose answer is a number stay as they are."""
    prefer_plausible: bool = False
    """Of the bank's flawed routes, show those most like a sound one first."""
    show_flawed: bool = True
    """Show flawed routes at all. An ablation turns them off, and with them all pay for verdicts."""


def draw_routes(  # noqa: PLR0913 (a bank, what to draw, and what makes it reproducible)
    bank: Sequence[Route],
    k: int,
    *,
    seed: int,
    row_id: str,
    step: int = 0,
    mix: RouteMix | None = None,
    others: Sequence[Route] = (),
) -> RouteSet:
    """Return `k` routes of one problem, or all of them if the bank holds fewer.

    If the bank has both classes, so has every set of two or more. By default each number of sound
    routes from 1 to k - 1 is equally likely: sound to flawed is 1:1 over training, and the majority
    is flawed in some sets and sound in others. A text is shown twice only if there is no other.

    A pure function of its arguments: the copies of a prompt and a resumed run get the same set.

    Args:
        bank: Routes of one problem that may be shown (see `realm.bank.eligible`).
        k: How many routes the prompt shows.
        seed: The run's seed.
        row_id: The problem.
        step: The optimizer step, or another number that tells sets of one problem apart.
        mix: What the sets should hold.
        others: Sound routes of other problems, which perturbed routes take steps from.
    """
    mix = mix or RouteMix()
    rng = _make_rng(f"{seed}|{row_id}|{step}")
    # Sound routes, flawed ones, their number, their order: a seed's sets depend on this order.
    sound = _shuffle_distinct_first([route for route in bank if route.is_sound()], rng)
    flawed: list[Route] = []
    if mix.show_flawed:
        flawed = _shuffle_distinct_first([route for route in bank if not route.is_sound()], rng)
        if mix.prefer_plausible and sound:
            # Without copies and as a tuple, since similarities are cached by it.
            texts = dict.fromkeys(route.text for route in sound)
            flawed = _sort_plausible_first(flawed, tuple(texts))
        # By set, not by route: else the right answer would be the majority of nearly all sets, and
        # copying the majority would pay.
        is_perturbed = mix.perturbed_share > 0 and rng.random() < mix.perturbed_share
        if sound and mix.perturbed_share and (is_perturbed or not flawed):
            lucky = [route for route in flawed if route.correct]
            flawed = [*_perturb(sound, k, others, rng), *lucky] or flawed
            rng.shuffle(flawed)
        else:
            flawed.sort(key=lambda route: bool(route.correct))
    k = min(k, len(sound) + len(flawed))
    num_sound = _draw_num_sound(sound, flawed, k, rng, mix.flawed_majority_share)
    chosen = sound[:num_sound] + flawed[: k - num_sound]
    # Nothing is drawn without the setting, so that a seed's sets stay what they were.
    if sound and mix.shared_mistakes_share and rng.random() < mix.shared_mistakes_share:
        chosen = list(share_mistakes(chosen, sound[0], rng))
    rng.shuffle(chosen)  # else sound routes would stand first, and verdicts could go by place
    return RouteSet(problem_id=row_id, routes=tuple(chosen))


def _perturb(
    sound: Sequence[Route], count: int, others: Sequence[Route], rng: random.Random
) -> list[Route]:
    """Return up to `count` sound routes with one step broken; a kind may not apply to a route.

    In a third of the sets all of them get the same wrong answer: a wrong majority whose steps hold.
    In another third they make one mistake together, where their texts allow it: else the step that
    most routes share would always be the right one.
    """
    kinds: tuple[Perturbation, ...] = ("number", "foreign", "missing")
    case = rng.random()
    if others and case < 1 / 3:
        kinds, others = ("answer",), [rng.choice(others)]
    shared = rng.random() if 1 / 3 <= case < 2 / 3 else None
    broken = []
    for _ in range(count):
        # The same draws make the same mistake.
        draw = rng if shared is None else random.Random(shared)
        kind = draw.choice(kinds)
        broken.append(perturb_route(rng.choice(sound), kind, others, draw))
    return [route for route in broken if route is not None]


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


def _draw_num_sound(
    sound: list[Route],
    flawed: list[Route],
    k: int,
    rng: random.Random,
    flawed_majority_share: float | None,
) -> int:
    """Return how many of `k` routes are sound: drawn, then moved as little as the bank demands."""
    if k == 0 or not (sound and flawed):
        return k if sound else 0
    if flawed_majority_share is not None and k > 2:
        drawn = _draw_by_majority(k, flawed_majority_share, rng)
    else:
        drawn = rng.randint(0, 1) if k == 1 else rng.randint(1, k - 1)
    # First as few copies of a text as possible, then what the numbers of routes allow at all.
    drawn = max(k - _count_distinct(flawed), min(drawn, _count_distinct(sound)))
    return max(k - len(flawed), min(drawn, len(sound)))


def _draw_by_majority(k: int, flawed_majority_share: float, rng: random.Random) -> int:
    """Return how many of `k` routes are sound, from 1 to k - 1.

    It is fewer than half in a `flawed_majority_share` of the draws. The other draws make up for it,
    so that sound to flawed stays 1:1 over training as far as the share allows.
    """
    # The sound routes must be fewer than half: a tie has no majority.
    minorities = range(1, (k + 1) // 2)
    if rng.random() < flawed_majority_share:
        return rng.choice(minorities)
    mean_minority = (minorities[0] + minorities[-1]) / 2
    # Solves share * mean_minority + (1 - share) * balancing = k / 2.
    balancing = (k / 2 - flawed_majority_share * mean_minority) / (1 - flawed_majority_share)
    wanted = min(k - 1, max(minorities[-1] + 1, balancing))
    # Rounded up or down by chance, so that the mean is `wanted`.
    return int(wanted) + (rng.random() < wanted - int(wanted))


def _sort_plausible_first(flawed: list[Route], sound_texts: tuple[str, ...]) -> list[Route]:
    """Return `flawed` with the routes most like a sound one first, copies of a text last.

    Similarities are rounded to a tenth, so that routes about as plausible stay in random order.
    """
    seen: set[str] = set()
    ranked = []
    for place, route in enumerate(flawed):
        text = collapse_spaces(route.text)
        ranked.append((text in seen, -round(_find_similarity(route.text, sound_texts), 1), place))
        seen.add(text)
    return [flawed[place] for _, _, place in sorted(ranked)]


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
