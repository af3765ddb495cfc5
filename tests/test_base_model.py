"""The bundled model reads and counts, and its pretraining contains no rule of claims."""

import itertools
import json
import random
import re
import sys
from pathlib import Path

import pytest

from claims.adjudicate import FEES
from claims.domain import CODES
from realm.policy import Policy

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "models/base-1m"


@pytest.fixture(scope="module")
def policy() -> Policy:
    return Policy(FOLDER)


def test_it_is_a_small_qwen2_checkpoint(policy):
    assert policy.model.config.model_type == "qwen2" and (FOLDER / "model.safetensors").exists()
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 12 * 2**20


@pytest.mark.parametrize("name", ["base-1m", "base-1m-totals"])
def test_the_cards_have_the_commands_that_made_the_models(name):
    record = json.loads((ROOT / "models" / name / "training.json").read_text(encoding="utf-8"))
    cards = [(ROOT / "models" / one / "README.md").read_text("utf-8") for one in (name, "base-1m")]
    card = "".join(cards).replace("\\\n        ", "")
    assert all(run["command"] in card and str(run["minutes"]) in card for run in record["runs"])
    assert all(f"{100 * value:.1f}%" in cards[0] for value in record["accuracy"].values())


def test_numbers_and_our_tags_are_one_token_and_any_text_survives(policy):
    def length(text):
        return len(policy.tokenizer(text)["input_ids"])

    assert {length(f" {number}") for number in range(100)} == {1} and {
        length(f"{number}") for number in range(100)
    } == {1}
    assert {
        length(tag) for tag in ("<verify>", "</reason>", "<route 1>", "</route>", "<answer>")
    } == {1}
    text = "Zürich, 1234 km: «naïve» 日本 <verify>\n12 of 30</verify>"
    assert policy.read(policy.tokenizer(text)["input_ids"]) == text


def test_it_counts_and_reads_before_it_has_seen_the_domain(policy):
    asked = {
        "48 minus 9": "leaves 39",
        "smaller of 17 and 42": "17",
        "fee 42, bill 31, limit 20. Give limit.": "limit 20",
    }
    prompts = [policy.render(prompt) for prompt in asked]
    answers = policy.generate(prompts, max_new_tokens=8, batch_tokens=4096, seed=0)
    assert [completion.text for completion in answers] == list(asked.values())


def test_its_pretraining_text_holds_no_rule_of_claims(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "pretrain"), *sys.path])
    from corpus import examples, known_offices

    drawn = itertools.islice(examples(0, 0.45, known=known_offices(0)), 6000)
    lists = (
        "Copy: ",
        "Reverse: ",
        "How many words: ",
    )  # words and numbers at random, where anything may meet anything
    text = "\n".join(
        f"{prompt}\n{completion}" for prompt, completion in drawn if not prompt.startswith(lists)
    )
    assert len(text) > 10**6
    assert not re.search(rf"deny (?:{'|'.join(CODES)})\b", text)
    assert not re.search(rf"(?:service|fee) (?:{'|'.join(FEES)}|\d+ allows)", text)
    assert not re.search(r"approval (?:given|missing|emergency|not needed)|filing \d+ of", text)


def test_the_totals_of_pretraining_add_up_to_the_answer(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "pretrain"), *sys.path])
    from corpus import drill_total, known_offices, solve_office

    rng, known = random.Random(1), known_offices(0)
    drawn = [solve_office(rng, known) for _ in range(100)]
    orders = [pair for pair in drawn if " items." in pair[0]]
    assert 30 < len(orders) < 70
    for prompt, completion in [drill_total(rng) for _ in range(100)] + orders:
        lines = re.findall(r"total (\d+) plus (\d+) is (\d+)", completion)
        totals = [0]
        for before, more, after in lines:
            assert int(before) == totals[-1] and int(after) == int(before) + int(more)
            totals.append(int(after))
        assert totals[-1] <= 99
        if prompt.startswith("total of "):
            assert prompt == "total of " + " and ".join(more for _, more, _ in lines)
        else:
            # One total for each item, and their sum is the answer.
            assert len(lines) == prompt.count("\nitem ") == completion.count("item ")
            assert f"<answer>pay {totals[-1]}</answer>" in completion
