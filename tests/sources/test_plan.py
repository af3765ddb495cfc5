"""The stage `routes` with teachers: prompts, labels, estimates, and what the config refuses."""

import json
import os
import re

import pytest
import yaml
from typer.testing import CliRunner

from endpoint import Endpoint, add_up, teacher, write_sums
from realm.cli import app
from realm.config.root import load_config
from realm.core.errors import ConfigError, DataError, RunError
from realm.core.records import Problem
from realm.domains import load_domain
from realm.run import Run
from realm.sources import Reply, Request
from realm.sources.estimate import estimate_teachers
from realm.sources.plan import collect_routes, label_replies

SCAFFOLD = os.path.join(os.path.dirname(__file__), "../../examples/own_domain/teacher.yaml")


def gather(path):
    config = load_config(path)
    run = Run(config.run_folder(), config)
    return collect_routes(run, run.domain.problems(config.seed))


def asked_of(folder, monkeypatch, answer=add_up, **routes):
    """Return the routes, and the endpoint with its calls."""
    with Endpoint(answer=answer) as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        return gather(write_sums(folder, **routes)), endpoint


def test_guided_requests_show_the_rules_and_unguided_ones_do_not(tmp_path, monkeypatch):
    routes, endpoint = asked_of(tmp_path, monkeypatch, teachers=[teacher(guided=1)])
    guided = [call for call in endpoint.calls if "1. Plus adds." in call.question]
    assert len(guided) == 6 and all(len(call.body["messages"]) == 2 for call in guided)
    assert all(len(call.body["messages"]) == 1 for call in endpoint.calls if call not in guided)
    assert {route.guide for route in routes if not route.guided} == {()}
    assert {len(route.guide) for route in routes if route.guided} == {2}


def test_another_text_may_be_the_guide(tmp_path, monkeypatch):
    (tmp_path / "handbook.md").write_text("# Arithmetic\n\nTo add is to count on.\n")
    guide = {"path": "handbook.md", "unit": "passage"}
    _, endpoint = asked_of(
        tmp_path, monkeypatch, teachers=[teacher(guided=1)], guide=guide, domain={"rules": None}
    )
    assert sum("count on" in call.question for call in endpoint.calls) == 6


def test_where_no_guided_chain_is_right_the_answer_is_shown_once_and_the_chain_verified_and_marked(
    tmp_path, monkeypatch
):
    def answer(body):
        text = body["messages"][-1]["content"]
        if "The right answer is" in text:
            return add_up(body) if "1 plus 2" in text else "I cannot see why."
        return "The answer is 999" if re.search(r"\b[12] plus", text) else add_up(body)

    routes, endpoint = asked_of(
        tmp_path, monkeypatch, answer, test=0, teachers=[teacher(guided=2)], rationalize=True
    )
    rationalized = {route.problem_id: route for route in routes if route.rationalized}
    assert set(rationalized) == {"p1", "p2"} and all(
        route.guided for route in rationalized.values()
    )
    assert rationalized["p1"].correct is True and rationalized["p2"].correct is False
    assert sum("The right answer is: 3" in call.question for call in endpoint.calls) == 1
    assert len(endpoint.calls) == 6 * 3 + 2


def test_the_answer_is_read_from_the_text_and_the_chain_begins_with_the_reasoning(
    tmp_path, monkeypatch
):
    def answer(body):
        return {"content": add_up(body), "reasoning_content": "Perhaps the answer is 0."}

    routes, _ = asked_of(tmp_path, monkeypatch, answer)
    assert all(route.correct for route in routes)
    assert routes[0].text.startswith("Perhaps the answer is 0.\n\nAdding up.")


def test_a_reply_that_was_cut_is_a_route_that_states_no_answer(tmp_path, monkeypatch):
    routes, _ = asked_of(
        tmp_path, monkeypatch, lambda body: {"content": add_up(body), "finish_reason": "length"}
    )
    assert len(routes) == 8 and all(
        route.answer is None and route.correct is False for route in routes
    )


def test_a_verdict_that_the_verifier_could_not_reach_stays_not_said(small_config):
    class Undecided:
        extract = make_exact = staticmethod(str)
        same_all = staticmethod(lambda pairs: [None for _ in pairs])

    request = Request(
        problem=Problem(id="p", split="train", question="?", answer="1"),
        kind="guided",
        sample=0,
        messages=(),
    )
    (route,) = label_replies([request], [Reply(text="x", prompt_tokens=3)], "big", Undecided())
    assert route.correct is None and route.usage == {"prompt_tokens": 3}


