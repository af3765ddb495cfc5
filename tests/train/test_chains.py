"""Which chains are taught: checked, distinct, of moderate length, and likely to the student."""

import json

import pytest
import torch

from realm.checkpoint import load_checkpoint
from realm.config.training import DistillConfig
from realm.core.records import Route
from realm.train.chains import (
    find_chains,
    leak_score,
    measure_log_likelihoods,
    select_chains,
)
from tiny import make_tiny

torch.set_num_threads(1)


def chain(problem, text, *, correct=True, guided=True, **more):
    return Route(
        problem_id=problem,
        source="teacher",
        text=text,
        answer="7",
        correct=correct,
        guided=guided,
        **more,
    )


def eligible(routes, **settings):
    return find_chains(routes, len, DistillConfig(**settings))


def test_guided_positives_are_taught_and_wrong_or_repeated_ones_are_not():
    right, twice = chain("a", "3 + 4 = 7"), chain("a", "3 + 4  = 7 ")
    wrong, unguided = chain("a", "3 + 4 = 8", correct=False), chain("a", "it is 7", guided=False)
    assert eligible([wrong, right, unguided, twice]) == ([right], {"repeated": 1})


def test_without_guided_chains_the_positives_are_taught_and_unguided_takes_them_in_any_case():
    guided, unguided = chain("a", "3 + 4 = 7"), chain("b", "it is 7", guided=False)
    assert eligible([unguided]) == ([unguided], {})
    assert eligible([guided, unguided], kind="unguided") == ([unguided], {})
    assert eligible([guided], kind="unguided") == ([], {})


def test_filling_takes_right_routes_where_a_problem_has_no_guided_chain():
    guided, beside, only = (
        chain("a", "3 + 4 = 7"),
        chain("a", "it is 7", guided=False),
        chain("b", "it is 7", guided=False),
    )
    wrong = chain("c", "it is 8", correct=False, guided=False)
    assert eligible([beside, guided, only, wrong], use_unguided_when_missing=True) == (
        [guided, only],
        {},
    )
    assert eligible([beside, guided, only, wrong]) == ([guided], {})


def test_a_right_route_fills_in_for_a_guided_chain_over_the_limit():
    guided = chain("a", "first three, then four more, " * 4)
    short = [chain(name, "it is 7", guided=False) for name in "abcde"]
    assert eligible([guided, *short], use_unguided_when_missing=True) == ([guided, *short[1:]], {})
    assert eligible([guided, *short], use_unguided_when_missing=True, max_chain_tokens=50) == (
        short,
        {"over max_chain_tokens": 1},
    )


def test_a_rationalized_chain_is_taught_only_where_its_problem_has_no_other():
    honest, told, only = (
        chain("a", "3 + 4"),
        chain("a", "7 it is", rationalized=True),
        chain("b", "so 7.", rationalized=True),
    )
    assert eligible([told, honest, only]) == ([honest, only], {"rationalized": 1})


def test_only_chains_over_the_users_limit_are_too_long():
    short, longer = [chain("a", "seven"), chain("b", "seven")], chain("c", "seven " * 9)
    assert eligible([*short, longer]) == ([*short, longer], {}), "one long class must not be lost"
    assert eligible([*short, longer], max_chain_tokens=60)[0] == [*short, longer]
    assert eligible([*short, longer], max_chain_tokens=54)[0] == [*short, longer]
    assert eligible([*short, longer], max_chain_tokens=53) == (short, {"over max_chain_tokens": 1})
    assert eligible([*short, longer], max_chain_tokens=4) == ([], {"over max_chain_tokens": 3})


def test_guided_chains_that_leak_are_left_out_and_counted_unless_the_config_wants_them():
    leaking = chain("a", "by rule 3 it is 7")
    assert eligible([leaking]) == ([], {"leaks": 1})
    assert eligible([leaking], drop_leaks=False) == ([leaking], {})
    assert select([leaking], kind="answer_only")[0] == [leaking.text], "the chain is not taught"


def test_a_chain_whose_author_had_no_rules_leaks_none():
    circuit = chain("a", "R1 + R2 = 7", guided=False)
    assert eligible([circuit]) == ([circuit], {})


