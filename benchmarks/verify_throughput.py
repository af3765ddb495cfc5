"""How fast and how well are mathematical answers checked, beside math-verify pair by pair?

    python benchmarks/verify_throughput.py math_routes.jsonl.gz --rounds 3

Hardware: any CPU; ours uses all cores, math-verify one. About two minutes for 2,500 answers.

Each row of the data holds `answer`, the gold LaTeX, and `assistant_answer`, a list of texts. Both
sides check every text against the gold answer and count the majority of each problem. Both start
cold: each round runs in a process of its own, and imports count. The last line is JSON.
"""

from __future__ import annotations

import argparse
import gzip
import json
import logging
import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

SECONDS = 5
"""Time limit of one comparison, that of math-verify."""

Checked = dict[str, Any]
"""Of one side: seconds, answers as read, correct, whether the majority is right, undecided."""


def main() -> None:
    """Print where both sides differ, a table, and all figures as one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="JSON Lines, .gz or not")
    parser.add_argument(
        "--rounds",
        type=int,
        default=1,
        help="runs of each side; the median counts",
    )
    parser.add_argument("--only", choices=sorted(SIDES), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(run_cold(arguments.only, arguments.data)))
        return
    rounds = [
        {side: run_in_process(side, arguments.data) for side in SIDES}
        for _ in range(arguments.rounds)
    ]
    reference, ours = rounds[0]["reference"], rounds[0]["realm"]
    seconds = {side: statistics.median(one[side]["seconds"] for one in rounds) for side in SIDES}
    differing = print_differences(read_rows(arguments.data), reference, ours)
    print_table({"reference": reference, "realm": ours}, seconds)
    figures = {
        "speedup": round(seconds["reference"] / seconds["realm"], 1),
        "disagreements": differing,
        **compute_accuracies(ours),
    }
    print(json.dumps(figures))


def check_by_realm(rows: list[dict[str, Any]]) -> Checked:
    """Check all texts by `realm.Verifier`."""
    from realm.verify.verifier import Verifier, majorities

    kind = Verifier("math", seconds=SECONDS)
    answers = [[kind.extract(text or "") for text in row["assistant_answer"]] for row in rows]
    correct = iter(
        kind.same_all(
            [
                (answer, row["answer"])
                for row, said in zip(rows, answers, strict=True)
                for answer in said
            ]
        )
    )
    votes = majorities(answers, kind.same_all)
    right = kind.same_all([(vote, row["answer"]) for vote, row in zip(votes, rows, strict=True)])
    return {
        "answers": answers,
        "correct": [[bool(next(correct)) for _ in said] for said in answers],
        "majority": [bool(one) for one in right],
        "undecided": kind.num_undecided,
    }


def check_by_reference(rows: list[dict[str, Any]]) -> Checked:
    """Check all texts by math-verify, which reads both sides of each pair anew."""
    from math_verify import parse, verify

    from realm.verify.verifier import majority

    logging.disable()

    def same(text: str, gold: str) -> bool:
        return verify(
            parse(gold, parsing_timeout=SECONDS),
            parse(text, parsing_timeout=SECONDS),
            timeout_seconds=SECONDS,
        )

    correct, votes = [], []
    for row in rows:
        gold, texts = f"${row['answer']}$", row["assistant_answer"]
        correct.append([same(text or "", gold) for text in texts])
        voted = majority([text or None for text in texts], same)
        votes.append(voted is not None and same(voted, gold))
    return {"correct": correct, "majority": votes, "undecided": 0}


SIDES = {"reference": check_by_reference, "realm": check_by_realm}


def run_cold(side: str, data: Path) -> Checked:
    """Return what `side` finds and its seconds, imports included."""
    rows = read_rows(data)
    started = time.perf_counter()
    found = SIDES[side](rows)
    return {"seconds": time.perf_counter() - started, **found}


def run_in_process(side: str, data: Path) -> Checked:
    """Return `run_cold` from a new process."""
    command = [sys.executable, __file__, str(data), "--only", side]
    return json.loads(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
    )


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a JSON Lines file."""
    with (
        gzip.open(path, "rt", encoding="utf-8")
        if path.suffix == ".gz"
        else path.open(encoding="utf-8") as file
    ):
        return [json.loads(line) for line in file if line.strip()]


def print_differences(rows: list[dict[str, Any]], reference: Checked, ours: Checked) -> int:
    """Print each answer whose verdicts differ and the likely reason. Return their number."""
    from math_verify import parse

    count = 0
    for number, row in enumerate(rows):
        for place, text in enumerate(row["assistant_answer"]):
            theirs, own = (side["correct"][number][place] for side in (reference, ours))
            if theirs == own:
                continue
            count += 1
            said, read = ours["answers"][number][place], str(parse(text or "")[:1])
            print(
                f"row {number + 1}, answer {place + 1}: reference {theirs}, realm {own}; "
                f"gold {row['answer']!r}"
            )
            print(
                f"  reference reads {read}, realm reads {said!r}: {guess_reason(said, text or '')}"
            )
    return count


def guess_reason(said: str | None, text: str) -> str:
    """Return the likely reason why the two read a text differently, from its form."""
    if said is None:
        return (
            "the text breaks off without an answer; the reference takes a formula from its middle"
        )
    if "answer is" not in text.lower() and "\\boxed" not in text:
        return "the text breaks off without an answer; each side takes another formula of it"
    if "√" in said or "\\le" in said or "<" in said:
        return "the reference does not read root signs, nor an inequality as an interval"
    if text.count("\\boxed") > 1:
        return "the reference joins several boxes; realm reads the last one"
    return "the reference reads this form otherwise"


def compute_accuracies(found: Checked) -> dict[str, float]:
    """Return the percentages right: of single answers, of the majority, of the best answer."""
    problems = len(found["correct"])
    return {
        "mean_of_5": round(
            100 * sum(sum(one) / len(one) for one in found["correct"]) / problems, 2
        ),
        "majority": round(100 * sum(found["majority"]) / problems, 2),
        "any_of_5": round(100 * sum(any(one) for one in found["correct"]) / problems, 2),
    }


def print_table(sides: dict[str, Checked], seconds: dict[str, float]) -> None:
    """Print the figures of both sides, and the versions."""
    heads = ("seconds", "mean of 5", "majority", "any of 5", "undecided")
    table = Table(
        "",
        *heads,
        title=f"math-verify {version('math-verify')}, Python {platform.python_version()}",
    )
    for name, found in sides.items():
        undecided = "timeouts count as wrong" if name == "reference" else str(found["undecided"])
        table.add_row(
            name,
            f"{seconds[name]:.1f}",
            *(f"{figure:.1f}" for figure in compute_accuracies(found).values()),
            undecided,
        )
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
