from collections import Counter
from dataclasses import replace

import pytest

from realm.bank.draw import RouteMix, draw_evaluation_sets, draw_routes
from realm.core.records import Route, RouteSet


def mix_of(**settings):
    """Return a mix of the bank's own routes."""
    return RouteMix(**{"perturbed_share": 0.0} | settings)


def bank(labels, texts=None):
    texts = texts or [f"chain {i}" for i in range(len(labels))]
    return [
        Route(problem_id="p", source="s", text=text, answer="1", correct=label)
        for label, text in zip(labels, texts, strict=True)
    ]


def draws(routes, k, n=300):
    return [
        draw_routes(routes, k, seed=7, row_id="p", step=step, mix=mix_of()) for step in range(n)
    ]


@pytest.mark.parametrize(
    "labels", [[True] * 5 + [False], [True] + [False] * 5, [True] * 3 + [False] * 3]
)
@pytest.mark.parametrize("k", [2, 3, 4])
def test_both_classes_are_in_every_set_wherever_the_bank_has_both(labels, k):
    for drawn in draws(bank(labels), k):
        assert set(drawn.labels()) == {True, False} and len(drawn.routes) == k


def test_right_and_wrong_are_one_to_one_over_training_and_some_majorities_are_wrong():
    counts = Counter(
        sum(drawn.labels()) for drawn in draws(bank([True] * 4 + [False] * 4), 4, n=3000)
    )
    assert set(counts) == {1, 2, 3}
    assert all(count / 3000 == pytest.approx(1 / 3, abs=0.04) for count in counts.values())


def test_a_single_route_is_right_or_wrong_with_equal_chance():
    rights = sum(drawn.labels()[0] for drawn in draws(bank([True] * 5 + [False]), 1, n=2000))
    assert rights / 2000 == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("label", [True, False])
def test_a_bank_of_one_class_gives_sets_of_one_class(label):
    assert all(
        set(drawn.labels()) == {label} and len(drawn.routes) == 4
        for drawn in draws(bank([label] * 6), 4)
    )


def test_right_routes_stand_at_every_place_equally_often():
    places = Counter(
        place
        for drawn in draws(bank([True] * 4 + [False] * 4), 4, n=3000)
        for place, label in enumerate(drawn.labels())
        if label
    )
    assert (
        all(count / 3000 == pytest.approx(0.5, abs=0.05) for count in places.values())
        and len(places) == 4
    )


def test_no_text_is_shown_twice_while_the_bank_has_others():
    routes = bank([True] * 4 + [False] * 4, ["a", "a", " a ", "b", "x", "x", "y", "y"])
    assert all(
        sorted(route.text.strip() for route in drawn.routes) == ["a", "b", "x", "y"]
        for drawn in draws(routes, 4)
    )


def test_copies_fill_the_set_only_where_nothing_else_is_left():
    routes = bank([True, True, True, False], ["a", "a", "a", "x"])
    assert {
        tuple(sorted(route.text for route in drawn.routes)) for drawn in draws(routes, 3, n=50)
    } == {("a", "a", "x")}


def test_a_small_bank_gives_what_it_has():
    assert len(draw_routes(bank([True, False]), 4, seed=7, row_id="p").routes) == 2
    assert draw_routes([], 4, seed=7, row_id="p").routes == ()


@pytest.mark.parametrize("labels", [[True], [False], [True, False], [True, True, False, False]])
def test_no_routes_asked_for_are_no_routes(labels):
    assert all(drawn.routes == () for drawn in draws(bank(labels), 0))


def test_a_set_is_a_pure_function_of_seed_row_and_step():
    routes = bank([True] * 4 + [False] * 4)
    assert draws(routes, 4) == draws(routes, 4)
    assert draw_routes(routes, 4, seed=7, row_id="p", step=1) != draw_routes(
        routes, 4, seed=7, row_id="p", step=2
    )
    assert draw_routes(routes, 4, seed=7, row_id="p", step=1) != draw_routes(
        routes, 4, seed=8, row_id="p", step=1
    )


