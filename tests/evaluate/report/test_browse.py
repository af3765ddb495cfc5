import base64
import gzip
import json

import pytest

from realm.core.records import Judged, Problem, Route
from realm.evaluate.report import browse
from realm.evaluate.report.browse import find_tags, make_browser
from realm.sampling import Answer


def answer(method, mode, correct, **more):
    verdicts = more.pop("verdicts", ())
    said = more.pop("said", "x")
    judged = Judged(text="t", answer=said, correct=correct, verdicts=verdicts)
    fields = {"split": "test", "problem_id": "p", "prompt": "the prompt", "prompt_tokens": 1}
    return Answer(method=method, mode=mode, judged=judged, **fields | more)


def route(text, correct, source="s", **more):
    said = "right" if correct else "wrong"
    return Route(problem_id="p", source=source, text=text, answer=said, correct=correct, **more)


ROUTES = [route("a", True), route("b", False), route("c", False)]


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        pytest.param([answer("realm", "autonomous", True)], {"right-alone"}, id="right"),
        pytest.param([answer("realm", "autonomous", False)], {"wrong-alone"}, id="wrong"),
        pytest.param(
            [answer("realm", "autonomous", None)], {"wrong-alone", "undecided"}, id="undecided"
        ),
        pytest.param(
            [answer("distilled", "autonomous", False), answer("realm", "autonomous", True)],
            {"right-alone", "won"},
            id="RL gains it",
        ),
        pytest.param(
            [answer("distilled", "autonomous", True), answer("realm", "autonomous", False)],
            {"wrong-alone", "lost"},
            id="RL loses it",
        ),
        pytest.param(
            [answer("base", "autonomous", False), answer("distilled", "autonomous", True)],
            {"right-alone"},
            id="distillation is no RL",
        ),
        pytest.param(
            [
                answer("realm", "autonomous", True),
                answer("realm", "assisted", False, routes=(0, 1, 2), said="wrong",
                       verdicts=(True, False, True)),
            ],
            {"right-alone", "wrong-with-routes", "misled", "copied", "verdict-wrong"},
            id="copies the wrong majority",
        ),
        pytest.param(
            [
                answer("realm", "autonomous", False),
                answer("realm", "assisted", True, routes=(0, 1), verdicts=(True, False)),
            ],
            {"wrong-alone", "helped", "verdicts-right"},
            id="routes help",
        ),
        pytest.param(
            [answer("realm", "probe", True, kind="sound", routes=(0,), verdicts=(True,))],
            {"probe"},
            id="probe",
        ),
    ],
)  # fmt: skip
def test_a_problem_is_found_by_what_happened_to_it(answers, expected):
    assert find_tags(answers, ROUTES) == expected


def read(browser):
    return json.loads(gzip.decompress(base64.b64decode(browser.data)))


def make(answers, routes=ROUTES, problems=("p",)):
    known = {
        one: Problem(id=one, split="test", question=f"{one}?", answer="right") for one in problems
    }
    return make_browser(answers, known, routes, held_out=["other"], render=str)


def test_the_furthest_trained_model_comes_first():
    modes = [("base", "assisted"), ("realm", "assisted"), ("realm", "autonomous")]
    [problem] = read(make([answer(method, mode, True) for method, mode in modes]))
    assert [(one["method"], one["mode"]) for one in problem["answers"]] == [
        ("realm", "autonomous"), ("realm", "assisted"), ("base", "assisted"),
    ]  # fmt: skip


def test_a_route_has_its_labels_and_says_whether_it_was_held_out():
    [problem] = read(make([], [route("one. two.", True, "other", process=False, flaw=2)]))
    assert problem["routes"] == [
        {"source": "other", "steps": ["one.", "two."], "answer": "right", "correct": True,
         "sound": False, "flaw": 2, "guided": False, "held_out": True}
    ]  # fmt: skip


def test_the_prompt_of_a_probe_is_there_since_its_route_may_be_altered():
    probe = answer("realm", "probe", True, kind="flawed_step", verdicts=(False,))
    [problem] = read(make([probe]))
    assert problem["answers"][0]["kind"] == "wrong step"
    assert problem["answers"][0]["prompt"] == "the prompt"


def test_failed_problems_come_first_and_unasked_ones_last():
    routes = [Route(problem_id="unasked", source="s", text="t", answer="1", correct=True)]
    asked = [
        answer("realm", "autonomous", True, problem_id="right"),
        answer("realm", "autonomous", False, problem_id="wrong"),
    ]
    browser = make(asked, routes, ("unasked", "right", "wrong", "nothing known"))
    assert [one["id"] for one in read(browser)] == ["wrong", "right", "unasked"]


def test_what_does_not_fit_is_left_out_and_counted(monkeypatch):
    monkeypatch.setattr(browse, "MAX_BYTES", 1_000)
    problems = [f"p{number}" for number in range(300)]
    asked = [answer("realm", "autonomous", number > 3, problem_id=one)
             for number, one in enumerate(problems)]  # fmt: skip
    browser = make(asked, [], problems)
    assert len(browser.data) <= 1_000
    assert 0 < browser.num_problems < 300
    assert browser.num_problems + browser.num_left_out == 300
    assert browser.counts["wrong-alone"] == 4 and len(read(browser)) == browser.num_problems


def test_without_routes_and_answers_there_is_no_browser():
    assert make([], []) is None
