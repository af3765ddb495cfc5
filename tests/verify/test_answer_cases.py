"""Answers met in practice, each with its right verdict: tests/cases/answers.jsonl.

A row has `text` and `gold` (must the answer read from the text count as right?), or `answer` and
`gold` (are they the same?), or `gold` alone (must the completion that teaches it earn its reward?).
docs/decisions/0013-answer-cases.md says which readings were chosen where several are possible.
"""

import json
from collections import defaultdict
from pathlib import Path

import pytest

from realm.verify.judge import judge, render_completion
from realm.verify.verifier import Verifier

CASES = Path(__file__).parents[1] / "cases" / "answers.jsonl"
ROWS = [json.loads(line) for line in CASES.read_text(encoding="utf-8").splitlines()]
VERIFIERS = {}


def verifier_of(row):
    key = (row["kind"], json.dumps(row.get("settings", {})))
    if key not in VERIFIERS:
        VERIFIERS[key] = (
            Verifier(row["kind"], **{"seconds": 30} | row.get("settings", {}))
            if (row["kind"] == "math")
            else Verifier(row["kind"], **row.get("settings", {}))
        )
    return VERIFIERS[key]


@pytest.mark.parametrize("kind", sorted({row["kind"] for row in ROWS}))
def test_every_case_has_its_verdict(kind):
    wrong = []
    for row in ROWS:
        if row["kind"] != kind:
            continue
        verifier, gold = verifier_of(row), row["gold"]
        if "text" in row:
            expected = row["correct"]
            found = verifier.same(verifier.extract(row["text"]), gold)
        elif "answer" in row:
            expected, found = row["same"], verifier.same(row["answer"], gold)
        else:
            expected = row["earns_reward"]
            taught = render_completion(chain="We think.", answer=gold, verifier=verifier)
            found = judge(taught, gold=gold, verifier=verifier).correct
        if found is not expected:
            wrong.append(f"{row['id']}: expected {expected}, found {found}")
    assert not wrong, wrong


def test_no_text_is_right_for_two_golds_that_differ():
    golds = defaultdict(list)
    for row in ROWS:
        if row["kind"] in ("label", "text", "number") and "text" in row:
            golds[row["kind"]].append(row["gold"])
    for kind, several in golds.items():
        verifier = Verifier(kind)
        distinct = list({json.dumps(gold): gold for gold in several}.values())
        for row in ROWS:
            if row["kind"] != kind or "text" not in row:
                continue
            answer = verifier.extract(row["text"])
            right = [gold for gold in distinct if verifier.same(answer, gold)]
            for other in right[1:]:
                is_share = "%" in str(answer)  # the gold says what a percentage means
                assert is_share or verifier.same(right[0], other), (row["text"], right)
