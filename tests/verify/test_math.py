import gc
import gzip
import json
import logging
import os
import signal
import time
from pathlib import Path

import pytest
from math_verify import LatexExtractionConfig, parse, verify

from realm.verify.latex import decide_exactly, make_key
from realm.verify.verifier import Verifier

BOMBS = [
    r"\binom{10^9}{5 \cdot 10^8}",
    r"10^{10^{10}} + x",
    "(10^9)!",
    r"\int_0^{\infty} \sin(x^x) \cdot x! dx",
]


@pytest.fixture(scope="module")
def answers():
    return Verifier("math", seconds=20)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            r"So $x = 2$. The answer is $\boxed{\frac{1}{2}}$.", r"\frac{1}{2}", id="a box"
        ),
        pytest.param(r"\boxed{5} was wrong, it is \boxed{7}", "7", id="the last box"),
        pytest.param(
            r"The roots are $\boxed{3}$ and $\boxed{5}$.", "3, 5", id="boxes side by side"
        ),
        pytest.param(r"$\boxed{\boxed{6}}$", "6", id="a box in a box"),
        pytest.param(r"\boxed{7}. Then \boxed{\frac{1", "7", id="a box that is cut off is none"),
        pytest.param(r"\boxed{5} <answer>$6$</answer>", "6", id="a tag before a box"),
        pytest.param(r"\boxed{\text{The answer is } 7}", "7", id="an announcement inside a box"),
        pytest.param(
            r"Hence the answer is $\sqrt{2} + 1$, as $x > 0$.", r"\sqrt{2} + 1", id="the answer is"
        ),
        pytest.param("The answer is 7.", "7", id="the answer is, without a formula"),
        pytest.param("We add.\n$$x = 4$$", "x = 4", id="a formula as the last line"),
        pytest.param("x < 5", "x < 5", id="nothing but a formula"),
        pytest.param(r"\text{Evelyn}", r"\text{Evelyn}", id="a word marked as text"),
        pytest.param(
            "We try.\nFirst $a = 3$, so $2a = 6$ and then we",
            "6",
            id="the number that a text without an answer ends with",
        ),
        pytest.param(
            "We try.\nFirst $a = 3$, so $b = a$ and then we",
            None,
            id="a text that ends with no number",
        ),
        pytest.param("It cannot be said.", None, id="no formula at all"),
        pytest.param("", None, id="empty"),
        pytest.param(r"\boxed{" + "1" * 5000 + "}", None, id="a box as long as a page"),
    ],
)
def test_extract(answers, text, expected):
    assert answers.extract(text) == expected


def test_what_is_shown_reads_back(answers):
    for gold in (
        r"\left( 3, \frac{\pi}{2} \right)",
        r"x \in [-2,7]",
        r"\text{east}",
        "x < 5",
        "11,\\! 100",
    ):
        assert answers.same(answers.extract(answers.render(gold)), gold) is True


def test_symbols_are_compared_by_math_verify(answers):
    assert answers.same(r"\binom{4}{2}", "6") is True
    assert answers.same(r"\binom{4}{2}", "7") is False
    assert answers.same_all([("3!", "6"), (None, "6"), ("6", None), ("15 cm", "15")]) == [
        True,
        False,
        False,
        True,
    ]


