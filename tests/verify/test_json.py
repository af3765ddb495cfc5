import pytest

from realm.verify.verifier import Verifier

ANSWERS = Verifier("json", fields=None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param('Here: {"a": 1}', {"a": 1}, id="bare"),
        pytest.param(
            '```json\n{"a": {"b": [1, 2]}}\n```\nDone.', {"a": {"b": [1, 2]}}, id="fenced, nested"
        ),
        pytest.param('{"a": 1} and then {"a": 2}', {"a": 2}, id="the last one"),
        pytest.param('{"a": 1} and then {"a": ', {"a": 1}, id="one that is cut off is none"),
        pytest.param('{"a": NaN} {"a": 1e999}', None, id="numbers that are none"),
        pytest.param("{a: 1}", None, id="not JSON"),
        pytest.param("[1]", None, id="not an object"),
        pytest.param("", None, id="empty"),
    ],
)
def test_extract(text, expected):
    assert ANSWERS.extract(text) == expected


@pytest.mark.parametrize(
    ("answer", "gold", "equal"),
    [
        pytest.param(
            {"a": "1,000", "b": "The Sun"},
            {"a": 1000, "b": "sun"},
            True,
            id="numbers and texts without dress",
        ),
        pytest.param({"a": 1, "more": 2}, {"a": 1}, True, id="a field that is not asked for"),
        pytest.param({"a": 1}, {"a": 1, "b": 2}, False, id="a field that is missing"),
        pytest.param({"a": {"b": [1, "2"]}}, {"a": {"b": ["1", 2]}}, True, id="nested"),
        pytest.param({"a": [1, 2]}, {"a": [2, 1]}, False, id="a list has an order"),
        pytest.param({"a": True}, {"a": 1}, False, id="a truth value is no number"),
        pytest.param({"a": None}, {"a": None}, True, id="null"),
        pytest.param({"a": 1}, '{"a": 1.0}', True, id="the text of an object"),
        pytest.param({"a": 1}, "a: 1", False, id="the text of none"),
        pytest.param(None, {"a": 1}, False, id="nothing"),
    ],
)
def test_same(answer, gold, equal):
    assert ANSWERS.same(answer, gold) is equal


def test_only_the_fields_that_matter_are_compared():
    assert Verifier("json", fields=["a"]).same({"a": 1, "b": 2}, {"a": 1, "b": 3})
    assert not Verifier("json", fields=["a", "c"]).same({"a": 1}, {"a": 1})


def test_what_is_shown_reads_back():
    assert ANSWERS.extract(ANSWERS.render({"a": ["é", 1.5]})) == {"a": ["é", 1.5]}


def test_nothing_that_a_model_may_write_raises_or_takes_long():
    for piece in ("{", '{"a":', "[", '{"a": 1}', '{"a": 9' + "9" * 5000, "\0\ud800{"):
        ANSWERS.extract(piece * 20_000)
    deep: dict = {}
    for _ in range(100_000):
        deep = {"a": deep}
    assert ANSWERS.same(deep, {"a": 1}) is False
    assert ANSWERS.same(deep, deep) is False, "nothing equals what is too deep to read"
    while deep:
        deep = deep.pop("a")
