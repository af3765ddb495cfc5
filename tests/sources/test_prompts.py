"""Prompts of teachers: what is shown to whom, in a form that the verifier reads."""

import typing

import pytest

from realm.sources.prompts import FORMS, GUIDED, RATIONALIZED, SYSTEM, UNGUIDED, make_messages
from realm.verify.verifier import AnswerSettings, Verifier


def test_a_guided_prompt_shows_the_guide_and_forbids_to_cite_it():
    system, user = make_messages(
        SYSTEM, GUIDED, question="How much?", guide="1. A scan pays 9.", form="the number alone"
    )
    assert system["role"] == "system" and "never cite a rule" in system["content"]
    assert (
        "1. A scan pays 9." in user["content"]
        and "How much?" in user["content"]
        and "the number alone" in user["content"]
    )


def test_an_unguided_prompt_shows_the_question_and_no_system_text():
    (user,) = make_messages("", UNGUIDED, question="How much?", form="the number alone")
    assert (
        user["role"] == "user"
        and user["content"].startswith("How much?")
        and "eference" not in user["content"]
    )


def test_a_rationalized_prompt_shows_the_answer():
    values = {"question": "How much?", "guide": "rules", "answer": "42", "form": "the number"}
    assert "The right answer is: 42" in make_messages("", RATIONALIZED, **values)[-1]["content"]


def test_without_a_system_text_there_is_one_message():
    assert len(make_messages("", GUIDED, question="How much?", guide="", form="")) == 1


def test_a_field_name_inside_a_question_or_a_guide_stays_text():
    values = {"question": "What is {guide}?", "guide": "Write {question} and {answer}."}
    text = make_messages("", GUIDED, form="{form}", **values)[-1]["content"]
    assert (
        "What is {guide}?" in text
        and "Write {question} and {answer}." in text
        and "followed by {form}." in text
    )


def test_every_kind_of_answer_has_a_form():
    kinds = [
        typing.get_args(kind.model_fields["kind"].annotation)[0]
        for kind in typing.get_args(typing.get_args(AnswerSettings)[0])
    ]
    assert set(FORMS) == set(kinds)


@pytest.mark.parametrize(
    ("kind", "said", "gold"),
    [
        ("number", "1,250 km", 1250),
        ("label", "refund", "refund"),
        ("set", "Ann, Bo", ["Bo", "Ann"]),
        ("text", "Palais Royal", "Palais Royal"),
        ("math", r"\boxed{\frac{1}{2}}", r"\frac12"),
        ("json", '{"pay": 5}', {"pay": 5}),
    ],
)
def test_the_closing_line_is_what_the_verifier_reads(kind, said, gold):
    answers = Verifier(kind)
    assert answers.same(answers.extract(f"First this, then that.\nThe answer is {said}"), gold)
