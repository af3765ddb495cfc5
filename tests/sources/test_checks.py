"""A guided teacher checks routes: what it is asked, how it is read, and which labels it gives."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpoint import Endpoint, teacher, write_sums
from realm.config.root import load_config
from realm.core.errors import ConfigError
from realm.core.records import Route
from realm.domains import load_domain
from realm.method.steps import Flaw, split_steps
from realm.run import Run
from realm.sources import Reply
from realm.sources.checks import label_steps, read_check
from realm.sources.estimate import estimate_teachers
from realm.sources.plan import collect_routes

ROUTE = Route(problem_id="p", source="m", text="3 + 4 = 8\n8 - 1 = 7\n7", answer="7", correct=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Check: every step holds", (True, None)),
        ("All is well.\n**Check:** All the steps hold.", (True, None)),
        ("Check: [2] should be: 8 - 1 = 7", (False, Flaw(2, "8 - 1 = 7"))),
        ("check : Step 12 should be `x`.", (False, Flaw(12, "x`."))),
        ("Check: [3] does not hold", (False, Flaw(3))),
        ("Check: [1] should be: a\nCheck: [2] should be: b", (False, Flaw(2, "b"))),
        ("[2] is fine. Check: [3] should be:", (False, Flaw(3))),
        ("Check: not every step holds", (None, None)),
        ("Check: every step holds up to [2]", (None, None)),
        ("I cannot tell.", (None, None)),
        ("", (None, None)),
    ],
)
def test_a_check_is_read_leniently_and_says_nothing_where_it_is_unclear(text, expected):
    assert read_check(text) == expected


@given(st.text(alphabet="Check: []0129stephold everyshould be*`\n", max_size=200))
def test_any_reply_can_be_read(text):
    holds, flaw = read_check(text)
    assert (holds is False) == (flaw is not None)


@pytest.mark.parametrize(
    ("said", "correct", "label"),
    [
        ("Check: [1] should be: 3 + 4 = 7", True, (False, 1, "3 + 4 = 7")),
        ("Check: [1] should be: 3 + 4 = 7", False, (False, 1, "3 + 4 = 7")),
        ("Check: every step holds", True, (True, None, None)),
        # A wrong answer has a wrong step, so a check that finds none has missed it.
        ("Check: every step holds", False, (None, None, None)),
        ("Check: every step holds", None, (None, None, None)),
        ("Check: [4] should be: 5", True, (None, None, None)),
        ("Check: [0] should be: 5", True, (None, None, None)),
        ("who knows", True, (None, None, None)),
    ],
)
def test_a_check_labels_the_steps_of_a_route(said, correct, label):
    found = label_steps(replace(ROUTE, correct=correct), Reply(text=said))
    assert (found.process, found.flaw, found.fix) == label


def test_a_check_that_was_cut_labels_nothing():
    assert label_steps(ROUTE, Reply(text="Check: [1]", finish_reason="length")).process is None


def reply(body):
    """Write routes that are right by a wrong step, and find that step."""
    prompt = body["messages"][-1]["content"]
    if "its steps numbered" in prompt:
        return "Check: [2] should be: adding" if "[2]" in prompt else "Check: every step holds"
    first, second = [int(word) for word in prompt.split() if word.isdigit()][:2]
    total = f"The answer is {first + second}"
    return total if body["model"] == "plain" else f"Adding.\n{body['model']}.\n{total}"


def checked_run(folder, checks=2, **more):
    teachers = [
        teacher(name="checker", model="checker", routes=0, eval_routes=0, checks=checks),
        teacher(routes=2, eval_routes=1),
        teacher(name="plain", model="plain", routes=1, eval_routes=0),
        teacher(name="secret", model="secret", routes=1, eval_routes=1),
    ]
    path = write_sums(folder, train=3, teachers=teachers, held_out=["secret"], **more)
    return Run(folder / "run", load_config(path))


def test_a_guided_teacher_labels_the_steps_of_shown_training_routes(tmp_path, monkeypatch):
    with Endpoint(answer=reply) as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        run = checked_run(tmp_path, checks=9)
        # It cannot know yet that two of three routes of a problem will be copies.
        assert "checker: 9 calls (0 answers stored)" in estimate_teachers(run)
        run.data()
        run.routes()
        asked = [call for call in endpoint.calls if call.body["model"] == "checker"]
        before = len(endpoint.calls)
        run.routes(force=True)
        assert len(endpoint.calls) == before
        assert "checker: 0 calls (6 answers stored)" in estimate_teachers(run)
    # The two samples of `big` are the same text, which is checked once; `secret` is held out.
    assert len(asked) == 6
    assert "1. Plus adds." in asked[0].question and "<route 1>\n[1] Adding." in asked[0].question
    assert all(len(call.body["messages"]) == 1 for call in asked)
    rows = [json.loads(line) for line in run.path("routes.jsonl").read_text().splitlines()]
    labels = {
        (row["source"], row.get("process"), row.get("flaw"), row.get("fix"))
        for row in rows
        if row["problem_id"] in ("p0", "p1", "p2")
    }
    assert labels == {
        ("big", False, 2, "adding"),
        ("plain", True, None, None),
        ("secret", None, None, None),
    }
    assert all("process" not in row for row in rows if row["problem_id"] in ("p3", "p4"))
    figures = run.manifest()["stages"]["routes"]["figures"]
    # Of both samples of `big`; unknown are those of the held-out teacher and of the test problems.
    assert figures["checks"] == {"hold": 3, "flawed": 6, "unknown": 7, "cost_usd": 0.0}


def test_a_budget_ends_checks_as_it_ends_routes(tmp_path, monkeypatch):
    with Endpoint(answer=reply) as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        run = checked_run(tmp_path, budget_tokens=2_500, concurrency=1)
        routes = collect_routes(run, run.domain.problems(7))
        asked = [call for call in endpoint.calls if call.body["model"] == "checker"]
    assert 0 < len(asked) < 6
    assert {route.process for route in routes if route.source == "big"} == {None, False}


def test_replayed_checks_are_found_by_the_text_of_the_route(tmp_path):
    rows = [
        {"problem_id": "p0", "source": "m", "text": "Adding.\nThe answer is 1"},
        {"problem_id": "p0", "source": "m", "text": "Guessing.\nThe answer is 1"},
        {
            "problem_id": "p0", "source": "big", "kind": "check",
            "route": "Guessing.\nThe answer is 1", "text": "Check: [1] should be: adding",
        },
    ]  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    teachers = [
        {"kind": "replay", "name": "m", "path": "rows.jsonl", "routes": 2},
        {"kind": "replay", "name": "big", "path": "rows.jsonl", "checks": 9},
    ]
    run = Run(tmp_path / "run", load_config(write_sums(tmp_path, train=1, teachers=teachers)))
    routes = collect_routes(run, run.domain.problems(7))
    assert [route.process for route in routes] == [None, False]
    assert (routes[1].flaw, routes[1].fix) == (1, "adding")


def test_the_scripted_expert_checks_as_its_sources_label_their_own_routes(tmp_path, write_config):
    teachers = [
        {"kind": "scripted", "name": "hasty", "routes": 3, "problems": 40},
        {"kind": "scripted", "name": "expert", "guided": 1, "checks": 9, "problems": 40},
    ]
    config = load_config(write_config(routes={"kind": "collect", "teachers": teachers}))
    run = Run(tmp_path / "run", config)
    domain = load_domain(config)
    problems = {problem.id: problem for problem in domain.problems(config.seed)}
    routes = collect_routes(run, list(problems.values()))
    shown = [route for route in routes if not route.guided]
    assert {route.process for route in shown} == {True, False}
    for route in shown:
        own = domain.check_route(problems[route.problem_id], route)
        assert (route.process, route.flaw, route.fix) == (own.process, own.flaw, own.fix)
        assert route.process or route.flaw <= len(split_steps(route))
        assert route.correct or route.process is False


def test_the_expert_does_not_know_whether_a_route_that_stops_early_holds(write_config):
    domain = load_domain(load_config(write_config()))
    problem = domain.problems(7)[0]
    chain = domain.write_chain(problem)
    first = chain.text.splitlines()[0]
    short = replace(chain, text=first, answer=None, correct=False, guided=False)
    assert domain.check_route(problem, replace(short, process=None)).process is None
    whole = replace(short, text=f"{chain.text}\n{chain.answer}", answer=chain.answer)
    assert domain.check_route(problem, replace(whole, process=None)).process is True


def test_two_checkers_or_nothing_to_check_are_refused(tmp_path):
    for teachers, message in (
        ([teacher(checks=1), teacher(name="b", model="b", checks=1)], "both have `checks`"),
        ([teacher(checks=1, routes=0)], "no teacher that is not held out writes `routes`"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_config(write_sums(tmp_path, teachers=teachers))
