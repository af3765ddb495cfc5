"""The airline domain: the rules as the rule book states them, and what the splits promise."""

import os
import random
import re
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from airline import AirlineDomain
from airline.generate import CITIES, HELD_OUT_PAIRS, describe_trip, trip_of
from airline.official import read_official
from airline.pricing import ASIA, CABINS, NEAR, Bag, Trip, price
from realm.method.steps import split_steps

OFFICIAL = os.environ.get("RULEARENA_AIRLINE")
"""A file of RuleArena's airline problems; examples/airline/README.md says where they are."""
PLAIN = Bag(number=2, size=(30, 20, 10), weight=40)
PROBLEMS = AirlineDomain({"train": 300}).problems(11)
LONG = AirlineDomain({"train": 200}, bags=(3, 10)).problems(11)


def trip(cabin="Main Cabin", region="U.S.", bags=(PLAIN,), **changes) -> Trip:
    bags = tuple(replace(bag, number=number) for number, bag in enumerate(bags, 2))
    facts = {"origin": "Austin", "destination": CITIES[region][-1], "ticket": 100}
    return Trip(**{"is_outbound": True, **facts, **changes}, cabin=cabin, region=region, bags=bags)


def charge_extra(region="U.S.", cabin="Main Cabin", **changes) -> int:
    """Return what size and weight of a first bag cost."""
    plain, other = trip(cabin, region), trip(cabin, region, [replace(PLAIN, **changes)])
    return price(other).total - price(plain).total


@pytest.mark.parametrize(
    ("region", "cabin", "fees"),
    [
        ("U.S.", "Basic Economy", (40, 45, 150, 200, 200)),
        ("Puerto Rico", "Main Cabin", (40, 45, 150, 200, 200)),
        ("Canada", "Main Plus", (0, 45, 150, 200, 200)),
        ("Canada", "First", (0, 0, 150, 200, 200)),
        ("Mexico", "Main Cabin", (35, 45, 200, 200, 200)),
        ("Mexico", "First", (0, 0, 0, 200, 200)),
        ("Haiti", "Main Cabin", (0, 65, 200, 200, 200)),
        ("Peru", "Basic Economy", (45, 100, 200, 200, 200)),
        ("South America", "Basic Economy", (60, 100, 200, 200, 200)),
        ("Europe", "Basic Economy", (75, 100, 200, 200, 200)),
        ("Europe", "Main Plus", (0, 0, 200, 200, 200)),
        ("Japan", "Premium Economy", (0, 0, 200, 200, 200)),
        ("Cuba", "Main Cabin", (0, 150)),
    ],
)
def test_the_bag_fee_depends_on_number_region_and_cabin(region, cabin, fees):
    bill = price(trip(cabin, region, [PLAIN] * len(fees)))
    assert bill.charges == fees and bill.total == 100 + sum(fees)


def test_from_cuba_two_bags_are_free_in_every_cabin():
    for cabin in CABINS:
        assert price(trip(cabin, "Cuba", [PLAIN] * 2, is_outbound=False)).total == 100


@pytest.mark.parametrize(
    ("region", "changes", "fee"),
    [
        ("U.S.", {"size": (40, 12, 10)}, 0),
        ("U.S.", {"size": (40, 12, 11)}, 30),
        ("U.S.", {"size": (40, 15, 10)}, 30),
        ("U.S.", {"size": (40, 15, 11)}, 200),
        ("Europe", {"size": (40, 15, 11)}, 150),
        ("Panama", {"size": (40, 15, 11)}, 150),
        ("Mexico", {"size": (40, 15, 11)}, 200),
        ("U.S.", {"weight": 50}, 0),
        ("U.S.", {"weight": 51}, 30),
        ("U.S.", {"weight": 53}, 30),
        ("U.S.", {"weight": 54}, 100),
        ("U.S.", {"weight": 70}, 100),
        ("Cuba", {"weight": 70}, 200),
        ("U.S.", {"weight": 71}, 200),
        ("India", {"weight": 71}, 450),
        ("U.S.", {"size": (40, 12, 11), "weight": 60}, 100),
        ("U.S.", {"size": (40, 15, 11), "weight": 60}, 200),
    ],
)
def test_the_larger_of_size_fee_and_weight_fee_is_charged(region, changes, fee):
    assert charge_extra(region, **changes) == fee


