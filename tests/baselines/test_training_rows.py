"""What the baselines that train are taught: right answers only, nothing of the evaluation."""

import random
import sys
from dataclasses import asdict

import pytest

from claims import ClaimsDomain
from claims.generate import (
    case_of,
    decide_case,
    draw_problems,
    draw_similar_problem,
    is_held_out,
)
from experts import write_routes
from realm.baselines import rft
from realm.baselines.cot_synthesizer import draw_lessons, make_synthesis_rows
from realm.baselines.further import make_further_config
from realm.baselines.instructors import load_instructor, write_exercises
from realm.config.root import load_config
from realm.core.errors import ConfigError
from realm.core.jsonl import write_jsonl
from realm.core.records import Judged, Problem, Route, RouteSet
from realm.method.steps import drop_answer_step
from realm.run import Run
from realm.sampling import Answer, make_own_route, make_prompt
from realm.verify.judge import judge

VERIFIER = ClaimsDomain().verifier


@pytest.fixture
def problems():
    return list(draw_problems({"train": 30, "test": 10}, seed=7))


def synthesis_rows(problems, routes, count, config):
    lessons = draw_lessons({problem.id: problem for problem in problems}, routes, count, config)
    return make_synthesis_rows(lessons, config, VERIFIER)


def test_synthesis_rows_show_candidates_and_teach_the_guided_chain(small_config, problems):
    train = [problem for problem in problems if problem.split == "train"]
    routes = list(
        write_routes(train, sources=["hasty", "outsider"], per_source=6, guided=True, seed=7)
    )
    config = small_config.with_settings({"prompt.assisted": "{question}\n{routes}\nSolve."})
    rows = synthesis_rows(train, routes, 65, config)
    chains = {route.problem_id: route.text for route in routes if route.guided}
    gold = {problem.id: problem.answer for problem in train}
    assert len(rows) == 65
    for row in rows:
        chain, answer = chains[row["problem_id"]], gold[row["problem_id"]]
        assert row["completion"] == f"<reason>\n{chain}\n</reason>\n<answer>{answer}</answer>"
        assert "<route 1>" in row["prompt"] and row["prompt"].endswith("\nSolve.")
    prompts = [row["prompt"] for row in rows if row["problem_id"] == train[0].id]
    assert len(set(prompts)) == len(prompts) == 3  # candidates are drawn anew each time
    held_out = {route.text for route in routes if route.source == "outsider"} - {
        r.text for r in routes if r.source == "hasty"
    }
    assert not any(text in row["prompt"] for row in rows for text in held_out)


def test_without_guided_chains_a_right_route_is_the_synthesis_and_never_among_its_candidates(
    small_config, problems
):
    train = [problem for problem in problems if problem.split == "train"]
    routes = list(write_routes(train, sources=["hasty"], per_source=4, guided=False, seed=7))
    rows = synthesis_rows(train, routes, 40, small_config)
    right = {drop_answer_step(route) for route in routes if route.correct}
    assert rows and all(any(text in row["completion"] for text in right) for row in rows)
    assert synthesis_rows(train, [], 40, small_config) == []


def test_where_distillation_fills_up_with_right_routes_so_does_the_synthesizer(
    small_config, problems
):
    train = [problem for problem in problems if problem.split == "train"]
    routes = list(write_routes(train[:3], sources=["hasty"], per_source=3, guided=True, seed=7))
    routes += write_routes(train[3:], sources=["hasty"], per_source=3, guided=False, seed=7)

    def taught(config):
        return {row["problem_id"] for row in synthesis_rows(train, routes, 60, config)}

    assert (
        len(taught(small_config))
        == 3
        < len(taught(small_config.with_settings({"distill.use_unguided_when_missing": True})))
    )


def test_rft_keeps_right_well_formed_and_distinct_chains(small_config, problems):
    prompts = [make_prompt(problem, small_config) for problem in problems[:2]]

    def answer(number, text, correct=True, well_formed=True):
        judged = Judged(text=text, correct=correct, well_formed=well_formed)
        problem = prompts[number].problem
        where = {"split": problem.split, "problem_id": problem.id}
        return Answer(**where, prompt="?", judged=judged, prompt_tokens=1)

    groups = [
        [
            answer(0, "a"),
            answer(0, " a "),
            answer(0, "b", correct=False),
            answer(0, "c", well_formed=False),
            answer(0, "d", correct=None),
        ],
        [answer(1, "a")],
    ]
    kept = rft.select_right_chains(prompts, groups)
    assert [(chain["problem_id"], chain["completion"]) for chain in kept] == [
        (problems[0].id, "a"),
        (problems[1].id, "a"),
    ]
    assert kept[0]["prompt"] == prompts[0].text


def test_rft_with_routes_teaches_the_reasoning_of_right_samples_without_them(
    small_config, problems
):
    shown = RouteSet(
        problem_id=problems[0].id,
        routes=(
            Route(
                problem_id=problems[0].id, source="a", text="a route", answer="pay 1", correct=False
            ),
        ),
    )
    prompts = [make_prompt(problems[0], small_config, shown)]

    def answer(reasoning, correct=True, well_formed=True):
        judged = Judged(
            text="Route 1: flawed", reasoning=reasoning, correct=correct, well_formed=well_formed
        )
        where = {"split": "train", "problem_id": problems[0].id}
        return Answer(**where, prompt="?", judged=judged, prompt_tokens=1)

    group = [
        answer("fee 9"),
        answer("fee 9"),
        answer("fee 8", correct=False),
        answer("fee 7", well_formed=False),
        answer("fee 6", correct=None),
        answer("fee 9 by route 2"),
        answer(None),
    ]
    [row] = rft.write_autonomous_rows(prompts, [group], small_config, VERIFIER)
    assert "a route" in prompts[0].text and "a route" not in row["prompt"]
    assert row["prompt"] == make_prompt(problems[0], small_config).text
    assert row["completion"] == (
        f"<reason>\nfee 9\n</reason>\n<answer>{problems[0].answer}</answer>"
    )


