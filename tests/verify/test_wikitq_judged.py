"""The set answers against answers of real models that were judged by reading."""

import gzip
import json
import os
from pathlib import Path

import pytest

from realm.verify.verifier import Verifier

ROOT = Path(__file__).parents[2]
SETS = Verifier("set")
GOLDEN = ROOT / "tests" / "golden"
ROUTES = Path(os.environ.get("REALM_ROUTES_DATA") or ROOT.parent / "shared" / "data" / "routes")


@pytest.mark.skipif(
    not ROUTES.is_dir(),
    reason=f"no routes of real models in {ROUTES}; REALM_ROUTES_DATA may name their folder",
)
@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("wikitq_judged", 0.97),
        (
            "wikitq_judged_unseen",
            0.95,
        ),  # judged beside the other, and kept from view while the rules were written
    ],
)
def test_the_verdicts_on_judged_wikitablequestions_answers(name, least):
    judged = [json.loads(line) for line in (GOLDEN / f"{name}.jsonl").read_text().splitlines()]
    files = {source: _read(source) for source in {row["source"] for row in judged}}
    false_positives, false_negatives = [], []
    for row in judged:
        item = files[row["source"]][row["line"] - 1]
        answer = SETS.extract(item["assistant_answer"][row["sample"]])
        if SETS.same(answer, item["answer"]) != row["correct"]:
            (false_negatives if row["correct"] else false_positives).append((row, answer))
    assert len(judged) == 150
    assert len(false_positives) <= 2, false_positives
    assert len(false_positives) + len(false_negatives) <= (1 - least) * len(judged), false_negatives


def _read(source):
    with gzip.open(ROUTES / f"{source}_5ans.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