def test_free_bags_may_weigh_70_lb_where_the_rule_book_says_so():
    for cabin, region, fee in [
        ("Business", "U.S.", 0),
        ("First", "Japan", 0),
        ("Premium Economy", "U.S.", 100),
        ("Premium Economy", "Australia", 0),
        ("Main Cabin", "New Zealand", 0),
        ("Basic Economy", "New Zealand", 100),  # its first bag is not free
    ]:
        assert charge_extra(region, cabin, weight=70) == fee, (cabin, region)
    assert charge_extra("U.S.", "Business", weight=71) == 200


def test_the_free_bags_are_those_that_save_the_most():
    large, heavy, small = (
        replace(PLAIN, size=(40, 20, 10), weight=70),  # 200 for the size in any case
        replace(PLAIN, weight=70),
        replace(PLAIN, weight=52),
    )
    bill = price(trip("Business", "U.S.", [large, small, heavy, heavy]))
    assert bill.free == (4, 5) and bill.total == 100 + (150 + 200) + (200 + 30)
    assert price(trip("Business", "U.S.", [large, large, large])).free == (2, 3)


def test_a_chain_adds_up_step_by_step():
    bags = [replace(PLAIN, size=(44, 22, 20), weight=69), PLAIN]
    problem = replace(PROBLEMS[0], meta={"trip": vars(trip(bags=bags))}, answer=385)
    problem.meta["trip"]["bags"] = [vars(bag) for bag in problem.meta["trip"]["bags"]]
    chain = AirlineDomain({}).write_chain(problem)
    assert chain.text.splitlines() == [
        "Austin to Washington D.C.: U.S.",
        "Main Cabin bags: 40, 45",
        "bag 2: 44+22=66, +20=86 in 200; 69 lb 100",
        "bag 3: 30+20=50, +10=60 in 0; 40 lb 0",
        "bag 2, fee 1: 40+200=240; 100+240=340",
        "bag 3, fee 2: 45+0=45; 340+45=385",
    ]
    assert chain.answer == 385 and chain.guided and chain.process


def test_a_bill_ranks_what_free_bags_would_save():
    both = replace(PLAIN, size=(44, 12, 8), weight=60)
    bags = [PLAIN, both, replace(PLAIN, weight=60), replace(both, weight=54)]
    bill = price(trip("Business", "U.S.", bags))
    assert [step.text for step in bill.steps[6:]] == [
        "savings 100: 4; 70: 3, 5; 0: 2",
        "free up to 70 lb: 4, 3",
        "bag 2, fee 3: 150+0=150; 100+150=250",
        "bag 3, free: 0+30=30; 250+30=280",
        "bag 4, free: 0+0=0; 280+0=280",
        "bag 5, fee 4: 200+100=300; 280+300=580",
    ]


def test_every_sum_of_a_chain_is_right():
    for problem in (*PROBLEMS, *LONG):
        for a, b, total in re.findall(
            r"(\d+)\+(\d+)=(\d+)", AirlineDomain({}).write_chain(problem).text
        ):
            assert int(a) + int(b) == int(total)


def test_the_rule_book_prints_the_numbers_that_the_code_executes():
    text = AirlineDomain({}).rules
    assert re.findall(r"^(\d+)\. ", text, re.MULTILINE) == [str(n) for n in range(1, 19)]
    cited = {rule for problem in (*PROBLEMS, *LONG) for rule in problem.meta["rules"]}
    assert cited == set(range(2, 19))  # 1 is the carry-on
    for region in (*NEAR, *ASIA):
        assert region in text


