"""Further rounds: the policy's own routes, and what a round takes over from the last one."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from realm import rounds
from realm.config.root import load_config
from realm.core.errors import ConfigError, RunError
from realm.core.jsonl import read_routes, write_jsonl, write_text
from realm.core.records import Problem, Route
from realm.evaluate.cells import Cell
from realm.evaluate.methods import list_methods
from realm.rounds import make_round, replace_routes
from realm.run import Run
from realm.sampling import Answer, make_own_route
from realm.train.sft import select_taught_problems
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


@pytest.fixture
def run(small_config, tmp_path):
    run = Run(tmp_path / "run", small_config.with_settings({"rounds": 3}))
    for name in ("problems.jsonl", "routes.jsonl", "sft.jsonl", "rules.md"):
        write_text(run.path(name), "")
    for name in ("distilled", "round-1/model", "round-2/model"):
        run.path(name).mkdir(parents=True)
    return run


def test_a_round_begins_where_the_last_one_ended(run):
    first = make_round(run, 1, None)
    assert list(first.stages) == ["train"] and first.config.recipe == "r1"
    for name in ("distilled", "sft.jsonl"):  # what was taught is part of the forecast
        assert first.path(name).resolve() == run.path(name).resolve()
    second = make_round(run, 2, first)
    assert list(second.stages) == ["harvest", "train"]
    assert Path(second.config.resolve_model()).resolve() == first.path("model").resolve()
    assert second.config.recipe == "zero", "it trains the model that the config names"
    third = make_round(run, 3, second)
    assert third.folder == run.path("round-3") and third.config.rounds == 1
    assert Path(third.config.resolve_model()).resolve() == second.path("model").resolve()


def test_a_round_distils_the_right_chains_of_the_last_model_where_the_config_says_so(run):
    run.config = run.config.with_settings({"distill.every_round": True})
    first = make_round(run, 1, None)
    assert list(first.stages) == ["train"], "the run itself has distilled for the first round"
    second = make_round(run, 2, first)
    assert list(second.stages) == ["harvest", "distill", "train"]
    assert second.config.recipe == "r1" and not second.path("distilled").exists()


def test_harvested_right_chains_are_taught_as_guided_ones(run, monkeypatch):
    answers = [said("pay 7"), said("pay 8", "copay"), replace(said("pay 7"), judged=LUCKY)]
    with_routes = [said("pay 7", "as route 1 says"), said("pay 7", "limit")]
    second = make_second_round(run, monkeypatch, {False: answers, True: with_routes})
    found = read_routes(second.path("routes.jsonl"))
    guided = [(one.source, one.text) for one in found if one.guided]
    assert sorted(guided) == [
        ("hasty", "True"),
        ("self", "fee\npay 7"),
        ("self", "limit\npay 7"),
    ]
    assert sum(one.source == "self" and not one.guided for one in found) == 5


def test_half_of_the_samples_that_are_taught_are_drawn_with_routes(run, monkeypatch):
    asked = []
    make_second_round(run, monkeypatch, {False: [], True: []}, asked)
    count = run.config.train.fade.routes
    assert asked == [(False, count), (True, count)]
    run.config = run.config.with_settings({"prompt.think_end": "</think>"})
    make_second_round(run, monkeypatch, {False: []}, asked := [])
    assert asked == [(False, 2 * count)], "a private thought about routes is not a chain to teach"


def make_second_round(run, monkeypatch, answers, asked=None):
    """Harvest routes of p0 and return the round, whose model gives `answers`, by routes or none."""

    def sample(_, __, prompts, ___, *, sampling, mode):
        [prompt] = prompts
        if asked is not None:
            asked.append((bool(prompt.routes.routes), sampling.num_samples))
        return [[replace(one, problem_id="p0") for one in answers[bool(prompt.routes.routes)]]]

    monkeypatch.setattr(rounds, "sample_and_judge", sample)
    run.config = run.config.with_settings({"distill.every_round": True})
    first = make_round(run, 1, None)
    write_jsonl(first.path("routes.jsonl"), [route("p0", True, guided=True), route("p0", False)])
    second = make_round(run, 2, first)
    write_jsonl(second.path("problems.jsonl"), PROBLEMS[:1])
    with second.recording("harvest"):
        rounds.run_harvest(second)
    return second


def test_a_problem_that_distillation_left_out_is_taught_by_a_chain_of_the_policys_own(run):
    run.config = run.config.with_settings({"distill.problems": 1})
    write_jsonl(run.path("problems.jsonl"), PROBLEMS)
    own = replace(route("p2", True, guided=True), source="self")
    write_jsonl(run.path("routes.jsonl"), [route("p1", True, guided=True), own])
    assert [problem.id for problem in select_taught_problems(run)] == ["p0", "p2"]


LUCKY = judge("The answer is pay 7", gold="pay 7", verifier=VERIFIER)
"""Right, and without a chain that could be taught."""


def test_a_server_can_write_the_routes_of_the_last_model(run):
    endpoint = {"base_url": "http://127.0.0.1:9/v1", "model": "m"}
    run.config = run.config.with_settings({"evaluate.endpoints": {"round-1": endpoint}})
    second = make_round(run, 2, make_round(run, 1, None))
    write_jsonl(second.path("problems.jsonl"), PROBLEMS)
    found = r"evaluate\.endpoints\.round-1: no server answers .*vllm serve \S+/round-1/model "
    with pytest.raises(RunError, match=found):
        rounds.run_harvest(second)


def test_further_rounds_need_routes_that_are_shown(small_config):
    with pytest.raises(ConfigError, match=r"rounds = 2: further rounds show the policy's own"):
        small_config.with_settings({"rounds": 2, "train.fade.kind": "none"})


def test_the_last_rounds_model_is_the_runs_and_finished_rounds_are_kept(run, monkeypatch):
    done = []

    def train(of_run):
        done.append(of_run.folder.name)
        for name in ("model/weights", "fade.jsonl", "headroom.json", "rollouts/samples.jsonl"):
            write_text(of_run.path(name), of_run.folder.name)

    def harvest(of_run):
        write_jsonl(of_run.path("routes.jsonl"), [])
        write_text(of_run.path("bank.json"), "{}")

    def do_all(num_rounds):
        several = Run(run.folder, run.config.with_settings({"rounds": num_rounds}))
        with several.recording("train"):
            rounds.run_rounds(several)
        return several

    stages = rounds.STAGES | {"train": replace(rounds.STAGES["train"], function=train)}
    monkeypatch.setattr(rounds, "STAGES", stages)
    monkeypatch.setattr(rounds, "HARVEST", replace(rounds.HARVEST, function=harvest))
    do_all(2)
    assert done == ["round-1", "round-2"]
    assert run.path("model/weights").read_text() == "round-2"
    assert run.path("fade.jsonl").read_text() == "round-2"
    assert run.path("headroom.json").read_text() == "round-1", "before reinforcement learning"
    several = do_all(3)
    assert done == ["round-1", "round-2", "round-3"], "a round more costs one round"
    assert several.path("model/weights").read_text() == "round-3" and several.is_done("train")
    assert several.path("rollouts/samples.jsonl").read_text() == "round-3"
    done.clear()
    cell = Cell(
        method=list_methods(several.config)["realm"],
        seed=7,
        run=several,
        parent=None,
        stages=("train",),
    )
    cell.run_missing_stages()
    assert not done
    cell.run_missing_stages(force=True)
    assert done == ["round-1", "round-2", "round-3"], "of a comparison, as of a run"


@pytest.mark.slow
@pytest.mark.parametrize("distills", [False, True])
def test_two_rounds_run_and_are_not_done_twice(tmp_path, distills):
    config = write_config(tmp_path)
    settings = ("rounds=2", "evaluate.limit={test: 2, test_rules: 1}")
    settings += (f"distill.every_round={distills}",)
    arguments = ("run", str(config), *(part for one in settings for part in ("--set", one)))
    output = realm(*arguments)
    assert "round 2 of 2" in output and "harvest  done" in output
    folder = tmp_path / "run/round-2"
    own = [route for route in read_routes(folder / "routes.jsonl") if route.source == "self"]
    assert own and all(route.problem_id.startswith("train") for route in own)
    assert (folder / "distilled").exists() is distills
    assert (tmp_path / "run/model").resolve() == (folder / "model").resolve()
    results = json.loads((tmp_path / "run/results.json").read_text())
    measured = {row["method"] for row in results["evaluations"]}
    assert {"base", "distilled", "round-1", "realm"} <= measured
    assert ("realm", "round-1") in {(row["a"], row["b"]) for row in results["comparisons"]}
    assert (tmp_path / "run/report.html").exists()
    assert realm(*arguments).count("up to date") == 6
    assert load_config(config).rounds == 1
    realm("train", str(config), "--set", "distill.every_round=false")
    assert not (tmp_path / "run/model").is_symlink(), "one round is trained in the run's own folder"