def test_nothing_that_a_model_may_write_raises_or_takes_long(answers):
    for piece in (
        "\\boxed{",
        "answer is ",
        "$",
        "\\(",
        "answer: $x",
        "{",
        "<answer>",
        "\\text{",
        "\0\ud800",
        "1,",
        "(",
        "x=",
        "-",
    ):
        said = answers.extract(piece * (100_000 // len(piece)))
        assert said is None or len(said) <= 2000
    assert answers.extract("\\boxed{1}" + " " * 100_000 + "x\\boxed{2}") == "2"
    assert answers.same("\0\ud800\\frac{{", "\n$") is False


@pytest.mark.slow
def test_a_comparison_that_hangs_costs_its_time_and_nothing_else():
    answers = Verifier("math", seconds=0.5)
    started = time.monotonic()
    verdicts = answers.same_all([(bomb, "7 + y") for bomb in BOMBS] + [("3!", "6"), ("7", "7")])
    assert time.monotonic() - started < 60 and verdicts[-1] is True
    assert answers.num_undecided == verdicts.count(None) > 0
    again = time.monotonic()
    assert answers.same_all([(bomb, "7 + y") for bomb in BOMBS]) == verdicts[: len(BOMBS)]
    assert time.monotonic() - again < 0.4, (
        "a pair that could not be told is remembered: none takes its 0.5 s again"
    )


@pytest.mark.slow
def test_no_process_before_it_is_needed_a_dead_one_is_replaced_and_none_is_left():
    answers = Verifier("math", seconds=20)
    assert answers.same(r"\frac{2}{4}", "0.5") is True
    pool = answers._kind._pool
    assert pool._processes == []
    assert answers.same("3!", "6") is True
    [process] = pool._processes
    os.kill(process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert answers.same("4!", "24") is None and process.returncode == -signal.SIGKILL
    assert answers.same("5!", "120") is True
    [process] = pool._processes
    del answers, pool
    gc.collect()
    assert process.returncode == -signal.SIGKILL, "the processes end with who asked"


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        pytest.param(r"\frac{2}{4}", ".5", True, id="a fraction and a decimal"),
        pytest.param(r"\dfrac12", r"\frac 1 2", True, id="short fractions"),
        pytest.param(r"1\frac{4}{5}", "1.8", True, id="a mixed number"),
        pytest.param("1/3", "0.33", False, id="a rounded decimal"),
        pytest.param("1/3", "0.3333333", True, id="a decimal that six places do not tell"),
        pytest.param(r"11,\! 111,\! 100", "11,111,100", True, id="thousands"),
        pytest.param(r"\$32,\!348", "32348", True, id="a currency sign"),
        pytest.param(r"90^\circ", "90", True, id="degrees"),
        pytest.param(r"864 \mbox{ inches}^2", "864", True, id="a unit marked as text"),
        pytest.param("15 cm", "15", True, id="a unit, or a product"),
        pytest.param(r"11\sqrt2", r"\sqrt{242}", True, id="roots"),
        pytest.param(r"\sqrt{2}", r"\sqrt{3}", False, id="other roots"),
        pytest.param(r"7\pi", r"\pi \cdot 7", True, id="pi"),
        pytest.param("(a+5)(b+2)", "ab + 2a + 5b + 10", True, id="a product and its sum"),
        pytest.param("2k", "2n", False, id="another variable"),
        pytest.param(r"\sqrt{x^2}", "x", False, id="a root that hides a sign"),
        pytest.param("x^10", "x^{10}", True, id="a power that is written in two ways"),
        pytest.param("1/2x", r"\frac{x}{2}", False, id="a quotient that is read in two ways"),
        pytest.param("f(x)", "fx", False, id="a function or a product"),
        pytest.param("x = 5", "5", True, id="an assignment"),
        pytest.param("x = 5", "y = 5", False, id="an assignment to another"),
        pytest.param("2x - 4y = 6", "x = 2y + 3", True, id="multiples of one linear equation"),
        pytest.param("2x - 4y = 6", "x = 2y + 4", False, id="other linear equations"),
        pytest.param(r"\left( 3, \frac{\pi}{2} \right)", r"(3, \pi/2)", True, id="a pair"),
        pytest.param("(1, 2)", "(2, 1)", False, id="a pair in the other order"),
        pytest.param("(1, 2)", "1, 2", True, id="a pair without its brackets"),
        pytest.param("(3, 4]", "(3, 4)", False, id="another interval"),
        pytest.param("x \\in [-2,7]", r"-2 \le x \le 7", True, id="an interval and its inequality"),
        pytest.param(r"(-\infty, 0]", r"[-\infty, 0]", True, id="infinity is not closed"),
        pytest.param(r"(0,9) \cup (9,36)", r"(0,9)\cup(9,30)", False, id="a union"),
        pytest.param("1, -2", r"\{-2, 1\}", True, id="a list in any order"),
        pytest.param("1, -2", "1, -2, 3", False, id="a list with one too many"),
        pytest.param(r"3 \pm 2", "1, 5", True, id="plus or minus"),
        pytest.param(
            r"\begin{pmatrix} 1/5 \\ -2 \end{pmatrix}",
            r"\begin{bmatrix} 0.2 \\ -2 \end{bmatrix}",
            True,
            id="a matrix",
        ),
        pytest.param("52_8", "52_{8}", True, id="a base"),
        pytest.param("52_8", "42_8", False, id="other digits in a base"),
        pytest.param("52_8", "52_9", False, id="other bases"),
        pytest.param(r"\text{Evelyn}", "evelyn", True, id="words"),
        pytest.param(r"\text{east}", "seat", False, id="words are no products of letters"),
        pytest.param(r"\text{(C)}", "C", True, id="a letter"),
        pytest.param("no real solution", "4", False, id="words and a number"),
        pytest.param(r"\sin^2 x", r"1 - \cos^2 x", True, id="functions"),
        pytest.param(r"\sin(x)y", r"y \sin x", True, id="what a function applies to"),
        pytest.param(r"\sin 30^\circ", "0.5", False, id="an angle in degrees"),
        pytest.param(r"\tan^{-1} x", r"\frac{1}{\tan x}", False, id="an inverse function"),
        pytest.param("x_1 + x_2", "x_2 + x_{1}", True, id="variables with subscripts"),
        pytest.param("x_1", "x_2", False, id="another subscript"),
        pytest.param(
            r"(1, \binom{4}{2})",
            r"(2, \binom{4}{2})",
            False,
            id="one part that tells, and one that does not",
        ),
        pytest.param(r"\binom{4}{2}", "6", True, id="what takes symbols"),
        pytest.param("2^{235423520} \\cdot 8", "1", False, id="a huge number and a small one"),
        pytest.param("", "", False, id="nothing"),
    ],
)
def test_same(answers, left, right, equal):
    assert answers.same(left, right) is equal
    assert answers.same(right, left) is equal


ROUTES = Path(
    os.environ.get("REALM_ROUTES_DATA") or Path(__file__).parents[3] / "shared/data/routes"
)
ANSWERS = ROUTES / "math_llama3-8b_ans.jsonl.gz"


@pytest.mark.slow
@pytest.mark.skipif(not ANSWERS.is_file(), reason=f"no answers of a real model in {ROUTES}")
def test_what_is_decided_without_math_verify_is_what_math_verify_decides(answers):
    with gzip.open(ANSWERS, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    pairs = [
        (answers.extract(text or ""), row["answer"])
        for row in rows
        for text in row["assistant_answer"]
    ]
    assert len(pairs) == 2500
    keys = dict.fromkeys(make_key(*pair) for pair in pairs if pair[0] is not None)
    decided = {key: verdict for key in keys if (verdict := decide_exactly(*key)) is not None}
    assert len(decided) > len(keys) / 2
    config = [LatexExtractionConfig()]
    parsed = {
        text: parse(f"${text}$", config, parsing_timeout=None) for key in decided for text in key
    }
    logging.disable()
    try:
        differing = [
            (answer, gold)
            for (answer, gold), verdict in decided.items()
            if verify(parsed[gold], parsed[answer], timeout_seconds=None) is not verdict
        ]
    finally:
        logging.disable(logging.NOTSET)
    assert differing == []