def test_problems_are_the_same_for_the_same_seed_and_never_repeat():
    sizes = {"train": 200, "validation": 30, "test": 60, "test_rules": 40}
    problems = AirlineDomain(sizes, bags=(1, 3)).problems(3)
    assert problems == AirlineDomain(sizes, bags=(1, 3)).problems(3)
    assert problems != AirlineDomain(sizes, bags=(1, 3)).problems(4)
    assert len({problem.question for problem in problems}) == len(problems) == 330
    assert {problem.meta["bags"] for problem in problems} == {1, 2, 3}


def test_easy_problems_come_first_in_training_and_nowhere_else():
    sizes = {"train": 60, "test": 30}
    problems = AirlineDomain(sizes, bags=(5, 6), num_easy=40, easy_bags=(3, 4)).problems(3)
    # To and from Cuba nobody checks more than two bags.
    numbers = [one.meta["bags"] for one in problems if one.meta["trip"]["region"] != "Cuba"]
    num_easy = sum(one.meta["trip"]["region"] != "Cuba" for one in problems[:40])
    assert set(numbers[:num_easy]) == {3, 4}
    assert set(numbers[num_easy:]) == {5, 6}


def test_hard_problems_are_for_training_and_validation_only():
    sizes = {"train": 60, "validation": 30, "test": 30}
    ranges = {"bags": (2, 3), "easy_bags": (4, 5), "hard_bags": (6, 7)}
    found = {}
    for number, one in enumerate(AirlineDomain(sizes, num_easy=40, **ranges).problems(3)):
        if one.meta["trip"]["region"] != "Cuba":
            part = "easy" if number < 40 else one.split
            found.setdefault(part, set()).add(one.meta["bags"])
    assert found == {"easy": {4, 5}, "train": {6, 7}, "validation": {6, 7}, "test": {2, 3}}


def test_easy_problems_may_leave_out_kinds_of_bags():
    kinds = {"bags": (3, 3), "easy_bags": (3, 3), "easy_kinds": ["normal", "overweight"]}
    problems = AirlineDomain({"train": 80, "test": 20}, num_easy=40, **kinds).problems(3)

    def has_large_bag(problem):
        return any(sum(bag["size"]) > 62 for bag in problem.meta["trip"]["bags"])

    assert not any(map(has_large_bag, problems[:40]))
    assert any(map(has_large_bag, problems[40:80])) and any(map(has_large_bag, problems[80:]))


def test_pairs_of_cabin_and_region_of_test_rules_never_occur_elsewhere():
    for problem in AirlineDomain({"train": 400, "test": 100, "test_rules": 60}).problems(0):
        facts = problem.meta["trip"]
        is_held_out = (facts["cabin"], facts["region"]) in HELD_OUT_PAIRS
        assert is_held_out == (problem.split == "test_rules")


def test_levels_are_those_of_the_official_problems():
    levels = {problem.meta["bags"]: problem.meta["level"] for problem in LONG}
    assert levels == {2: 0, 3: 0, 4: 0, 5: 1, 6: 1, 7: 1, 8: 2, 9: 2, 10: 2}  # Cuba takes 2


@pytest.mark.parametrize("source", AirlineDomain.sources)
def test_the_label_of_a_route_is_its_first_step_that_does_not_hold(source):
    domain, lucky = AirlineDomain({}), 0
    for problem in PROBLEMS:
        route = domain.write_route(problem, source, random.Random(problem.id))
        steps = split_steps(route)
        truth = [*domain.write_chain(problem).text.splitlines(), str(problem.answer)]
        assert steps[-1] == str(route.answer)
        lucky += bool(route.correct and not route.process)
        if route.process:
            assert route.correct and route.flaw is None and route.fix is None
            continue
        before = [step.partition("; saves")[0] for step in truth[: route.flaw - 1]]
        assert [step.partition("; saves")[0] for step in steps[: route.flaw - 1]] == before
        assert steps[route.flaw - 1] != truth[route.flaw - 1] == route.fix
    assert lucky > 0  # right answers by wrong steps


