"""The terminal of `realm review`: single keys, and a line editor for answers and notes."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.text import Text

from realm.core.errors import RunError, make_printable
from realm.core.jsonl import append_jsonl, read_jsonl
from realm.domains.cells import to_list
from realm.domains.corrections import (
    CORRECTIONS,
    Correction,
    add_correction,
    label_problem,
    label_route,
    read_corrections,
)
from realm.domains.summary import fit_text
from realm.method.steps import split_steps
from realm.review.suspects import name_outcome
from realm.verify.judge import earns_reward
from realm.verify.kinds import with_choice

if TYPE_CHECKING:
    from realm.core.records import Problem, Route
    from realm.review.suspects import Case
    from realm.run import Run
    from realm.verify.verifier import Verifier

REVIEWED = "reviewed.jsonl"
KEYS = """Enter next   b back   1-9 read a text   g correct the gold answer   x leave out
n note       u undo the corrections of this problem   ? keys   q quit"""
ROUTE_KEYS = """r the answer is right   w it is wrong   s all steps hold   f a step does not
Enter back"""
_STYLES = {"right": "green", "wrong": "red", "unparsed": "yellow"}


def review_cases(run: Run, cases: Sequence[Case]) -> None:
    """Have a person go through the cases, and say how to apply what was corrected.

    Raises:
        RunError: Standard input is not a terminal.
    """
    if not sys.stdin.isatty():
        raise RunError(
            "`realm review` reads keys from a terminal, and standard input is not one. --list "
            "prints the problems that look mislabelled."
        )
    console = Console(highlight=False)
    num_suspects = sum(bool(case.reasons) for case in cases)
    console.print(f"{num_suspects:,} of {len(cases):,} problems look mislabelled", style="bold")
    try:
        Reviewer(run.folder, run.domain.verifier, console).review(cases)
    finally:  # also after Ctrl-C
        path = run.path(CORRECTIONS)
        if corrections := read_corrections(path):
            command = f"realm run {shlex.quote(str(run.folder))}"
            console.print(
                Text(f"\n{path}: corrections: {len(corrections):,}. `{command}` applies them.")
            )


class Reviewer:
    """Shows one case after the other and writes down what the person says about it.

    Args:
        folder: The run folder; corrections.jsonl and reviewed.jsonl in it are appended to.
        verifier: Reads and writes answers.
        console: Where to write.
        read_key: Returns one key.
        read_line: Returns a line, edited from a given text.
    """

    def __init__(
        self,
        folder: Path,
        verifier: Verifier,
        console: Console,
        read_key: Callable[[], str] = click.getchar,
        read_line: Callable[[str, str], str] | None = None,
    ) -> None:
        self.folder = folder
        self.verifier = verifier
        self.console = console
        self.read_key = read_key
        self.read_line = read_line or edit_line

    def review(self, cases: Sequence[Case]) -> None:
        """Go through the cases until the person quits or there are no more."""
        self._print(KEYS, "dim")
        place = 0
        while place < len(cases):
            case = cases[place]
            title = f"{place + 1:,} of {len(cases):,}"
            self._show(case, title)
            step = 0
            while step == 0:
                try:
                    key = self.read_key()
                except EOFError:  # Ctrl-D
                    key = "q"
                if key == "q":
                    return
                step = {"\r": 1, "\n": 1, " ": 1, "b": -1}.get(key, 0)
                if step == 0:
                    self._do(key, case, title)
            if step == 1:
                self._note(case, "")
            place = max(0, place + step)

    def _do(self, key: str, case: Case, title: str) -> None:
        """Do what a key stands for, other than going to another problem."""
        problem = case.problem
        if key == "g":
            self._correct_gold(problem)
        elif key == "x":
            self._add(label_problem(problem, "excluded", True))
        elif key == "n":
            if note := self.read_line("note: ", "").strip():
                self._note(case, note)
        elif key == "u":
            for one in self._find_corrections(problem.id):
                self._add(replace(one, value=None, flaw=None, note=""))
        elif key.isdecimal() and (number := self._read_number(key, case)):
            if number <= len(case.routes):
                self._review_route(case.routes[number - 1], number)
            else:
                answer = case.answers[number - len(case.routes) - 1]
                self._print(f"\n{number} {answer.method} {answer.mode}", "bold")
                self._print(f"{answer.judged.text.strip()}\nEnter back")
                self.read_key()
            self._show(case, title)
        else:
            self._print(KEYS, "dim")

    def _read_number(self, key: str, case: Case) -> int:
        """Return the number of a text: a key, or a line if there are more than nine. 0: none."""
        count = len(case.routes) + len(case.answers)
        line = self.read_line("number: ", key) if count > 9 else key
        number = int(line) if line.strip().isdecimal() and len(line) < 9 else 0
        return number if number <= count else 0

    def _correct_gold(self, problem: Problem) -> None:
        old = problem.answer
        if isinstance(old, dict) and self.verifier.kind != "json":
            self._print("The domain makes these answers itself: leave the problem out (x).", "red")
            return
        shown = old if isinstance(old, str) else json.dumps(old, ensure_ascii=False)
        text = self.read_line("gold answer: ", shown).strip()
        if not text or text == shown:
            return
        value = read_gold(text, problem, self.verifier.kind)
        if value is None or not earns_reward(value, self.verifier):
            self._print(f"{text!r} is no answer of kind {self.verifier.kind}: not kept.", "red")
            return
        note = self.read_line("why (may be empty): ", "").strip()
        self._add(label_problem(problem, "gold", value, note))

    def _review_route(self, route: Route, number: int) -> None:
        """Show a whole route, and take down what the person says about it."""
        steps = split_steps(route)
        self._print(f"\n{number} {route.source}", "bold")
        self._print("\n".join(f"{place:>3} {step}" for place, step in enumerate(steps, 1)))
        self._print(f"{self._describe_route(route)}\n{ROUTE_KEYS}", "dim")
        key = self.read_key()
        if key in ("r", "w"):
            self._add(label_route(route, "correct", key == "r"))
        elif key == "s":
            self._add(label_route(route, "process", True))
        elif key == "f":
            line = self.read_line(f"first step that does not hold, 1-{len(steps)}: ", "").strip()
            number = int(line) if line.isdecimal() and len(line) < 9 else 0
            flaw = number if 1 <= number <= len(steps) else None
            self._add(label_route(route, "process", False, flaw))

    def _describe_route(self, route: Route) -> str:
        outcome = name_outcome(route.answer, route.correct)
        steps = {None: "unknown", True: "all hold", False: f"step {route.flaw or '?'} is false"}
        answer = "none" if route.answer is None else self.verifier.render(route.answer)
        return f"answer {answer}: {outcome}; steps: {steps[route.process]}"

    def _add(self, correction: Correction) -> None:
        add_correction(self.folder / CORRECTIONS, correction)
        self._print(f"  kept: {describe_correction(correction)}", "bold")

    def _note(self, case: Case, note: str) -> None:
        """Write down that the person has seen a problem, and what they say of it."""
        with append_jsonl(self.folder / REVIEWED) as append:
            append({"problem_id": case.problem.id} | ({"note": note} if note else {}))

    def _find_corrections(self, identity: str) -> list[Correction]:
        found = read_corrections(self.folder / CORRECTIONS)
        return [one for one in found if one.problem_id == identity]

    def _show(self, case: Case, title: str) -> None:
        """Print a problem, its gold answer, and a line for each route and each model's answer."""
        problem, width = case.problem, self.console.width
        self._print(f"\n{title}  {problem.split}  {problem.id}", "bold")
        for reason in case.reasons:
            self._print(f"? {reason}", "yellow")
        self._print(f"{problem.question}\n")
        self._print(f"gold answer: {self.verifier.render(problem.answer)}", "bold")
        for one in self._find_corrections(problem.id):
            self._print(f"  corrected: {describe_correction(one)}", "bold")
        lines = [
            (route.answer, route.correct, f"{number} {route.source}", route.text)
            for number, route in enumerate(case.routes, 1)
        ]
        lines += [
            (
                one.judged.answer,
                one.judged.correct,
                f"{number} {one.method} {one.mode}",
                one.judged.text,
            )
            for number, one in enumerate(case.answers, len(case.routes) + 1)
        ]
        for answer, correct, name, text in lines:
            outcome = name_outcome(answer, correct)
            shown = "-" if answer is None else self.verifier.render(answer)
            start = f"{fit_text(name, 22)} {outcome:<8} {fit_text(shown, 16)} "
            self._print(start + fit_text(text, max(8, width - 50)).rstrip(), _STYLES[outcome])

    def _print(self, text: str, style: str = "") -> None:
        # As `Text`: square brackets of a question are no markup of rich.
        self.console.print(Text(make_printable(text), style=style))


