"""Which routes may be shown, taught or counted: the one filter of training, evaluation and reports.

| route                            | in training | in evaluation | taught   | in reports |
|----------------------------------|-------------|---------------|----------|------------|
| undecided (`correct` is `None`)  | no          | no            | no       | yes        |
| empty text                       | no          | no            | no       | yes        |
| guided chain (rules at hand)     | no          | no            | if right | no         |
| of a held-out source             | no          | yes           | no       | yes        |
| of another source, some held out | yes         | no            | if right | yes        |
| same text as the taught chain    | no          | -             | -        | -          |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from realm.core.records import Route


def select_training_routes(
    routes: Iterable[Route], held_out: Collection[str], problem_ids: Collection[str]
) -> dict[str, list[Route]]:
    """Return the routes that training prompts may show, by problem. Others have no entry.

    Args:
        routes: The whole bank, guided chains included.
        held_out: Sources kept for evaluation, so that it shows mistakes never met in training.
        problem_ids: The problems trained on; routes of all others are dropped.
    """
    usable = select_teachable_routes(routes, held_out, problem_ids)
    return group_by_problem(route for route in usable if not route.guided)


def select_evaluation_routes(
    routes: Iterable[Route], held_out: Collection[str], problem_ids: Collection[str]
) -> dict[str, list[Route]]:
    """Return the routes that assisted prompts may show in evaluation, by problem.

    These are the routes of the held-out sources, or of every source if none is held out.
    """
    return group_by_problem(
        route
        for route in routes
        if route.problem_id in problem_ids
        and _is_usable(route)
        and not route.guided
        and (route.source in held_out or not held_out)
    )


def select_teachable_routes(
    routes: Iterable[Route], held_out: Collection[str], problem_ids: Collection[str]
) -> list[Route]:
    """Return the labelled routes, guided or not, for distillation; it teaches the right ones."""
    return [
        route
        for route in routes
        if route.problem_id in problem_ids and _is_usable(route) and route.source not in held_out
    ]


def select_reported_routes(routes: Iterable[Route]) -> list[Route]:
    """Return the routes that the figures of a bank count: all but guided chains, never shown."""
    return [route for route in routes if not route.guided]


def select_sound_routes(bank: Mapping[str, Sequence[Route]]) -> list[Route]:
    """Return the sound routes of all problems: perturbed routes take steps and answers of them."""
    return [route for routes in bank.values() for route in routes if route.is_sound()]


def exclude_chain(routes: Iterable[Route], chain: Route) -> list[Route]:
    """Return `routes` without those that have the text of `chain`.

    A prompt that shows the chain which its completion teaches would teach the model to copy, and
    to call every route sound.
    """
    # By text and not by identity: a source may have written the same chain twice.
    taught = collapse_spaces(chain.text)
    return [route for route in routes if collapse_spaces(route.text) != taught]


def collapse_spaces(text: str) -> str:
    """Return `text` with each run of white space as one space, to tell copies of a text."""
    return " ".join(text.split())


def _is_usable(route: Route) -> bool:
    # A route without a label has no true verdict to reward; one without text cannot be judged.
    return route.correct is not None and bool(route.text.strip())


def group_by_problem(routes: Iterable[Route]) -> dict[str, list[Route]]:
    """Return the routes by problem; problems and routes keep their order."""
    groups: dict[str, list[Route]] = {}
    for route in routes:
        groups.setdefault(route.problem_id, []).append(route)
    return groups
