import pytest

from realm.domains.cells import look_up


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("a.b", "whole name"),
        ("input.question", "1 + 1?"),
        ("completions[].text", ["2", "3"]),
        ("texts[]", ["x"]),
        ("choices[].message.content", ["y"]),
    ],
)
def test_a_column_may_be_a_path(column, value):
    row = {
        "a.b": "whole name",
        "input": {"question": "1 + 1?"},
        "completions": [{"text": "2"}, {"text": "3"}],
        "texts": ["x"],
        "choices": [{"message": {"content": "y"}}],
    }
    assert look_up(row, column) == value


@pytest.mark.parametrize("column", ["b", "a.c", "a.b.c", "a[]", "l.x", "l[].x", ""])
def test_a_path_that_leads_nowhere_is_a_key_error(column):
    with pytest.raises(KeyError):
        look_up({"a": {"b": 1}, "l": [{"y": 1}]}, column)
