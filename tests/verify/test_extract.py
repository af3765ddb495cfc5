import pytest

from realm.verify.extract import find_answer, find_tagged, unwrap_answer
from realm.verify.normal import clean_span, list_mentions


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("3 + 4 = 7. The answer is 7.", "7", id="the answer is"),
        pytest.param("the answer is 5. No, wait.\n\nThe answer is 7", "7", id="the last mark wins"),
        pytest.param(
            "So the final answer to the question is: **Bo**",
            "Bo",
            id="final answer to the question, bold",
        ),
        pytest.param("Reasons.\nAnswer: pay 19", "pay 19", id="last line"),
        pytest.param("Reasons.\n### Answer:\n\n**Bo**\n", "Bo", id="on the next line"),
        pytest.param("5 + 2\n#### 7", "7", id="four hashes"),
        pytest.param(
            "Thus \\boxed{\\frac{1}{2}} follows.", "\\frac{1}{2}", id="a box with nested braces"
        ),
        pytest.param(
            "The answer is $\\boxed{7}$. Half of a box: \\boxed{8",
            "7",
            id="a box that is cut off is none",
        ),
        pytest.param("<answer>deny late</answer>", "deny late", id="a tag"),
        pytest.param(
            "<answer>5</answer> or <answer>The answer is 6.</answer> The answer is 7.",
            "6",
            id="the last tag wins",
        ),
        pytest.param('The answer is "Palais Royal!".', "Palais Royal!", id="quotes"),
        pytest.param("The answer is Bo, because 8 > 7.", "Bo", id="a reason behind a comma"),
        pytest.param(
            "The answer is Kenneth W. Dam. He was the first.",
            "Kenneth W. Dam",
            id="an initial ends no sentence",
        ),
        pytest.param(
            "The answer is Tauro F.C.", "Tauro F.C.", id="a stop that belongs to the answer"
        ),
        pytest.param(
            "The answer is Adam Kszczot, who ran 1:46.70.", "Adam Kszczot", id="a relative clause"
        ),
        pytest.param(
            "The answer is:\n- Japan\n- **Guam**\n\nThat is all.", "Japan, Guam", id="a list"
        ),
        pytest.param("The answer is no, she lost.", "no", id="yes or no, and why"),
        pytest.param(
            "The answer is 5 titles were published before 2000.",
            "5",
            id="a count that opens a sentence",
        ),
        pytest.param("The answer is that Bo was drafted first.", "Bo", id="a subject that answers"),
        pytest.param(
            "The answer is Ann scored 4 more points than Bo did.",
            "4",
            id="one number in a sentence",
        ),
        pytest.param("Newbury, Ohio", "Newbury, Ohio", id="nothing but an answer"),
        pytest.param(
            "According to the table, the tallest of the three is Bo, with 3 m.",
            "Bo",
            id="a closing sentence",
        ),
        pytest.param("Therefore, there are 4 players who scored.", "4", id="there are"),
        pytest.param(
            "Bo received 333 votes in the election.", "333", id="a closing sentence with one number"
        ),
        pytest.param("So the answer cannot be determined.", None, id="a refusal"),
        pytest.param("The answer is not given in the table.", None, id="a negated answer"),
        pytest.param("We look at rows 3 and 4.\nThen we compare 5 with 6 and", None, id="cut off"),
        pytest.param("It cannot be said.", None, id="a sentence that answers nothing"),
        pytest.param("", None, id="empty"),
        pytest.param("The answer is", None, id="a mark and nothing behind it"),
    ],
)
def test_find_answer(text, expected):
    tagged = find_tagged(text)
    found = find_answer(text) if tagged is None else None
    assert (
        (found.text or None) if found else tagged and clean_span(unwrap_answer(tagged))
    ) == expected


def test_nothing_that_a_model_may_write_raises_or_takes_long():
    for piece in (
        "\\boxed{",
        "answer is ",
        "the answer to ",
        "A. B ",
        "from a ",
        "*",
        "\0\ud800<answer>",
    ):
        find_answer(piece * 20_000)


def test_clean_takes_off_every_layer():
    assert clean_span(' **"$\\text{Bo}$"**, ') == "Bo"


def test_the_number_of_a_name_counts_where_there_is_no_other():
    assert list_mentions("episode number 10") == ["10"]
    assert list_mentions("episode number 10 had 3 guests") == ["3"]
