"""Which problems `realm review` shows first, and why."""

import pytest

from realm.core.records import Judged, Problem, Route
from realm.review.suspects import describe_cases, list_cases, select_cases
from realm.sampling import Answer


def problem(name, answer="deny late", split="train"):
    return Problem(id=name, split=split, question=f"{name}?", answer=answer)


def route(name, answer, correct=False, source="ann", **more):
    return Route(problem_id=name, source=source, text="so", answer=answer, correct=correct, **more)


def reasons_of(routes, gold="deny late", others=()):
    cases = list_cases([problem("p", gold), *others], routes, [], str)
    return next(case.reasons for case in cases if case.problem.id == "p")


@pytest.mark.parametrize("answer", ["Deny  (late)", "late deny", "the claim: deny late", "late"])
def test_a_wrong_answer_that_looks_like_the_gold_answer_is_suspect(answer):
    (reason, *_) = reasons_of([route("p", answer)])
    assert reason == f"ann is judged wrong and says {answer!r}, which looks like the gold answer"


@pytest.mark.parametrize(
    ("answer", "gold"),
    [("deny", "deny late"), ("pay 15", "pay 1"), ("-5", "5"), ("1500", "15"), ("", "7")],
)
def test_another_class_or_number_does_not_look_like_the_gold_answer(answer, gold):
    others = [problem("other", "deny")]
    found = reasons_of([route("p", answer), route("p", gold, True)], gold, others)
    assert found == ()


def test_numbers_are_compared_without_their_form():
    assert "looks like" in reasons_of([route("p", "$1,250.00")], "1250")[0]


def test_authors_that_agree_on_another_answer_are_evidence_and_one_author_is_not():
    several = [route("p", "pay", source=source) for source in ("ann", "ann", "bob")]
    assert "3 of 4 by 2 authors agree on 'pay'" in reasons_of([*several, route("p", "x", True)])
    alone = [route("p", "pay") for _ in range(3)]
    assert not any("agree" in reason for reason in reasons_of(alone))
    split = [*several, *[route("p", "deny late", True) for _ in range(3)]]
    assert reasons_of(split) == ()


def test_guided_chains_that_all_disagree_come_before_problems_that_nobody_solves():
    problems = [problem("fine"), problem("hard"), problem("taught"), problem("read")]
    routes = [
        route("fine", "deny late", True),
        route("fine", "pay"),
        route("hard", "pay"),
        route("taught", "pay", guided=True),
        route("taught", "deny late", True),
        route("read", "late deny"),
    ]
    cases = list_cases(problems, routes, [], str)
    assert [case.problem.id for case in cases] == ["read", "taught", "hard", "fine"]
    assert cases[2].reasons == ("nobody of 1 solves it",) and cases[3].reasons == ()
    listed = describe_cases(cases, show_all=False)
    assert "train  hard  nobody of 1 solves it\n" in listed and "fine" not in listed
    assert listed.endswith("3 of 4 problems look mislabelled")
    assert "train  fine  -\n" in describe_cases(cases, show_all=True)


def test_among_equal_reasons_the_problem_comes_first_on_whose_answer_more_agree():
    problems = [problem("split"), problem("agreed")]
    routes = [route("split", "a"), route("split", "b"), route("agreed", "x"), route("agreed", "x")]
    cases = list_cases(problems, routes, [], str)
    assert [case.problem.id for case in cases] == ["agreed", "split"]
    assert {case.reasons for case in cases} == {("nobody of 2 solves it",)}


def test_what_models_answer_by_themselves_counts_and_nothing_else_of_theirs():
    def answer(correct, **more):
        judged = Judged(text="t", answer="pay", correct=correct)
        row = {"split": "test", "problem_id": "p", "prompt": "", "prompt_tokens": 0}
        return Answer(judged=judged, method="realm", **row | {"mode": "autonomous"} | more)

    case = list_cases([problem("p")], [], [answer(False)], str)[0]
    assert case.reasons == ("nobody of 1 solves it",)
    left_out = [answer(True, mode=mode) for mode in ("probe", "samples", "assisted")]
    assert list_cases([problem("p")], [], [answer(False), *left_out], str)[0].reasons


def test_undecided_and_unread_answers_are_suspect():
    assert reasons_of([route("p", "deny late", True), route("p", "x", None)]) == (
        "the verifier could not decide 1 answers",
    )
    unread = [route("p", "deny late", True), route("p", None), route("p", None)]
    assert reasons_of(unread) == ("no answer was found in 2 of 3",)


def test_cases_are_selected_by_split_source_and_outcome():
    problems = [problem("a"), problem("b"), problem("c", split="test")]
    routes = [
        route("a", "deny late", True),
        route("a", "pay", source="bob"),
        route("b", None),
        route("c", "pay"),
    ]
    cases = list_cases(problems, routes, [], str)

    def select(split=None, source=None, only=None):
        return sorted(case.problem.id for case in select_cases(cases, split, source, only))

    assert select() == ["a", "b", "c"] and select(split="test") == ["c"]
    assert select(source="bob") == ["a"] and select(only="right") == ["a"]
    assert select(only="wrong") == ["a", "c"] and select(only="unparsed") == ["b"]
    assert select(source="ann", only="wrong") == ["c"]
