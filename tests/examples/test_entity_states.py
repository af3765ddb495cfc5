"""The entity_states domain: the rules as the rule book states them, and what the splits promise."""

import random
import re
from collections import Counter, defaultdict
from dataclasses import replace

import pytest
import yaml
from typer.testing import CliRunner

import realm
from entity_states import EntityStatesDomain
from entity_states.generate import HELD_OUT_PAIRS, LEVELS, procedure_of
from entity_states.world import (
    BLIND_SPOTS,
    EXCEPTIONS,
    INDOORS,
    OUTDOORS,
    Container,
    Event,
    Procedure,
    Query,
    Thing,
    solve,
)
from experts import EXAMPLES
from realm.bank.draw import RouteMix, draw_routes
from realm.cli import app
from realm.method.steps import split_steps
from tiny import make_tiny

PROBLEMS = EntityStatesDomain({"train": 150}).problems(11)
LONG = EntityStatesDomain({"train": 60}, levels=[3]).problems(11)
RAIN, SUN, FROST, DAY = (Event(kind=kind) for kind in ("rain", "sun", "frost", "day"))


def run(*events, thing="key", holder=None, place="garden", is_open=True, unknown=(), **state):
    """Return the lines of the steps for one thing, perhaps in a container of its place."""
    containers = [Container(name=holder, place=place, is_open=is_open)] if holder else []
    procedure = Procedure(
        things=(Thing(name=thing, place=place, holder=holder, **state),),
        containers=tuple(containers),
        events=events,
        query=Query(thing=thing, fact="place", step=len(events)),
    )
    return [line.partition(" -> ")[2] for line in solve(procedure, unknown).lines]


def carry(name, place="hotel"):
    return Event(kind="carry", name=name, target=place)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param(run(RAIN, place="hotel"), ["nothing changes"], id="2: indoors"),
        pytest.param(
            run(Event(kind="take", name="key", target="school"), holder="box"),
            ["key: dry, school"],
            id="3: a thing that is taken is in no container",
        ),
        pytest.param(
            run(Event(kind="take", name="key", target="school"), holder="box", is_open=False),
            ["nothing changes"],
            id="5: a closed container gives nothing out",
        ),
        pytest.param(
            run(Event(kind="open", name="box"), holder="box", is_open=False),
            ["box: open, garden"],
            id="6: opened",
        ),
        pytest.param(
            run(Event(kind="close", name="box"), carry("box"), holder="box"),
            ["box: closed, garden", "box: closed, hotel; key: dry, in box, hotel"],
            id="6 and 7: contents move along",
        ),
        pytest.param(
            run(carry("bag"), thing="wax", holder="bag", is_liquid=True),
            ["bag: open, hotel; wax: liquid, dry, garden"],
            id="8: a liquid spills from an open container",
        ),
        pytest.param(
            run(carry("bag"), thing="wax", holder="bag"),
            ["bag: open, hotel; wax: solid, dry, in bag, hotel"],
            id="8: a solid does not",
        ),
        pytest.param(
            run(carry("bag"), thing="wax", holder="bag", is_liquid=True, is_open=False),
            ["bag: closed, hotel; wax: liquid, dry, in bag, hotel"],
            id="8: nor from a closed one",
        ),
        pytest.param(
            run(carry("drum"), thing="wax", holder="drum", is_liquid=True),
            ["drum: open, hotel; wax: liquid, dry, in drum, hotel"],
            id="9: nor from a drum",
        ),
        pytest.param(run(RAIN, holder="bag"), ["key: wet, in bag, garden"], id="10: rain"),
        pytest.param(run(RAIN, holder="bag", is_open=False), ["nothing changes"], id="11: closed"),
        pytest.param(
            run(RAIN, holder="basket", is_open=False),
            ["key: wet, in basket, garden"],
            id="12: a basket lets the rain in",
        ),
        pytest.param(
            run(RAIN, thing="wax", is_liquid=True), ["nothing changes"], id="13: a liquid stays dry"
        ),
        pytest.param(run(DAY, place="hotel", is_wet=True), ["key: dry, hotel"], id="14: a day"),
        pytest.param(
            run(DAY, holder="basket", is_open=False, is_wet=True),
            ["nothing changes"],
            id="15: nothing dries in a closed container",
        ),
        pytest.param(run(SUN, thing="wax"), ["wax: liquid, dry, garden"], id="16: sun melts"),
        pytest.param(run(SUN), ["nothing changes"], id="16: only wax and butter"),
        pytest.param(
            run(SUN, SUN, thing="butter", is_wet=True),
            ["butter: solid, dry, garden", "butter: liquid, dry, garden"],
            id="17: a wet thing dries first",
        ),
        pytest.param(run(SUN, is_wet=True), ["key: dry, garden"], id="17: whatever it is"),
        pytest.param(
            run(SUN, thing="wax", holder="box", is_open=False), ["nothing changes"], id="18: closed"
        ),
        pytest.param(
            run(SUN, thing="wax", holder="drum", is_open=False),
            ["wax: liquid, dry, in drum, garden"],
            id="19: a drum gets hot",
        ),
        pytest.param(
            run(FROST, thing="wax", holder="box", is_open=False, is_liquid=True),
            ["wax: solid, dry, in box, garden"],
            id="20: frost, in any container",
        ),
        pytest.param(
            run(FROST, thing="wax", place="museum", is_liquid=True),
            ["nothing changes"],
            id="20: outdoors",
        ),
    ],
)
def test_each_rule_and_exception_acts_as_the_rule_book_says(lines, expected):
    assert lines == expected


