"""`realm chat`: what it reads as one question, what it shows, and that it goes on."""

import io
import time

import pytest
from rich.console import Console
from typer.testing import CliRunner

from finished_run import BASE
from realm.cli import app
from realm.core.errors import DataError
from realm.core.records import Judgement
from realm.deploy import chat as chat_module
from realm.deploy.chat import chat, fold, read_questions
from realm.deploy.student import Reply, Student
from realm.policy import Completion

LONG = "step. " * 60


class Recorder:
    """A student that records how it is asked."""

    def __init__(self):
        self.calls = []

    def ask(self, question, *, self_routes, max_new_tokens):
        self.calls.append((question, self_routes, max_new_tokens))
        if question == "too long":
            raise DataError("does not fit")
        return Reply(
            completion=Completion(text=f"whole {LONG}", num_tokens=9, prompt_tokens=31),
            judgement=Judgement(
                verdicts=(False,) * self_routes, answer="pay 7\x1b[2J", reasoning=LONG
            ),
            own_answers=("8",) * self_routes,
            num_tokens=21,
            is_cut=True,
        )


def talk(*entries, self_routes=0):
    student, out = Recorder(), io.StringIO()
    console = Console(file=out, width=400, highlight=False)
    chat(student, console, iter(entries), self_routes=self_routes, max_new_tokens=99)
    return student.calls, out.getvalue()


def test_the_answer_shows_and_the_reasoning_is_folded():
    calls, shown = talk("Who pays?", self_routes=1)
    assert calls == [("Who pays?", 1, 99)]
    first, verdict, answer, cost = shown.splitlines()
    assert first.startswith("step. step.") and first.endswith("more characters: /more)")
    assert len(first) < 220 and verdict == "route 1 8: flawed"
    assert answer == "pay 7\\x1b[2J"  # a model does not command the terminal
    assert cost.startswith("21 tokens in 0.0 s, cut at its limit")
    assert talk("Who pays?", "/more")[1].count("step.") > 60


def test_the_reasoning_is_dim_and_the_answer_bold_on_a_terminal():
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, color_system="standard", width=400)
    chat(Recorder(), console, iter(["Who pays?"]), self_routes=0, max_new_tokens=9)
    assert "\x1b[2mstep." in out.getvalue() and "\x1b[1mpay 7" in out.getvalue()


def test_commands_are_no_questions():
    calls, shown = talk("/routes 3", "a", "/routes x", "/other", " ", "b", "/quit", "c")
    assert calls == [("a", 3, 99), ("b", 3, 99)]
    assert shown.count("/routes K") == 2


def test_a_question_that_does_not_fit_ends_nothing():
    calls, shown = talk("too long", "b")
    assert len(calls) == 2 and "does not fit" in shown


def test_short_reasoning_is_shown_whole():
    assert fold("3 + 4 = 7\n\n so 7") == "3 + 4 = 7 / so 7" and fold("") == ""


def test_in_a_pipe_an_empty_line_ends_a_question(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("a\nb\n\n/routes 2\nc\n"))
    assert [entry.strip() for entry in read_questions()] == ["a\nb", "/routes 2", "c"]


def test_lines_pasted_at_once_are_one_question(monkeypatch):
    lines = iter([("a", True), ("b", False), ("c", False)])
    waiting = []

    def enter():
        line, more = next(lines, (None, False))
        if line is None:
            raise EOFError
        waiting.append(more)
        return line

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", enter)
    monkeypatch.setattr(chat_module, "_has_input", lambda: waiting[-1])
    assert list(read_questions(enter)) == ["a\nb", "c"]


@pytest.mark.slow
def test_the_second_answer_of_the_bundled_model_takes_less_than_two_seconds():
    student = Student(str(BASE))
    student.ask("Ann pays 3 of 9. Left?")
    started = time.monotonic()
    student.ask("Ben pays 4 of 9. Left?")
    assert time.monotonic() - started < 2


@pytest.mark.slow
def test_the_command_line_answers_every_question_of_a_pipe():
    command = ["chat", str(BASE), "--max-new-tokens", "8"]
    done = CliRunner().invoke(app, command, input="Ann pays 3 of 9. Left?\n\nBen pays 4 of 9?\n")
    assert done.exit_code == 0 and done.output.count(" tokens in ") == 2
