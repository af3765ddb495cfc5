import pytest

from realm.verify.verifier import Verifier

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
        pytest.param(
            "set",
            ["Japan", "South Korea"],
            ["South Korea (KOR), Japan (JPN)"],
            True,
            id="set: order, details",
        ),
        pytest.param("set", ["Japan"], ["Japan, Guam"], False, id="set: one is missing"),
        pytest.param("set", ["Japan", "Guam"], ["Japan"], False, id="set: one too many"),
        pytest.param("set", "1,772,133", ["1772133"], True, id="set: thousands"),
        pytest.param("set", "Newbury, Ohio", ["Newbury, Ohio"], True, id="set: a comma inside"),
        pytest.param("set", "November 13, 1983", ["13 Nov 1983"], True, id="set: dates"),
        pytest.param("set", "1914–15", ["1914-15"], True, id="set: dashes"),
        pytest.param("set", "8 years", ["8"], True, id="set: a unit that the other lacks"),
        pytest.param("set", "8 years", ["8 months"], False, id="set: other units"),
        pytest.param("set", "2nd", ["2"], True, id="set: ordinals"),
        pytest.param("set", "pick number 3", ["4"], False, id="set: other numbers"),
        pytest.param("set", "twice", ["2"], True, id="set: words for numbers"),
        pytest.param("set", "above 50", ["above"], True, id="set: a comparison and its object"),
        pytest.param("set", '"Ironic"', ["Ironic"], True, id="set: quotes"),
        pytest.param("set", "1914-1915", ["1914-15"], True, id="set: seasons"),
        pytest.param(
            "set", "5 hours, 29 minutes, and 10 seconds", ["5h 29' 10\""], True, id="set: durations"
        ),
        pytest.param("set", ["Ann Lee"], ["Lee"], True, id="set: a fuller name"),
        pytest.param("set", ["Ann", "3"], ["3"], False, id="set: a short list is no sentence"),
        pytest.param("set", ["Ann won 3 games"], ["3"], True, id="set: a sentence"),
        pytest.param(
            "set",
            ["Ann is in Newbury, Ohio"],
            ["Newbury, Ohio"],
            True,
            id="set: a sentence with a comma",
        ),
        pytest.param(
            "set", ["Ann won 3 games"], ["4"], False, id="set: a sentence that says something else"
        ),
        pytest.param("set", "", ["Ironic"], False, id="set: nothing"),
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
        ("set", "The answer is December 6, 2010.", ["December 6, 2010"]),
        ("set", "Hm", ["Hm"]),
        (
            "set",
            "So far, so good. Ann and Bo scored above 3 goals, as we see.",
            ["Ann and Bo scored above 3 goals"],
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