def test_private_thinking_over_routes_is_not_taught_without_them(small_config, tmp_path):
    thinking = small_config.with_settings({"prompt.think_end": "</think>"})
    with pytest.raises(ConfigError, match=r"rft_routes: found prompt\.think_end"):
        rft.check_rft_routes(Run(tmp_path, thinking))
    rft.check_rft_routes(Run(tmp_path, small_config))


def test_a_similar_claim_uses_the_same_rules_and_is_none_of_the_others(problems):
    taken = {case_of(problem) for problem in problems}
    found = [
        draw_similar_problem(problem, random.Random(problem.id), taken=taken)
        for problem in problems
    ]
    pairs = [(old, new) for old, new in zip(problems, found, strict=True) if new is not None]
    assert len(pairs) >= 0.9 * len(problems)
    for old, new in pairs:
        case = case_of(new)
        assert case not in taken and not is_held_out(case)
        assert (
            decide_case(case).rules == set(old.meta["rules"])
            and new.answer == decide_case(case).answer
        )


def test_the_instructor_goes_from_error_to_error_until_there_are_enough_items(problems):
    written = []

    def write(problem, answer, rng):
        written.append(problem.id)
        return (
            (f"new {problem.id} {rng.random()}", "chain", "pay 1")
            if problem.id != problems[1].id
            else None
        )

    errors = [(problem, "pay 2") for problem in problems[:3]]
    items = list(write_exercises(errors, write, 5, set(), seed=7))
    assert [problem.id for problem, _ in items] == [problems[place].id for place in (0, 2, 0, 2, 0)]
    assert len({item[0] for _, item in items}) == 5
    assert list(write_exercises(errors, lambda *_: None, 5, set(), seed=7)) == []
    assert list(write_exercises(errors, lambda *_: ("known", "c", "a"), 5, {"known"}, seed=7)) == []
    assert list(write_exercises([], write, 5, set(), seed=7)) == []
    with pytest.raises(ConfigError, match=r"the instructor, asked about .* raised SystemExit: 0"):
        list(write_exercises(errors, lambda *_: sys.exit(0), 5, set(), seed=7))


def test_an_instructor_is_the_domains_own_a_named_function_or_an_error(
    small_config, write_config, problems, tmp_path
):
    instructor = load_instructor(Run(tmp_path, small_config), problems)
    question, chain, answer = instructor(problems[0], "pay 1", random.Random(1))
    assert question != problems[0].question and answer.split()[0] in ("pay", "deny") and chain
    named = small_config.with_settings(
        {"compare.instructor": "realm.baselines.instructors:write_exercises"}
    )
    assert load_instructor(Run(tmp_path, named), []) is write_exercises
    with pytest.raises(ConfigError, match=r"compare\.instructor: no\.module:x: there is no module"):
        unknown = small_config.with_settings({"compare.instructor": "no.module:x"})
        load_instructor(Run(tmp_path, unknown), [])
    path = write_config(
        domain={"kind": "files", "path": "x.jsonl"},
        routes={"kind": "import", "files": [{"path": "x", "source": "y"}]},
    )
    with pytest.raises(
        ConfigError, match=r"domain files has no make_instructor\. Name a function in compare"
    ):
        load_instructor(Run(path.parent, load_config(path)), [])


def test_an_own_sample_becomes_a_route_that_says_its_answer_last(small_config):
    problem = Problem(id="p", split="test", question="?", answer="pay 7")

    def make_route(text):
        judged = judge(text, gold=problem.answer, verifier=VERIFIER)
        return make_own_route(problem, judged, VERIFIER)

    route = make_route("<reason>\nfee 7\n</reason>\n<answer>pay 7</answer>")
    assert (route.text, route.answer, route.correct) == ("fee 7\npay 7", "pay 7", True)
    broken = make_route("<reason>no end <answer></answer>")
    assert (broken.answer, broken.correct) == (None, False) and "<reason>" not in broken.text


def test_training_on_has_its_own_learning_rate_and_as_many_completions_as_realm_has_rollouts(
    small_config, problems, tmp_path
):
    settings = {
        "distill.sft": {
            "learning_rate": 2e-3,
            "per_device_train_batch_size": 6,
            "warmup_steps": 25,
        },
        "compare.further_sft": {"learning_rate": 2e-4},
        "train.grpo": {"max_steps": 3, "per_device_train_batch_size": 8, "num_generations": 4},
    }
    config = small_config.with_settings(settings)
    run = Run(tmp_path / "run", config)
    write_jsonl(run.path("problems.jsonl"), map(asdict, problems))
    taught = make_further_config(run).distill.sft
    assert taught == {
        "learning_rate": 2e-4,
        "per_device_train_batch_size": 6,
        "warmup_steps": 25,
        "max_steps": 4,
    }  # 24 / 6
    twice = {"rounds": 2, "train.problems": 2, "train.fade.routes": 3}
    run.config = config.with_settings(twice)
    # Two trainings of 24, and between them twice three samples of each problem: 60 / 6.
    assert make_further_config(run).distill.sft["max_steps"] == 10
