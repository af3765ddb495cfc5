"""`realm chat`: several questions in one terminal, without loading the model again."""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rich.text import Text

from realm.core.errors import RealmError, make_printable

if TYPE_CHECKING:
    from rich.console import Console

    from realm.deploy.student import Reply, Student

HELP = """Each question stands alone. It may have several lines if they are pasted at once.
/routes K   check K solutions of its own before the answer; 0: none
/more       show the whole completion of the last answer
/help       show this
/quit       end (or Ctrl-D)"""
SHOWN_CHARS = 160
"""Characters of the reasoning that are shown while it is folded."""


def chat(
    student: Student,
    console: Console,
    questions: Iterator[str],
    *,
    self_routes: int,
    max_new_tokens: int,
) -> None:
    """Answer questions until there are no more, or /quit.

    A user's mistake, such as a question that is too long, is said, and the chat goes on.

    Args:
        student: The model.
        console: Where to write.
        questions: What the user enters.
        self_routes: Number of own solutions that are checked first; /routes changes it.
        max_new_tokens: Limit of each completion.
    """
    last: Reply | None = None
    for entry in questions:
        command, _, value = entry.strip().partition(" ")
        if command == "/quit":
            return
        if command == "/more":
            console.print(Text(make_printable(last.completion.text.strip()) if last else HELP))
        elif command == "/routes" and value.isdecimal() and int(value) <= 64:
            self_routes = int(value)
            console.print(f"{self_routes} own solutions are checked before each answer")
        elif command.startswith("/"):
            console.print(HELP, markup=False)
        elif entry.strip():
            started = time.monotonic()
            try:
                last = student.ask(
                    entry.strip(), self_routes=self_routes, max_new_tokens=max_new_tokens
                )
            except RealmError as error:
                console.print(Text(str(error), style="red"))
                continue
            show_reply(console, last, time.monotonic() - started)


def show_reply(console: Console, reply: Reply, seconds: float) -> None:
    """Print the reasoning folded and dim, the verdicts on own solutions, and the answer."""
    reasoning = fold(reply.judgement.reasoning or "")
    if reasoning:
        console.print(Text(make_printable(reasoning), style="dim"))
    for verdict in reply.verdicts:
        console.print(Text(make_printable(verdict), style="dim"))
    answer = reply.judgement.answer or "(no answer)"
    console.print(Text(make_printable(answer), style="bold"))
    cut = ", cut at its limit (--max-new-tokens)" if reply.is_cut else ""
    console.print(Text(f"{reply.num_tokens} tokens in {seconds:.1f} s{cut}", style="dim"))


def fold(reasoning: str) -> str:
    """Return the beginning of a chain of thought in one line, and how much more there is.

    >>> fold("3 + 4 = 7\\nso 7")
    '3 + 4 = 7 / so 7'
    """
    line = " / ".join(part.strip() for part in reasoning.splitlines() if part.strip())
    if len(line) <= SHOWN_CHARS:
        return line
    hidden = len(line) - SHOWN_CHARS
    return f"{line[:SHOWN_CHARS].rstrip()} ... ({hidden} more characters: /more)"


def read_questions(prompt: Callable[[], str] = lambda: input("> ")) -> Iterator[str]:
    """Yield what the user enters.

    On a terminal all lines that come at once are one question, as when a form is pasted. In a pipe
    an empty line ends a question.
    """
    is_terminal = sys.stdin.isatty()
    if is_terminal:
        import readline  # noqa: F401  # input() then has a history, and the arrow keys work
    lines: list[str] = []
    while True:
        try:
            line = prompt() if is_terminal and not lines else input()
        except EOFError:
            if lines:
                yield "\n".join(lines)
            return
        lines.append(line)
        is_command = len(lines) == 1 and line.startswith("/")
        is_whole = not line.strip() if not is_terminal else not _has_input()
        if is_command or is_whole:
            yield "\n".join(lines)
            lines = []


def _has_input() -> bool:
    """Return whether more input is there already."""
    # A paste arrives at once; nobody types a line in 50 milliseconds.
    return bool(select.select([sys.stdin], [], [], 0.05)[0])
