import pytest

from realm.verify.kinds import with_choice
from realm.verify.verifier import Verifier

LABELS = Verifier("label")
KINDS = {kind: Verifier(kind) for kind in ("label", "number", "set", "text")}


@pytest.mark.parametrize(
    ("kind", "left", "right", "equal"),
    [
        pytest.param("label", "Deny late", "deny late", True, id="label: case"),
        pytest.param("label", "(B)", "b", True, id="label: brackets"),
        pytest.param("label", "pay $19", "pay 19", True, id="label: currency"),
        pytest.param("label", "pay 19", "pay 190", False, id="label: another amount"),
        pytest.param("number", 1234.0, "1,234", True, id="number: thousands"),
        pytest.param("number", "seven", 7, True, id="number: word"),
        pytest.param("number", "7 days", 7, True, id="number: unit"),
        pytest.param("number", "3 or 4", 3, False, id="number: two of them"),
        pytest.param("number", float("nan"), float("nan"), False, id="number: nan is none"),
        pytest.param("number", 0.5, "1/2", True, id="number: fraction"),
        pytest.param(
            "text", "The Palais Royal!", "palais royal", True, id="text: article, case, punctuation"
        ),
        pytest.param("text", "Samuel Sánchez", "samuel sanchez", True, id="text: accents"),
        pytest.param("text", "Bo", "Ann", False, id="text: another"),
    ],
)
def test_same(kind, left, right, equal):
    answers = KINDS[kind]
    assert answers.same(left, right) is equal
    assert answers.same(right, left) is equal


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("label", "I deny it.\nAnswer: deny late", "deny late"),
        ("number", "The answer is $1,250 per year.", 1250),
        ("number", "The answer is 3 + 4 = 7", 7),
        ("number", "The answer is blue.", None),
        ("text", "The answer is **Bo**.", "Bo"),
        ("set", "The answer is Japan and South Korea.", ["Japan", "South Korea"]),
        ("set", "The answer is December 6, 2010.", ["December 6, 2010."]),
        ("set", "Hm", ["Hm"]),
        (
            "set",
            "So far, so good. Ann and Bo scored above 3 goals, as we see.",
            ["Ann and Bo scored above 3 goals."],
        ),
        ("set", "It is not known, they say, and I cannot tell.", None),
    ],
)
def test_extract(kind, text, value):
    assert KINDS[kind].extract(text) == value


@pytest.mark.parametrize("kind", KINDS)
def test_none_equals_nothing_and_what_is_shown_reads_back(kind):
    answers = KINDS[kind]
    assert (
        not answers.same(None, "7") and not answers.same("7", None) and not answers.same(None, None)
    )
    shown = answers.render(answers.extract("The answer is 7."))
    assert answers.same(answers.extract(f"<answer>{shown}</answer>"), "7") and shown == "7"


@pytest.mark.parametrize(
    ("answer", "gold", "equal"),
    [
        ("B", "b", True),
        ("(b)", "B", True),
        ("option B", "B", True),
        ("The choice (B).", "B", True),
        ("B) blue", "B", True),
        ("B. green", ["B", "blue"], True),
        ("A) blue", ["B", "blue"], False),
        ("Blue", ["B", "blue"], True),
        ("green", ["B", "blue"], False),
        ("option of last resort", "resort", False),
        (None, ["B", "blue"], False),
    ],
)
def test_a_choice_is_a_letter_or_its_text(answer, gold, equal):
    assert LABELS.same(answer, gold) is equal
    assert LABELS.same(gold, answer) is equal


def test_a_gold_letter_gains_the_text_of_its_choice():
    assert with_choice("(b)", ["red", "blue"]) == ["B", "blue"]
    assert with_choice("c", ["red", "blue"]) == "c", "there is no third choice"
    assert with_choice("b", ["a", "b"]) == "b", "the letter is itself a choice"
    assert with_choice("B", None) == "B"
    assert LABELS.render(["B", "blue"]) == "B"