def test_a_teacher_may_be_asked_for_some_problems_only(tmp_path, monkeypatch):
    routes, _ = asked_of(tmp_path, monkeypatch, teachers=[teacher(problems=2)])
    assert [route.problem_id for route in routes] == ["p0", "p1", "p6", "p7"]


def test_the_first_samples_of_all_problems_are_asked_before_the_second_of_any(
    tmp_path, monkeypatch
):
    _, endpoint = asked_of(
        tmp_path, monkeypatch, concurrency=1, test=0, teachers=[teacher(routes=2)]
    )
    questions = [call.question for call in endpoint.calls]
    assert questions[:6] == questions[6:] and len(set(questions)) == 6


def test_the_scripted_expert_and_replayed_replies_are_teachers_too(tmp_path, write_config):
    replies = [{"problem_id": f"train-{n}", "text": "deny late"} for n in range(2)]
    path = write_config(
        routes={
            "kind": "collect",
            "teachers": [
                {"kind": "scripted", "name": "hasty", "guided": 1, "routes": 2, "eval_routes": 1},
                {"kind": "replay", "name": "old", "path": "old.jsonl", "routes": 1},
            ],
        }
    )
    config = load_config(path)
    problems = load_domain(config).problems(config.seed)
    train = [problem for problem in problems if problem.split == "train"]
    replies = [{"problem_id": problem.id, "text": "deny late"} for problem in train[:2]]
    (tmp_path / "old.jsonl").write_text("".join(json.dumps(row) + "\n" for row in replies))
    routes = collect_routes(Run(tmp_path / "run", config), problems)
    assert sum(route.guided and route.correct for route in routes) == len(train)
    assert sum(route.source == "hasty" and not route.guided for route in routes) == len(
        train
    ) * 2 + len(problems) - len(train)
    assert [route.answer for route in routes if route.source == "old"] == ["deny late"] * 2
    assert 0 < sum(route.correct for route in routes if not route.guided) < len(routes)


def test_no_answer_at_all_is_an_error(tmp_path, monkeypatch):
    with pytest.raises(RunError, match=r"no teacher gave an answer: the budget is reached"):
        asked_of(tmp_path, monkeypatch, budget_tokens=10)


def test_an_estimate_counts_calls_tokens_and_cost_with_a_range_and_sends_nothing(
    tmp_path, monkeypatch
):
    price = {"prompt": 1000, "completion": 1000}
    teachers = [
        teacher(guided=1, max_tokens=100, price=price),
        {"kind": "replay", "name": "old", "path": "x.jsonl", "routes": 1},
    ]
    with Endpoint(answer=add_up) as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        path = write_sums(tmp_path, teachers=teachers[:1])
        config = load_config(path)
        run = Run(config.run_folder(), config)
        before = estimate_teachers(run)
        assert not endpoint.calls and not (tmp_path / "run").exists()
        gather(path)
        after = estimate_teachers(run)
    tokens = re.search(
        r"big: 14 calls \(0 answers stored\), about ([\d,]+) prompt and 140 to 1,400 reply tokens",
        before,
    )
    prompt = int(tokens[1].replace(",", ""))
    assert f"${(prompt + 140) / 1000:,.2f} to ${(prompt + 1400) / 1000:,.2f}" in before
    assert "big: 0 calls (14 answers stored)" in after and "spent so far: $" in after


def test_rationalizing_widens_the_range(tmp_path):
    path = write_sums(
        tmp_path,
        teachers=[teacher(guided=1, routes=0, eval_routes=0, max_tokens=100)],
        rationalize=True,
    )
    config = load_config(path)
    assert "6 to 12 calls" in estimate_teachers(Run(tmp_path / "run", config))


def test_the_dry_run_of_the_command_prints_the_estimate_teachers(tmp_path):
    path = write_sums(
        tmp_path, teachers=[teacher(key_env="NO_SUCH_KEY", price={"prompt": 1, "completion": 1})]
    )
    for verb in ("routes", "run"):
        done = CliRunner().invoke(app, [verb, str(path), "--dry-run"])
        assert (
            done.exit_code == 0
            and "big: 8 calls" in done.output
            and "nothing is sent" in done.output
        ), done.output


def test_the_teacher_of_the_example_runs_against_any_endpoint(tmp_path, monkeypatch):
    with Endpoint(answer=lambda body: "Looks fine. The answer is refund") as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        monkeypatch.setenv("OPENAI_API_KEY", "correct-horse-battery")
        for verb in ("data", "routes"):
            done = CliRunner().invoke(app, [verb, SCAFFOLD, "--run", str(tmp_path)])
            assert done.exit_code == 0, done.output
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    figures = manifest["stages"]["routes"]["figures"]
    row, checks = figures["all"], figures["checks"]
    assert row["unanswered"] == 0 and row["positives"] > 0 and row["negatives"] > 0
    assert checks["cost_usd"] > 0 and row["cost_per_positive_usd"] > 0
    total = manifest["stages"]["routes"]["cost_usd"]
    assert total == pytest.approx(row["cost_usd"] + checks["cost_usd"])
    assert "correct-horse-battery" not in (tmp_path / "manifest.json").read_text()


