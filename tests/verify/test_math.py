import os
import signal
import time

import pytest

from realm.verify.math import MathAnswers
from realm.verify.workers import Workers

BOMBS = [
    r"\binom{10^9}{5 \cdot 10^8}",
    r"10^{10^{10}} + x",
    "(10^9)!",
    r"\int_0^{\infty} \sin(x^x) \cdot x! dx",
]


@pytest.fixture(scope="module")
def answers():
    return MathAnswers(seconds=20)


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
        assert answers.same(answers.extract(answers.show(gold)), gold) is True


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
    answers = MathAnswers(seconds=0.5)
    started = time.monotonic()
    verdicts = answers.same_all([(bomb, "7 + y") for bomb in BOMBS] + [("3!", "6"), ("7", "7")])
    assert time.monotonic() - started < 60 and verdicts[-1] is True
    assert answers.undecided == verdicts.count(None) > 0
    again = time.monotonic()
    assert answers.same_all([(bomb, "7 + y") for bomb in BOMBS]) == verdicts[: len(BOMBS)]
    assert time.monotonic() - again < 0.4, (
        "a pair that could not be told is remembered: none takes its 0.5 s again"
    )


@pytest.mark.slow
def test_no_process_before_it_is_needed_a_dead_one_is_replaced_and_none_is_left():
    answers = MathAnswers(seconds=20)
    assert answers.same(r"\frac{2}{4}", "0.5") is True
    workers = answers._workers
    assert workers._workers == []
    assert answers.same("3!", "6") is True
    [process] = [worker._process for worker in workers._workers]
    os.kill(process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert answers.same("4!", "24") is None and process.returncode == -signal.SIGKILL
    assert answers.same("5!", "120") is True
    [process] = [worker._process for worker in workers._workers]
    del answers, workers
    assert process.returncode == -signal.SIGKILL, "the workers end with who asked"


@pytest.mark.slow
def test_an_interrupt_leaves_nothing_half_answered(monkeypatch):
    workers = Workers(seconds=20)
    assert workers.compare([("x!", "y!")]) == [False]
    [worker] = workers._workers

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(worker, "ask", interrupted)
        workers.compare([("x!", "y!")])
    assert worker._process is None
    assert workers.compare([("x!", "x!")]) == [True]


@pytest.mark.slow
def test_a_forked_child_starts_workers_of_its_own():
    workers = Workers(seconds=20)
    assert workers.compare([("x!", "x!")]) == [True]
    child = os.fork()
    if child == 0:
        os._exit(
            0
            if workers.compare([("x!", "y!")]) == [False]
            and workers._workers[0]._owner == os.getpid()
            else 1
        )
    assert os.waitpid(child, 0)[1] == 0
    assert workers.compare([("x!", "y!")]) == [False]