def test_a_check_of_a_route_needs_no_label():
    domain = AirlineDomain({})
    for problem in PROBLEMS:
        for source in domain.sources:
            known = domain.write_route(problem, source, random.Random(problem.id))
            bare = replace(known, process=None, flaw=None, fix=None)
            assert domain.check_route(problem, bare) == known
    [problem] = [one for one in PROBLEMS if one.meta["bags"] == 3][:1]
    chain = domain.write_chain(problem).text
    truth = [*chain.splitlines(), str(problem.answer)]
    for steps, label in [
        (truth, (True, None, None)),
        (truth[:-1], (True, None, None)),
        (truth[:3], (None, None, None)),
        ([*truth, "and a tip"], (False, len(truth) + 1, None)),
        ([*truth[:2], *truth[3:]], (False, 3, truth[2])),
    ]:
        checked = domain.check_route(problem, replace(known, text="\n\n".join(steps)))
        assert (checked.process, checked.flaw, checked.fix) == label


def test_on_long_trips_nearly_all_routes_are_wrong_and_their_majority_too():
    domain = AirlineDomain({})
    sources = ["frequent", "counter", "dated", "strict"]
    right = defaultdict(list)
    for problem in LONG:
        routes = [
            domain.write_route(problem, source, random.Random(f"{problem.id}{source}{turn}"))
            for source in sources
            for turn in range(2)
        ]
        answer, _ = Counter(route.answer for route in routes).most_common(1)[0]
        right["one"] += [route.correct for route in routes]
        right["majority"].append(answer == problem.answer)
        right["any"].append(any(route.correct for route in routes))
    share = {name: sum(values) / len(values) for name, values in right.items()}
    assert share["one"] <= 0.15 and share["majority"] <= 0.15 and share["any"] <= 0.4


def test_an_exercise_is_a_new_trip_of_the_same_cabin_and_places():
    write_exercise = AirlineDomain({}).make_instructor(PROBLEMS)
    known = trip_of(PROBLEMS[0])
    question, chain, answer = write_exercise(PROBLEMS[0], None, random.Random(1))
    assert f"{known.cabin} Class passenger flying from {known.origin} to" in question
    assert question not in {problem.question for problem in PROBLEMS}
    assert chain.endswith(f"={answer}")


@pytest.mark.skipif(OFFICIAL is None, reason="RULEARENA_AIRLINE names no file of its problems")
def test_the_rules_here_give_the_official_answers():
    official = list(read_official(Path(OFFICIAL), None))
    assert Counter(problem.meta["level"] for problem in official) == {0: 100, 1: 100, 2: 100}
    domain = AirlineDomain({}, official=OFFICIAL, level=2)
    assert len(domain.problems(7)) == 100
    for problem in official:
        assert domain.write_chain(problem).correct  # the file's own answer, which reading checks
    for seed in range(3):
        drawn = AirlineDomain({"train": 1000}).problems(seed)
        assert not {one.question for one in drawn} & {one.question for one in official}


@pytest.mark.skipif(OFFICIAL is None, reason="RULEARENA_AIRLINE names no file of its problems")
def test_questions_have_the_form_of_the_official_ones():
    def simplify(text: str) -> str:
        return re.sub(r"\d+", "0", text)

    for problem in read_official(Path(OFFICIAL), 0):
        words = re.match(r"(\w+) is", problem.question)[1]
        ours = describe_trip(trip_of(problem), random.Random(0))
        name = re.match(r"(\w+) is", ours)[1]
        places = [text.replace("luggage box", "backpack") for text in (ours, problem.question)]
        assert simplify(places[0].replace(name, words)) == simplify(places[1])


def test_an_official_file_whose_answer_differs_is_refused(tmp_path):
    file = tmp_path / "official.jsonl"
    file.write_text(
        '{"prompt": "Ann is a First Class passenger flying from Austin to Paris with the following '
        'items:", "answer": 1, "info": {"base_price": 100, "customer_class": "First", "routine": '
        '"Europe", "direction": 0, "bag_list": [{"size": [1, 1, 1], "weight": 1}, {"size": '
        "[30, 20, 10], " + '"weight": 40}]}}\n'
    )
    with pytest.raises(ValueError, match=r"official-000: the rule book here gives 100"):
        list(read_official(file, None))
