import pytest

from realm.bank.worth import ALL_SOURCES, format_bank, summarize_bank
from realm.core.records import Problem, Route


def same_all(pairs):
    return [answer == gold for answer, gold in pairs]


def problem(identity, split="test"):
    return Problem(id=identity, split=split, question=f"q {identity}", answer="x")


def route(identity, answer, source="m", text=None, correct=True, guided=False):
    text = f"{source} says {answer}" if text is None else text
    correct = None if correct is None else answer == "x"
    return Route(
        problem_id=identity, source=source, text=text, answer=answer, correct=correct, guided=guided
    )


BANK = [
    *(
        route("a", answer, text=f"{number} says so")
        for number, answer in enumerate(["x", "y", "x", None])
    ),
    *(route("b", answer) for answer in ["y", "y", "y", "x"]),
    route("b", "x", source="n"),
    route("t", "x"),
    route("t", "x", source="expert", guided=True),
]


def test_the_bank_is_summed_up_by_source_and_over_all():
    problems = [problem("a"), problem("b"), problem("t", "train")]
    m, n, everyone = summarize_bank(problems, BANK, same_all)
    assert [(row.group, row.source) for row in (m, n, everyone)] == [
        ("all", "m"),
        ("all", "n"),
        ("all", ALL_SOURCES),
    ]
    assert (m.problems, m.routes, m.one, m.any) == (3, 9, pytest.approx((0.5 + 0.25 + 1) / 3), 1)
    assert (m.majority, m.majority_wrong, m.mixed) == (
        pytest.approx(2 / 3),
        pytest.approx(1 / 3),
        pytest.approx(2 / 3),
    )
    assert (m.repeated, m.no_answer, m.undecided) == (pytest.approx(2 / 9), pytest.approx(1 / 9), 0)
    assert m.words == {"p10": 3, "p25": 3, "p50": 3, "p75": 3, "p90": 3}
    assert everyone.problems == 3 and everyone.one == pytest.approx((2 / 4 + 2 / 5 + 1) / 3)


def test_with_a_source_held_out_training_and_evaluation_are_two_groups():
    problems = [problem("a"), problem("b"), problem("t", "train")]
    rows = summarize_bank(problems, BANK, same_all, held_out=["n"])
    assert [(row.group, row.source, row.problems) for row in rows] == [
        ("train", "m", 1),
        ("evaluation", "m", 2),
        ("evaluation", "n", 1),
        ("evaluation", ALL_SOURCES, 2),
    ]


def test_a_route_without_a_label_is_counted_and_is_not_right():
    routes = [
        route("a", "x", text="1"),
        route("a", "x^1", text="2", correct=None),
        route("a", "x^1", text="3", correct=None),
    ]
    [row] = summarize_bank([problem("a")], routes, same_all)
    assert (row.one, row.undecided) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert (row.majority, row.majority_wrong, row.mixed) == (0, 0, 0), (
        "the majority is neither right nor wrong"
    )


def test_lengths_are_percentiles():
    routes = [route("a", "x", text="word " * number) for number in range(1, 102)]
    [row] = summarize_bank([problem("a")], routes, same_all)
    assert row.words == {"p10": 11, "p25": 26, "p50": 51, "p75": 76, "p90": 91}


def test_an_empty_bank_has_no_rows():
    assert summarize_bank([problem("a")], [], same_all) == []


@pytest.mark.parametrize("correct", [True, None], ids=["labelled", "undecided"])
def test_the_table_fits_into_a_narrow_terminal(correct):
    problems = [problem("a"), problem("t", "train")]
    bank = [
        route(identity, "x", source, correct=correct)
        for identity in "at"
        for source in ("qwen2.5-14b", "llama3.1-8b")
    ]
    summaries = summarize_bank(problems, bank, same_all, held_out=["qwen2.5-14b"])
    printed = format_bank(summaries, ["qwen2.5-14b"])
    assert "…" not in printed and printed.count("qwen2.5-14b") == 2 and printed.count(" *") >= 2
    assert ("dec." in printed) == (correct is None)
    assert max(map(len, printed.splitlines())) <= 80
