"""Guides: split into units, cut to the question; an edit touches only prompts that show it."""

import pytest

from realm.sources.guide import cut_guide, estimate_tokens, render_guide, split_guide

RULES = """# Claims

Amounts are whole dollars.

## Payment
1. Therapy needs approval before the visit.
   Without it, deny.
2. Surgery pays 56 dollars.
3. Ambulance rides pay 36 dollars.

## Members
4) Gold members have 60 days.
"""


def texts(units):
    return [unit.text for unit in units]


def test_rules_are_units_with_their_continuation_lines_and_their_headings():
    units = split_guide(RULES, "rule")
    assert texts(units) == [
        "Amounts are whole dollars.",
        "1. Therapy needs approval before the visit.\n   Without it, deny.",
        "2. Surgery pays 56 dollars.",
        "3. Ambulance rides pay 36 dollars.",
        "4) Gold members have 60 days.",
    ]
    assert [unit.is_rule for unit in units] == [False, True, True, True, True]
    assert units[-1].headings == ("# Claims", "## Members")


def test_passages_are_paragraphs():
    assert len(split_guide(RULES, "passage")) == 3


def test_a_guide_that_fits_is_shown_whole_and_in_order():
    units = split_guide(RULES, "rule")
    assert cut_guide(units, "anything", 1000) == units
    assert render_guide(units).split() == RULES.split()


def test_a_guide_that_is_too_long_keeps_the_free_text_and_the_rules_nearest_to_the_question():
    units = split_guide(RULES, "rule")
    kept = cut_guide(units, "How much for the ambulance of a gold member?", 38)
    assert texts(kept) == [
        "Amounts are whole dollars.",
        "3. Ambulance rides pay 36 dollars.",
        "4) Gold members have 60 days.",
    ]
    assert render_guide(kept).count("# Claims") == 1 and "## Payment" in render_guide(kept)


@pytest.mark.parametrize("tokens", [1, 10, 25, 40, 60])
def test_a_cut_guide_stays_within_its_tokens(tokens):
    kept = cut_guide(split_guide(RULES, "rule"), "surgery for a gold member", tokens)
    assert estimate_tokens(render_guide(kept)) <= tokens


@pytest.mark.parametrize("tokens", [15, 25, 40, 60])
@pytest.mark.parametrize(
    "edited",
    [
        "2. Surgery pays 99 dollars, and 12 more for a gold member.",
        "2. No.",
        "2. Surgery surgery surgery.",
    ],
)
def test_an_edited_rule_changes_only_the_prompts_that_show_it_before_or_after(tokens, edited):
    before = split_guide(RULES, "rule")
    after = split_guide(RULES.replace("2. Surgery pays 56 dollars.", edited), "rule")
    for question in (
        "gold member",
        "surgery",
        "ambulance pay",
        "approval for therapy",
        "dollars",
        "",
    ):
        old, new = cut_guide(before, question, tokens), cut_guide(after, question, tokens)
        touched = before[2] in old or after[2] in new
        assert touched or old == new, question


def test_a_digest_changes_with_the_text_and_the_headings():
    unit = split_guide(RULES, "rule")[2]
    assert unit.digest != split_guide(RULES.replace("56", "57"), "rule")[2].digest
    assert unit.digest != split_guide(RULES.replace("Payment", "Fees"), "rule")[2].digest
    assert unit.digest == split_guide(RULES.replace("Gold", "Silver"), "rule")[2].digest


def test_a_text_without_rules_or_headings_is_a_guide_too():
    assert texts(split_guide("One.\n\nTwo,\nthree.\n", "rule")) == ["One.", "Two,\nthree."]
    assert split_guide("", "rule") == [] and render_guide([]) == ""