@pytest.mark.parametrize("share", [0.0, 0.2, 1 / 3, 0.5])
@pytest.mark.parametrize("k", [3, 4, 6])
def test_wrong_majorities_come_as_often_as_asked_for_and_classes_stay_balanced(share, k):
    routes = bank([True] * 6 + [False] * 6)
    drawn = [
        draw_routes(
            routes, k, seed=7, row_id="p", step=step, mix=mix_of(flawed_majority_share=share)
        )
        for step in range(2000)
    ]
    rights = [sum(one.labels()) for one in drawn]
    assert sum(right < k / 2 for right in rights) / 2000 == pytest.approx(share, abs=0.04)
    assert set(rights) <= set(range(1, k))
    if k % 2 == 0:
        assert sum(rights) / 2000 / k == pytest.approx(0.5, abs=0.04 if share else 0.01)


def test_every_set_may_have_a_wrong_majority():
    drawn = [
        draw_routes(
            bank([True] * 4 + [False] * 4),
            4,
            seed=7,
            row_id="p",
            step=step,
            mix=mix_of(flawed_majority_share=1.0),
        )
        for step in range(50)
    ]
    assert {sum(one.labels()) for one in drawn} == {1}


def test_a_bank_that_does_not_allow_the_share_gives_what_it_can():
    mix = mix_of(flawed_majority_share=1.0)
    drawn = [
        draw_routes(bank([True] * 6 + [False]), 4, seed=7, row_id="p", step=step, mix=mix)
        for step in range(50)
    ]
    assert {sum(one.labels()) for one in drawn} == {3}


def test_the_most_plausible_wrong_routes_come_first_and_equal_ones_by_lot():
    labels = [True, False, False, False, False]
    texts = [
        "a b c d e f g h i j",
        "a b c d e f g h i x",
        "a b c d e f g h y j",
        "k l m n",
        "o p q r",
    ]
    drawn = [
        draw_routes(
            bank(labels, texts),
            2,
            seed=7,
            row_id="p",
            step=step,
            mix=mix_of(prefer_plausible=True),
        )
        for step in range(60)
    ]
    assert {route.text for one in drawn for route in one.routes} == set(texts[:3])
    every = draw_routes(
        bank(labels, texts), 5, seed=7, row_id="p", mix=mix_of(prefer_plausible=True)
    )
    assert {route.text for route in every.routes} == set(texts)


def test_a_mixed_set_is_a_pure_function_of_its_arguments_too():
    mix = mix_of(flawed_majority_share=0.4, prefer_plausible=True)
    routes = bank([True] * 4 + [False] * 4)
    sets = [
        [draw_routes(routes, 4, seed=7, row_id="p", step=step, mix=mix) for step in range(50)]
        for _ in range(2)
    ]
    assert sets[0] == sets[1]
    assert draws(routes, 4) == [
        draw_routes(routes, 4, seed=7, row_id="p", step=step, mix=mix_of()) for step in range(300)
    ]


def draw_for_evaluation(routes, **choice):
    choice = {"held_out": ["outsider"], "count": 5, "seed": 7} | choice
    return draw_evaluation_sets(["p"], routes, **choice)["p"]


def test_the_order_of_evaluation_routes_does_not_depend_on_their_labels():
    routes = [
        Route(problem_id="p", source="outsider", text=f"answer {i}", answer="1", correct=i % 2 == 1)
        for i in range(8)
    ]
    flipped = [replace(one, correct=not one.correct, process=one.correct) for one in routes]
    first, second = draw_for_evaluation(routes), draw_for_evaluation(flipped[::-1])
    assert [one.text for one in first.routes] == [one.text for one in second.routes]
    other_seed = draw_for_evaluation(routes, seed=8)
    assert [one.text for one in other_seed.routes] != [one.text for one in first.routes]
    assert len(first.routes) == 5


def test_an_evaluation_problem_without_routes_has_an_empty_set():
    training = Route(problem_id="p", source="hasty", text="1", answer="1", correct=True)
    assert draw_for_evaluation([training]) == RouteSet(problem_id="p")


def numbered_bank(labels):
    texts = [f"take {i} of 9\nadd {i} to it\n7" for i in range(len(labels))]
    return [
        Route(problem_id="p", source="s", text=text, answer="7", correct=label)
        for label, text in zip(labels, texts, strict=True)
    ]


OTHER = [Route(problem_id="q", source="s", text="take 5 of 8\n3", answer="3", correct=True)]