LOCAL = {"kind": "local", "model": "some/model", "routes": 1}


@pytest.mark.parametrize(
    ("routes", "message"),
    [
        ({"teachers": [teacher(), teacher(model="big-2")]}, "two teachers are called 'big'"),
        (
            {"teachers": [teacher(), teacher(name="copy")]},
            "ask the same model with the same settings",
        ),
        (
            {"teachers": [LOCAL | {"name": "one"}, LOCAL | {"name": "two"}]},
            "'one' and 'two' ask the same model with the same settings",
        ),
        ({"held_out": ["small"]}, "held_out names 'small', no teacher; allowed: big"),
        ({"teachers": [teacher(routes=0, eval_routes=0)]}, "the teacher 'big' is asked nothing"),
        (
            {"teachers": [teacher(temperature=0, routes=2)]},
            "temperature 0 writes the same text each time",
        ),
        ({"budget_usd": 1}, "budget_usd is set and the teacher 'big' has no price"),
        (
            {"teachers": [teacher(base_url="localhost:8000")]},
            "it needs the form http://host:port/v1",
        ),
        (
            {"teachers": [teacher(base_url="http://me:battery-staple@host/v1")]},
            "holds a user, a password or a query",
        ),
        (
            {"teachers": [teacher(key_env="abc-battery-staple")]},
            "no name of an environment variable",
        ),
        (
            {"teachers": [teacher(extra={"api_key": "battery-staple"})]},
            "'api_key' would be written to files",
        ),
        ({"teachers": [teacher(extra={"n": 4})]}, "'n' is not set here"),
        (
            {"teachers": [{"kind": "scripted", "name": "hasty", "routes": 1}]},
            "of kind scripted is the domain itself, and domain.kind = files",
        ),
        (
            {"teachers": [teacher(guided=1)], "domain": {"rules": None}},
            "asked for guided chains, and there is no guide",
        ),
        ({"prompts": {"guided": "{question}"}}, "the template lacks {guide}"),
    ],
)
def test_a_config_that_cannot_be_meant_is_refused_and_shows_no_key(tmp_path, routes, message):
    with pytest.raises(ConfigError) as refusal:
        load_config(write_sums(tmp_path, **routes))
    assert message in str(refusal.value) and "battery-staple" not in str(refusal.value)


@pytest.mark.parametrize(
    "extra",
    [
        {"metadata": {"note": "x battery-staple-9"}},
        {"extra_headers": ["X: battery-staple-9"]},
        {"metadata": {"api_key": "other"}},
        {"token": "other"},
    ],
)
def test_a_key_anywhere_in_the_config_is_refused_by_name_or_value(tmp_path, monkeypatch, extra):
    monkeypatch.setenv("SOME_TOKEN", "battery-staple-9")
    with pytest.raises(ConfigError, match="would be written to files") as refusal:
        load_config(write_sums(tmp_path, teachers=[teacher(extra=extra)]))
    assert "battery-staple" not in str(refusal.value)


def test_files_that_are_not_there_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    with pytest.raises(ConfigError, match=r"no.md: routes.guide.path cannot be read"):
        gather(write_sums(tmp_path, guide={"path": "no.md"}))
    with pytest.raises(DataError, match=r"no.jsonl: there is no such file"):
        gather(
            write_sums(
                tmp_path,
                teachers=[{"kind": "replay", "name": "old", "path": "no.jsonl", "routes": 1}],
            )
        )


@pytest.mark.slow
def test_teachers_solve_tasks_of_reasoning_gym(tmp_path, monkeypatch):
    domain = {
        "kind": "reasoning_gym",
        "tasks": {"chain_sum": {"min_terms": 2, "max_terms": 2}, "spell_backward": {}},
        "sizes": {"train": 4, "validation": 0, "test": 2},
    }
    with Endpoint(answer=lambda body: "I add.\nThe answer is 7.") as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        path = write_sums(tmp_path, teachers=[teacher()])
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"domain": domain}))
        config = load_config(path)
        run = Run(config.run_folder(), config)
        assert "big" in estimate_teachers(run)
        routes = collect_routes(run, run.domain.problems(config.seed))
    assert routes and {route.answer for route in routes} == {"7"}
    assert {route.correct for route in routes} <= {True, False}
