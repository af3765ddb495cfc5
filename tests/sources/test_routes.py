import json
from dataclasses import replace

import pytest

from experts import CLAIMS
from realm.config.root import load_config
from realm.core.errors import ConfigError, DataError
from realm.core.jsonl import read_routes, write_jsonl
from realm.core.records import Problem, Route
from realm.domains import load_domain
from realm.run import Run
from realm.sources import routes
from realm.sources.routes import describe_all_wrong, describe_gaps, describe_unread


def problem(identity, split="test", answer="x"):
    return Problem(id=identity, split=split, question=f"q {identity}", answer=answer)


def route(identity, answer, source="m", guided=False):
    text = f"{source} says {answer}"
    return Route(
        problem_id=identity,
        source=source,
        text=text,
        answer=answer,
        correct=answer == "x",
        guided=guided,
    )


def everything(*missing):
    """Return three problems, and a route of each by each of two sources but for the `missing`."""
    problems = [problem("a"), problem("b"), problem("t", "train")]
    pairs = [(identity, source) for identity in "abt" for source in ("m", "out")]
    return problems, [
        route(identity, "x", source)
        for identity, source in pairs
        if (identity, source) not in missing
    ]


@pytest.mark.parametrize(
    ("missing", "line"),
    [
        (
            ("b", "out"),
            "1 of 2 evaluation problems have no route by a source that is held out, "
            "the first is 'b'",
        ),
        (
            ("t", "m"),
            "1 of 1 training problems have no route by a source that is not held out, "
            "the first is 't'",
        ),
    ],
)
def test_problems_without_the_routes_they_need_are_counted_and_the_first_is_named(missing, line):
    assert describe_gaps(*everything(), ["out"]) == []
    assert describe_gaps(*everything(missing), ["out"]) == [line]


def test_without_held_out_sources_any_labelled_route_will_do_but_a_guided_chain_is_none():
    assert describe_gaps(*everything(("b", "out"), ("t", "m")), []) == []
    problems, lacking = (
        [problem("t", "train")],
        "1 of 1 training problems have no route by any source, the first is 't'",
    )
    assert describe_gaps(problems, [route("t", "x", guided=True)], []) == [lacking]
    assert describe_gaps(problems, [replace(route("t", "x"), correct=None)], []) == [lacking]


def test_a_group_without_any_route_stops_before_the_long_stages(scripted_run):
    scripted_run.config = load_config(scripted_run.config.source, ["routes.held_out=[outsider]"])
    problems, routes_ = everything(("a", "out"), ("b", "out"))
    write_jsonl(scripted_run.path("problems.jsonl"), problems)
    write_jsonl(scripted_run.path("routes.jsonl"), routes_)
    with pytest.raises(
        DataError,
        match=r"none of the 2 evaluation problems has a route by a source that is held out",
    ):
        routes.require_routes(scripted_run)


def test_training_problems_need_routes_only_if_the_fade_shows_them(scripted_run):
    scripted_run.config = scripted_run.config.with_settings({"routes.held_out": ["out"]})
    problems, routes_ = everything(("t", "m"))
    write_jsonl(scripted_run.path("problems.jsonl"), problems)
    write_jsonl(scripted_run.path("routes.jsonl"), routes_)
    with pytest.raises(DataError, match=r"none of the 1 training problems has a route"):
        routes.require_routes(scripted_run)
    settings = {"train.fade.kind": "none"}
    scripted_run.config = scripted_run.config.with_settings(settings)
    routes.require_routes(scripted_run)


@pytest.fixture
def scripted_run(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(
        "model: some/model\n"
        f"domain: {{kind: python, target: '{CLAIMS}', settings: {{sizes: "
        "{train: 6, validation: 2, test: 4, test_rules: 2}}}\n"
        "routes: {kind: scripted, guided_problems: 4, held_out: [outsider], per_source: 2, "
        "eval_routes: 3}\n"
    )
    config = load_config(path, [])
    run = Run(tmp_path / "run", config)
    write_jsonl(run.path("problems.jsonl"), load_domain(config).problems(config.seed))
    return run


def test_the_scripted_expert_guides_some_training_problems_and_keeps_a_source_for_evaluation(
    scripted_run, caplog
):
    caplog.set_level("INFO", logger="realm")
    routes.run_routes(scripted_run)
    written = read_routes(scripted_run.path("routes.jsonl"))
    assert sum(one.guided for one in written) == 4
    assert (
        sum(one.source in ("hasty", "frugal", "dated", "careless") for one in written) == 6 * 4 * 2
    )
    assert sum(one.source == "outsider" for one in written) == 8 * 3
    assert "Route bank" in caplog.text
    bank = json.loads(scripted_run.path("bank.json").read_text())
    assert bank["schema"] == "realm.bank/1"
    assert {(row["group"], row["source"]) for row in bank["sources"]} >= {
        ("train", "hasty"),
        ("evaluation", "outsider"),
    }


def test_the_same_seed_gives_the_same_bytes(scripted_run):
    routes.run_routes(scripted_run)
    first = scripted_run.path("routes.jsonl").read_bytes()
    routes.run_routes(scripted_run)
    assert scripted_run.path("routes.jsonl").read_bytes() == first


def test_a_source_that_the_expert_does_not_know_is_refused(scripted_run):
    scripted_run.config = load_config(scripted_run.config.source, ["routes.sources=[hsty]"])
    with pytest.raises(
        ConfigError,
        match=r"knows no source 'hsty'\. Allowed: hasty, frugal, dated, careless, outsider",
    ):
        routes.run_routes(scripted_run)


def test_a_source_whose_answers_are_not_found_is_said_loudly_with_examples():
    lost = [route(f"p{n}", None, "odd") for n in range(6)]
    found = [route(f"p{n}", "x", "fine") for n in range(6)]
    (line,) = describe_unread([*lost, *found, route("q", "x", "odd")])
    assert line.startswith("odd: NO ANSWER was found in 6 of 7 outputs")
    assert line.count("... odd says None") == 3 and "--kind" in line
    assert describe_unread(found) == []


def test_a_source_with_many_answers_and_none_right_is_said_loudly_with_examples():
    problems = [Problem(id="p", split="train", question="?", answer="B) 18")]
    wrong = Route(problem_id="p", source="m", text="18", answer="18", correct=False)
    (line,) = describe_all_wrong(problems, [wrong] * 50)
    assert "m: NONE of 50 answers is right, such as '18' for 'B) 18'" in line
    assert describe_all_wrong(problems, [wrong] * 49) == []
    assert describe_all_wrong(problems, [wrong] * 50 + [replace(wrong, correct=True)]) == []
    # An undecided answer is not known to be wrong.
    assert describe_all_wrong(problems, [wrong] * 50 + [replace(wrong, correct=None)]) == []