@pytest.mark.parametrize(("is_open", "line"), [(True, "key: dry, in box, garden"), (False, None)])
def test_a_thing_is_put_where_its_container_is(is_open, line):
    procedure = Procedure(
        things=(Thing(name="key", place="hotel"),),
        containers=(Container(name="box", place="garden", is_open=is_open),),
        events=(Event(kind="put", name="key", target="box"),),
        query=Query(thing="key", fact="place", step=1),
    )
    solution = solve(procedure)
    assert solution.lines == (f"Put the key in the box -> {line or 'nothing changes'}",)
    assert solution.answer == ("garden" if line else "hotel")


def test_a_question_asks_for_a_fact_after_a_step_or_for_the_step_that_brings_it_about():
    def ask(**query):
        procedure = Procedure(
            things=(Thing(name="key", place="garden"),),
            containers=(),
            events=(RAIN, SUN, Event(kind="take", name="key", target="hotel"), RAIN),
            query=Query(thing="key", **query),
        )
        solution = solve(procedure)
        return solution.answer, len(solution.lines)

    assert ask(fact="moisture", step=1) == ("wet", 1)
    assert ask(fact="moisture", step=2) == ("dry", 2)
    assert ask(fact="place", step=3) == ("hotel", 3)
    assert ask(fact="place", value="hotel") == ("3", 4)
    assert ask(fact="moisture", value="wet") == ("1", 4)
    assert ask(fact="place", value="farm") == ("never", 4)


def test_the_rule_book_prints_the_rules_that_the_code_executes():
    text = EntityStatesDomain().rules
    assert re.findall(r"^(\d+)\. ", text, re.MULTILINE) == [str(n) for n in range(1, 21)]
    cited = {rule for problem in (*PROBLEMS, *LONG) for rule in problem.meta["rules"]}
    assert cited == set(range(2, 21))  # 1 says how to read a procedure
    assert all(place in text.lower() for place in (*OUTDOORS, *INDOORS))


def test_who_lacks_an_exception_errs_in_many_problems():
    for rule in EXCEPTIONS:
        wrong = [
            solve(procedure_of(one), {rule}).answer != one.answer for one in (*PROBLEMS, *LONG)
        ]
        assert sum(wrong) > 3, rule
    blind = [solve(procedure_of(one), BLIND_SPOTS).answer != one.answer for one in PROBLEMS]
    assert 0.3 < sum(blind) / len(blind) < 0.6


def test_guessing_does_not_pay():
    answers = Counter(problem.answer for problem in PROBLEMS)
    assert abs(answers["wet"] - answers["dry"]) <= 3
    assert abs(answers["solid"] - answers["liquid"]) <= 3
    assert max(answers.values()) < 0.2 * len(PROBLEMS)


def test_problems_are_the_same_for_the_same_seed_and_never_repeat():
    sizes = {"train": 60, "validation": 10, "test": 20, "test_rules": 5, "test_larger": 5}
    problems = EntityStatesDomain(sizes).problems(3)
    assert problems == EntityStatesDomain(sizes).problems(3)
    assert problems != EntityStatesDomain(sizes).problems(4)
    assert len({problem.question for problem in problems}) == len(problems) == 100
    for problem in problems:
        is_larger = problem.split == "test_larger"
        level, num_steps = problem.meta["level"], len(procedure_of(problem).events)
        assert level == 3 if is_larger else level in (1, 2)
        assert LEVELS[level][0] <= num_steps <= LEVELS[level][1]


def test_pairs_of_rules_of_test_rules_never_decide_another_problem():
    for problem in EntityStatesDomain({"train": 150, "test_rules": 12}).problems(0):
        is_held_out = any(pair <= set(problem.meta["rules"]) for pair in HELD_OUT_PAIRS)
        assert is_held_out == (problem.split == "test_rules")