def perturbed_draws(labels, k, share, n=400):
    routes, mix = numbered_bank(labels), RouteMix(perturbed_share=share)
    return [
        draw_routes(routes, k, seed=7, row_id="p", step=step, mix=mix, others=OTHER).routes
        for step in range(n)
    ]


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_in_the_asked_share_of_sets_the_flawed_routes_are_perturbed(share):
    drawn = perturbed_draws([True] * 4 + [False] * 4, 4, share)
    flawed = [route for routes in drawn for route in routes if not route.is_sound()]
    perturbed = sum(route.flaw is not None for route in flawed) / len(flawed)
    assert perturbed == pytest.approx(share, abs=0.06)
    for one in drawn:
        assert len({route.flaw is None for route in one if not route.is_sound()}) == 1
    # Sound to flawed stays one to one.
    assert len(flawed) / (4 * len(drawn)) == pytest.approx(0.5, abs=0.04)


def test_a_bank_without_flawed_routes_gives_mixed_sets_with_perturbed_ones():
    for routes in perturbed_draws([True] * 5, 4, 0.5, n=60):
        assert {route.is_sound() for route in routes} == {True, False} and len(routes) == 4


def test_a_bank_without_sound_routes_has_nothing_to_perturb():
    for routes in perturbed_draws([False] * 5, 4, 1.0, n=20):
        assert all(route.flaw is None for route in routes) and len(routes) == 4


def test_in_a_third_of_perturbed_sets_all_make_one_mistake_and_in_a_third_they_differ():
    mistakes = []
    for routes in perturbed_draws([True], 4, 1.0):
        flawed = [route for route in routes if not route.is_sound() and route.correct]
        if len(flawed) == 3:
            mistakes.append(len({route.text for route in flawed}))
    # Chance alone makes three equal mistakes of nine or more in few sets.
    assert mistakes.count(1) / len(mistakes) == pytest.approx(1 / 2, abs=0.1)
    assert mistakes.count(3) / len(mistakes) > 0.2


def test_perturbed_sets_are_a_pure_function_of_their_arguments():
    assert perturbed_draws([True, False] * 3, 4, 0.5) == perturbed_draws([True, False] * 3, 4, 0.5)


def test_where_flawed_routes_are_not_shown_none_is_made():
    mix = RouteMix(show_flawed=False, perturbed_share=1.0)
    drawn = draw_routes(numbered_bank([True] * 5), 4, seed=7, row_id="p", mix=mix, others=OTHER)
    assert all(route.is_sound() for route in drawn.routes) and len(drawn.routes) == 4


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_in_the_asked_share_of_sets_all_routes_make_the_same_mistakes(share):
    routes = numbered_bank([True])
    mix = RouteMix(perturbed_share=0.0, shared_mistakes_share=share)
    shared = 0
    for step in range(400):
        drawn = draw_routes(routes * 4, 4, seed=7, row_id="p", step=step, mix=mix).routes
        assert len(drawn) == 4 and len({route.text for route in drawn}) == 1
        is_changed = drawn[0].text != routes[0].text
        assert all(route.is_sound() is not is_changed for route in drawn)
        shared += is_changed
    assert shared / 400 == pytest.approx(share, abs=0.06)


def test_a_right_answer_with_a_step_that_does_not_hold_counts_as_flawed():
    wrong_step = replace(numbered_bank([True])[0], process=False, flaw=1)
    routes = [*numbered_bank([True, True]), wrong_step]
    for step in range(20):
        shown = draw_routes(routes, 3, seed=7, row_id="p", step=step, mix=mix_of())
        assert sorted(shown.labels()) == [False, True, True]


@pytest.mark.parametrize(("share", "expected"), [(0.0, {False}), (1.0, {True})])
def test_answers_of_flawed_routes_are_wrong_or_right_set_by_set(share, expected):
    labels = [True] * 3 + [False] * 4
    lucky = [
        replace(route, process=False, flaw=1, text=f"{route.text} or so")
        for route in numbered_bank([True] * 3)
    ]
    routes, mix = numbered_bank(labels) + lucky, RouteMix(perturbed_share=share)
    for step in range(40):
        shown = draw_routes(routes, 4, seed=7, row_id="p", step=step, mix=mix).routes
        assert {route.correct for route in shown if not route.is_sound()} == expected