def describe_correction(correction: Correction) -> str:
    """Return a correction in a few words."""
    words = {
        ("excluded", True): "left out",
        ("correct", True): "its answer is right",
        ("correct", False): "its answer is wrong",
        ("process", True): "all its steps hold",
        ("process", False): f"step {correction.flaw or '?'} does not hold",
    }
    what = words.get((correction.kind, correction.value), f"gold answer {correction.value}")
    if correction.value is None:
        what = f"{correction.kind} undone"
    name = f"{correction.source}: " if correction.source else ""
    return f"{name}{what}" + (f" ({correction.note})" if correction.note else "")


def read_gold(text: str, problem: Problem, kind: str) -> Any:
    """Return a gold answer that a person has entered, as its kind holds it; None if it is not one.

    An answer that was a number before stays one, and a label may be the letter of a choice.
    """
    value: Any = text
    if kind == "json" or not isinstance(problem.answer, str):
        with suppress(ValueError):
            value = json.loads(text)
    if kind == "json":
        return value if isinstance(value, dict) else None
    if kind == "set":
        return to_list(value)
    return with_choice(value, problem.choices) if kind == "label" else value


def read_seen(folder: Path) -> set[str]:
    """Return the ids of the problems that a person has seen."""
    path = folder / REVIEWED
    return {str(row.get("problem_id")) for row in read_jsonl(path)} if path.exists() else set()


def edit_line(prompt: str, text: str) -> str:
    """Return a line of the terminal; `text` stands there to be changed."""
    import readline  # not on every system, and `--list` needs none

    readline.set_startup_hook(lambda: readline.insert_text(text if text.isprintable() else ""))
    try:
        return input(prompt)
    except EOFError:  # Ctrl-D: no change
        return ""
    finally:
        readline.set_startup_hook()
