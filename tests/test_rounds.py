"""Further rounds: the policy's own routes, and what a round takes over from the last one."""

import json

import pytest

from realm.config.root import load_config
from realm.core.jsonl import read_routes
from realm.core.records import Problem, Route
from realm.rounds import next_round, replace_routes
from realm.run import Run
from realm.sampling import Answer, make_own_route
from realm.verify.judge import judge
from realm.verify.verifier import Verifier
from test_pipeline import realm, write_config

VERIFIER = Verifier("label")
PROBLEMS = [
    Problem(id=f"p{number}", split="train", question="?", answer="pay 7") for number in range(3)
]


def said(answer: str, chain: str = "fee") -> Answer:
    text = f"<reason>{chain}</reason><answer>{answer}</answer>"
    judged = judge(text, gold="pay 7", verifier=VERIFIER)
    return Answer(split="train", problem_id="?", prompt="?", judged=judged, prompt_tokens=1)


def route(problem_id: str, correct: bool, **more) -> Route:
    return Route(
        problem_id=problem_id,
        source="hasty",
        text=f"{correct}",
        answer="pay 7",
        correct=correct,
        **more,
    )


def test_own_routes_take_the_place_of_the_bank_which_fills_in_the_class_they_lack():
    bank = [
        route(name, correct) for name in ("p0", "p1", "p2", "test") for correct in (True, False)
    ]
    bank.append(route("p0", True, guided=True))
    groups = [
        [said("pay 7"), said("pay 7"), said("pay 8")],
        [said("pay 7"), said("pay 7", "copay")],
        [said("pay 1")],
    ]
    own = {
        problem.id: [make_own_route(problem, answer.judged, VERIFIER) for answer in group]
        for problem, group in zip(PROBLEMS, groups, strict=True)
    }
    routes = replace_routes(bank, own)
    found = [(one.problem_id, one.source, one.correct, one.guided) for one in routes]
    assert sorted(found) == sorted(
        [
            ("p0", "self", True, False),
            ("p0", "self", False, False),
            ("p0", "hasty", True, True),
            ("p1", "self", True, False),
            ("p1", "self", True, False),
            ("p1", "hasty", False, False),
            ("p2", "self", False, False),
            ("p2", "hasty", True, False),
            ("test", "hasty", True, False),
            ("test", "hasty", False, False),
        ]
    )


def test_a_round_begins_where_the_last_one_ended(small_config, tmp_path):
    first = Run(tmp_path / "run", small_config)
    for name in ("model", "problems.jsonl", "routes.jsonl"):
        (tmp_path / "run" / name).mkdir(parents=True)
    second = next_round(first, 2)
    assert (
        second.folder == tmp_path / "run/round-2"
        and second.path("distilled").resolve() == first.path("model").resolve()
    )
    third = next_round(second, 3)
    assert third.folder == tmp_path / "run/round-3" and not third.path("distilled").exists()


@pytest.mark.slow
def test_two_rounds_run_and_are_not_done_twice(tmp_path):
    config = write_config(tmp_path)
    arguments = (
        "run",
        str(config),
        "--set",
        "rounds=2",
        "--set",
        "evaluate.limit={test: 2, test_rules: 1}",
    )
    output = realm(*arguments)
    assert "round 2 of 2" in output and "harvest  done" in output
    folder = tmp_path / "run/round-2"
    own = [route for route in read_routes(folder / "routes.jsonl") if route.source == "self"]
    assert own and all(route.problem_id.startswith("train") for route in own)
    measured = {
        row["method"] for row in json.loads((folder / "results.json").read_text())["evaluations"]
    }
    assert {"base", "distilled", "realm"} <= measured and (folder / "report.html").exists()
    assert realm(*arguments).count("up to date") == 6 + 4
    assert load_config(config).rounds == 1
