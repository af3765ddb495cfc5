from random import Random

from realm.core.records import Route, RouteSet
from realm.method.perturb import alter_routes

CHAIN = Route(
    problem_id="p",
    source="teacher",
    text="fee 42 allows 42\ncopay 6 leaves 36",
    answer="pay 36",
    correct=True,
)


def route(text, answer, correct, **more):
    return Route(problem_id="p", source="s", text=text, answer=answer, correct=correct, **more)


def altered(*routes, chain=CHAIN, gold="pay 36", seed=0):
    shown = RouteSet(problem_id="p", routes=routes)
    return alter_routes(shown, chain, gold, str, Random(seed)).routes


def test_all_routes_of_a_set_make_the_same_mistake():
    routes = (
        route("pay 36\nfee 42 allows 42\ncopay 6 leaves 36", "pay 36", True),
        route("copay 6 of 42, so 36", "pay 36", True),
    )
    for seed in range(50):
        first, second = altered(*routes, seed=seed)
        fee, copay, left = first.text.split()[3], first.text.split()[7], first.text.split()[9]
        assert second.text == f"copay {copay} of {fee}, so {left}"
        assert (fee, copay, left) != ("42", "6", "36")
        assert first.answer == second.answer == f"pay {left}"


def test_labels_follow_the_answers_and_checks_that_no_longer_hold_are_gone():
    shown = route("fee 42\npay 36", "pay 36", True, check="pay 36 holds", process=True)
    seen = set()
    for seed in range(50):
        (one,) = altered(shown, seed=seed)
        assert one.correct == (one.answer == "pay 36") and one.text.endswith(f"\n{one.answer}")
        assert (one.check, one.process) == (
            (None, None) if one.text != shown.text else ("pay 36 holds", True)
        )
        seen.add(one.correct)
    assert seen == {True, False}


def test_a_route_without_any_number_of_the_chain_stays_as_it_is():
    wrong = [
        altered(route("leaves 40", "pay 40", False, flaw="leaves 40"), seed=seed)[0]
        for seed in range(30)
    ]
    assert all(
        (one.text, one.correct, one.flaw) == ("leaves 40", False, "leaves 40") for one in wrong
    )


def test_words_digits_within_numbers_and_routes_without_an_answer_stay_as_they_are():
    chain = route("total 1,200.50, rate 3", "1200.50", True)
    for seed in range(30):
        (one,) = altered(
            route("v3 rate 13 33 0.3 and 1,200.50", None, False),
            chain=chain,
            gold="1200.50",
            seed=seed,
        )
        assert (
            one.text.startswith("v3 rate 13 33 0.3 and ")
            and one.answer is None
            and one.correct is False
        )
        assert one.text.split()[-1].count(".") == 1


def test_a_chain_without_numbers_leaves_the_set_as_it_is():
    shown = route("deny late", "deny late", True)
    assert altered(
        shown, chain=route("filing late denied", "deny late", True), gold="deny late"
    ) == (shown,)
