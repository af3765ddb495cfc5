import pytest

from realm.verify.choice import with_choice
from realm.verify.verifier import Verifier

ANSWERS = Verifier("label")


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
    assert ANSWERS.same(answer, gold) is equal
    assert ANSWERS.same(gold, answer) is equal


def test_a_gold_letter_gains_the_text_of_its_choice():
    assert with_choice("(b)", ["red", "blue"]) == ["B", "blue"]
    assert with_choice("c", ["red", "blue"]) == "c", "there is no third choice"
    assert with_choice("b", ["a", "b"]) == "b", "the letter is itself a choice"
    assert with_choice("B", None) == "B"
    assert ANSWERS.render(["B", "blue"]) == "B"
