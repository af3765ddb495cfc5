"""A completion becomes right, wrong or undecided, and what is rendered is judged right."""

from dataclasses import replace

import pytest

from realm.core.records import Route
from realm.verify.judge import earns_reward, judge, judge_all, render_completion
from realm.verify.verifier import Verifier

NUMBER = Verifier("number")


def route(answer, correct, process=None):
    return Route(
        problem_id="p",
        source="s",
        text=f"so {answer}",
        answer=answer,
        correct=correct,
        process=process,
    )


def test_a_completion_is_read_whole():
    text = (
        "<verify>\nRoute 1: every step holds: sound\nRoute 2: [2] should be 7: flawed\n</verify>\n"
        "<reason>\n3 + 4 = 7\n</reason>\n<answer>7</answer>"
    )
    judged = judge(
        text,
        gold=7,
        verifier=NUMBER,
        routes=[route(7, True), route(8, False)],
        num_tokens=40,
    )
    assert (judged.text, judged.answer, judged.correct) == (text, 7, True)
    assert judged.verdicts == judged.labels == (True, False)
    assert judged.named == (None, 2) and judged.flaws == (None, None)
    assert (judged.reasoning, judged.well_formed, judged.num_tokens) == ("3 + 4 = 7", True, 40)


def test_labels_are_of_the_outcome_or_of_the_process():
    shown = [route(7, True, process=False)]
    assert judge("", gold=7, verifier=NUMBER, routes=shown).labels == (False,)
    assert judge("", gold=7, verifier=NUMBER, routes=shown, label="outcome").labels == (True,)


def test_flaws_are_those_of_the_routes_unless_others_are_given():
    shown = [replace(route(8, False, process=False), flaw=3)]
    assert judge("", gold=7, verifier=NUMBER, routes=shown).flaws == (3,)
    [judged] = judge_all([""], golds=[7], verifier=NUMBER, routes=[shown], flaws=[[2]])
    assert judged.flaws == (2,)


def test_no_answer_is_wrong_and_undecided_stays_none():
    class Undecided(Verifier):
        def same_all(self, pairs):
            return [None if answer == 8 else answer == gold for answer, gold in pairs]

    texts = ["<answer>7</answer>", "<answer>6</answer>", "<answer>8</answer>", "I cannot say.", ""]
    judged = judge_all(texts, golds=[7] * 5, verifier=Undecided("number"))
    assert [one.correct for one in judged] == [True, False, None, False, False]
    assert [one.answer for one in judged] == [7, 6, 8, None, None]


def test_private_thoughts_say_nothing():
    text = "<think>The answer is 6.</think><answer>7</answer>"
    assert judge(text, gold=7, verifier=NUMBER, think_end="</think>").correct is True
    assert judge(text[:20], gold=6, verifier=NUMBER, think_end="</think>").correct is False


@pytest.mark.parametrize(
    ("kind", "gold"),
    [
        ("text", "The Beatles"),
        ("label", ["B", "blue"]),
        ("number", 1234.5),
        ("set", ["Japan", "South Korea"]),
        ("math", "\\frac{1}{2}"),
        ("json", {"a": [1, "b"]}),
    ],
)
def test_what_is_rendered_is_judged_right(kind, gold):
    verifier = Verifier(kind)
    for chain in ("First this, then that: <answer>no</answer>", ""):
        text = render_completion(chain=chain, answer=gold, verifier=verifier)
        assert judge(text, gold=gold, verifier=verifier).correct is True


@pytest.mark.parametrize(
    ("kind", "gold", "expected"),
    [
        ("number", "7 km", True),
        ("number", "7 or 8", False),
        ("number", "a lot", False),
        ("label", "N/A", True),
        ("text", "", False),
        ("json", "total: 12", False),
        ("set", ["x\ny"], True),
    ],
)
def test_a_gold_earns_its_own_reward_or_is_found_out(kind, gold, expected):
    assert earns_reward(gold, Verifier(kind)) is expected


def test_prose_earns_no_more_than_a_tag():
    sets = Verifier("set")
    said = sets.extract("Ann won 7 games.")
    assert sets.same(said, ["7"]) is True, "an imported text is read with leniency"
    for text in ("Ann won 7 games.", "Ann won 7 games in Peru.", "The answer is Japan Peru."):
        right = [
            gold
            for gold in (["7"], ["Ann"], ["games"], ["Peru"], ["Japan"])
            if judge(text, gold=gold, verifier=sets).correct
        ]
        assert right == [], text
    assert judge("The answer is Peru.", gold=["Peru"], verifier=sets).correct is True


def test_prose_is_exact_for_rewards_and_lenient_for_texts_that_nobody_trains_on_them():
    text, sets = "The answer is Reggie Johnson.", Verifier("set")
    rewarded, imported = (
        judge_all([text], golds=[["Johnson"]], verifier=sets, is_exact=is_exact)[0]
        for is_exact in (True, False)
    )
    assert (rewarded.correct, imported.correct) == (False, True)