@pytest.mark.parametrize(
    ("levels", "sizes"), [([], {"test": 1}), ([4], {"test": 1}), ([1, 3], {"test_larger": 1})]
)
def test_a_level_that_there_is_not_is_refused(levels, sizes):
    with pytest.raises(realm.ConfigError, match=r"domain\.settings\.levels: found \["):
        EntityStatesDomain(sizes, levels)


def test_a_chain_states_what_each_step_changes():
    problem = next(one for one in PROBLEMS if len(procedure_of(one).events) > 3)
    chain = EntityStatesDomain().write_chain(problem)
    query = procedure_of(problem).query
    assert len(chain.text.splitlines()) == (query.step or len(procedure_of(problem).events))
    assert chain.correct and chain.process and chain.guided
    # Each line repeats the words of its step, so that a small model knows where it is.
    steps = re.findall(r"^\d+\. (.*)\.$", problem.question, re.MULTILINE)
    lines = chain.text.splitlines()
    assert [line.partition(" -> ")[0] for line in lines] == steps[: len(lines)]


@pytest.mark.parametrize("source", EntityStatesDomain.sources)
def test_the_label_of_a_route_is_its_first_step_that_does_not_hold(source):
    domain, lucky = EntityStatesDomain(), 0
    for problem in (*PROBLEMS, *LONG):
        route = domain.write_route(problem, source, random.Random(problem.id))
        steps = split_steps(route)
        truth = (*domain.write_chain(problem).text.splitlines(), problem.answer)
        assert steps[-1] == route.answer and len(steps) == len(truth)
        assert route.correct == (route.answer == problem.answer)
        lucky += bool(route.correct and not route.process)
        if route.process:
            assert route.correct and steps == truth
        else:
            assert steps[: route.flaw - 1] == truth[: route.flaw - 1]
            assert steps[route.flaw - 1] != truth[route.flaw - 1] == route.fix
    assert lucky > 0  # right answers by wrong steps


def test_half_of_the_majorities_are_wrong_and_most_problems_have_a_right_route():
    domain, right = EntityStatesDomain(), defaultdict(list)
    for problem in (*PROBLEMS, *LONG):
        routes = {
            source: domain.write_route(problem, source, random.Random(f"{problem.id}{source}"))
            for source in domain.sources
        }
        answers = [routes[source].answer for source in ("cook", "porter", "sailor", "guest")]
        right["majority"].append(Counter(answers).most_common(1)[0][0] == problem.answer)
        right["any"].append(problem.answer in answers)
        right["reader"].append(routes["reader"].correct)
    shares = {name: sum(found) / len(found) for name, found in right.items()}
    assert 0.45 < shares["majority"] < 0.75
    assert shares["any"] > 0.75 and shares["reader"] > 0.9


def test_a_sound_route_can_be_broken_at_a_step():
    domain = EntityStatesDomain()
    sound = [
        replace(domain.write_chain(one), text=f"{domain.write_chain(one).text}\n{one.answer}")
        for one in LONG[:10]
    ]
    drawn = [
        draw_routes(
            [route], 2, seed=seed, row_id="p", mix=RouteMix(perturbed_share=1), others=sound
        )
        for seed in range(4)
        for route in sound
    ]
    flawed = [route for one in drawn for route in one.routes if not route.process]
    assert len(flawed) > 20 and all(route.flaw for route in flawed)


@pytest.mark.slow
def test_the_config_runs_from_problems_to_a_report(tmp_path):
    sizes = {"train": 12, "test": 2, "test_rules": 1, "test_larger": 1}
    shipped = EXAMPLES.parent / "configs/entity_states.yaml"
    config = yaml.safe_load(shipped.read_text(encoding="utf-8"))
    config["domain"]["target"] = f"{EXAMPLES}/entity_states:EntityStatesDomain"
    config["domain"]["settings"]["sizes"] = sizes
    config["model"] = str(make_tiny(tmp_path / "model"))
    config["run"] = str(tmp_path / "run")
    config["distill"]["sft"] |= {"max_steps": 1, "per_device_train_batch_size": 2}
    config["train"]["headroom"] = {"problems": 2, "samples": 2}
    config["train"]["grpo"] |= {
        "max_steps": 1,
        "num_generations": 2,
        "per_device_train_batch_size": 2,
        "max_completion_length": 8,
    }
    config["evaluate"]["max_new_tokens"] = 8
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    result = CliRunner().invoke(app, ["run", str(path)])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "run/report.html").exists()