def select(chains, **settings):
    """Return the texts chosen, and those that the student was asked about; it likes long ones."""
    asked = []

    def likelihood(rivals):
        asked.extend(rivals)
        return [float(len(chain.text)) for chain in rivals]

    settings = {"max_chain_tokens": 100} | settings
    chosen, stats = select_chains(chains, len, likelihood, DistillConfig(**settings))
    return [chain.text for chain in chosen], [chain.text for chain in asked], stats


def test_the_student_is_asked_only_where_there_is_a_choice():
    many, one = [chain("a", text) for text in ("1", "22", "333")], chain("b", "x")
    assert select([*many, one], max_chains_per_problem=2)[1] == ["1", "22", "333"]
    assert select([*many, one], max_chains_per_problem=3)[1] == []
    assert select([*many, one], max_chains_per_problem=2, select_by="length")[1] == []
    assert select([*many, one], max_chains_per_problem=2, select_by="all")[1] == []
    assert select([*many, one], max_chains_per_problem=1, kind="answer_only")[1] == []


def test_the_cheapest_chains_of_each_problem_are_chosen_in_the_order_of_cost():
    chains = [chain("a", text) for text in ("1", "333", "22", "4444")] + [chain("b", "x")]
    likeliest, _, stats = select(chains, max_chains_per_problem=2)
    assert likeliest == ["4444", "333", "x"]
    assert stats["left_out"] == {"over max_chains_per_problem": 2}
    assert (stats["likelihood_rivals"], stats["likelihood_chosen"]) == (2.5, 3.5)
    by_length, _, _ = select(chains, max_chains_per_problem=2, select_by="length")
    assert by_length == ["22", "1", "x"], "the median length is 2"
    everything, _, _ = select(chains, max_chains_per_problem=1, select_by="all")
    assert everything == ["1", "333", "22", "4444", "x"]


def test_where_only_answers_are_taught_one_chain_a_problem_is_enough():
    chains = [chain("a", text) for text in ("1", "333", "22")]
    assert select(chains, kind="answer_only")[0] == ["22"]


@pytest.fixture
def student(tmp_path):
    return load_checkpoint(make_tiny(tmp_path / "model", "llama"))[0]


def rows_of(lengths):
    generator = torch.Generator().manual_seed(0)
    ids = [torch.randint(0, 250, (length,), generator=generator).tolist() for length in lengths]
    return [{"input_ids": row, "labels": [-100] * 3 + row[3:]} for row in ids]


def test_a_likelihood_is_the_mean_over_completion_tokens_whatever_else_is_in_the_batch(
    student, tmp_path
):
    rows = rows_of([9, 30, 5])
    values = measure_log_likelihoods(student, rows, tmp_path / "all.jsonl", pad=0)
    for row, value in zip(rows, values, strict=True):
        with torch.no_grad():
            logps = student(torch.tensor([row["input_ids"]])).logits[0].log_softmax(-1)
        wanted = [
            logps[place - 1, token].item()
            for place, token in enumerate(row["input_ids"])
            if place >= 3
        ]
        assert value == pytest.approx(sum(wanted) / len(wanted), abs=1e-5)


def test_a_likelihood_is_measured_once_and_read_again_after_a_kill(student, tmp_path):
    rows, cache = rows_of([9, 12, 9]), tmp_path / "likelihood.jsonl"
    values = measure_log_likelihoods(student, [*rows, rows[0]], cache, pad=0)
    lines = cache.read_text().splitlines()
    assert len(lines) == 3 and values[0] == values[3]
    cache.write_text(
        "".join(f"{line}\n" for line in lines[:2]) + lines[2][:20]
    )  # as a kill leaves it
    marked = json.loads(lines[0]) | {"log_likelihood": 5.0}
    cache.write_text(cache.read_text().replace(lines[0], json.dumps(marked)))
    again = measure_log_likelihoods(student, rows, cache, pad=0)
    assert sorted(again)[-1] == 5.0 and len(cache.read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("text", "leaks"),
    [
        ("According to rule 3, nothing is paid.", True),
        ("R12 applies first.", True),
        ("As the rule book says.", True),
        ("9 - 3 = 6. As a rule of thumb, check twice.", False),
        ("Ruler 3 is long.", False),
    ],
)
def test_completions_that_talk_about_the_rule_list_are_counted(text, leaks):
    assert leak_score([text]) == float(leaks)
