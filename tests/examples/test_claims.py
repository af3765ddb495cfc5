"""The claims domain: the rules as the rule book states them, and what the splits promise."""

import re
from dataclasses import replace

import pytest

from claims.adjudicate import FEES, Claim, Rules, adjudicate
from claims.domain import CODES, ClaimsDomain
from claims.generate import HELD_OUT_COMBINATIONS

PLAIN = Claim(
    tier="silver",
    service="scan",
    lapsed_days=0,
    emergency=False,
    accident=False,
    filed_days=12,
    approval=True,
    in_network=True,
    bill=48,
    deductible=10,
    other_paid=5,
)


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        pytest.param({}, "pay 21", id="13, 14, 16, 18: 42 - 10 - 6 - 5"),
        pytest.param({"lapsed_days": 4}, "deny lapsed", id="2: lapsed"),
        pytest.param(
            {"lapsed_days": 10, "emergency": True},
            "pay 27",
            id="3 and 17: within the grace period of an emergency",
        ),
        pytest.param(
            {"lapsed_days": 11, "emergency": True}, "deny lapsed", id="3: the grace period is over"
        ),
        pytest.param(
            {"service": "massage", "accident": True},
            "deny excluded",
            id="4: massage never is covered",
        ),
        pytest.param({"service": "cosmetics"}, "deny excluded", id="4: cosmetics"),
        pytest.param(
            {"service": "cosmetics", "accident": True}, "pay 9", id="5: cosmetics after an accident"
        ),
        pytest.param({"filed_days": 31}, "deny late", id="6: late"),
        pytest.param({"filed_days": 60, "tier": "gold"}, "pay 24", id="7: gold has 60 days"),
        pytest.param({"filed_days": 61, "tier": "gold"}, "deny late", id="7: and no more"),
        pytest.param({"approval": False}, "deny approval", id="8: no approval"),
        pytest.param({"approval": False, "service": "x-ray"}, "pay 3", id="8: an x-ray needs none"),
        pytest.param(
            {"approval": False, "emergency": True}, "pay 27", id="9: an emergency needs none"
        ),
        pytest.param(
            {"tier": "bronze", "in_network": False}, "deny network", id="10: bronze outside"
        ),
        pytest.param(
            {"tier": "bronze", "in_network": False, "emergency": True},
            "pay 20",
            id="11 and 19: emergency, then the limit",
        ),
        pytest.param({"in_network": False}, "pay 0", id="12: half the fee, 21 - 10 - 6 - 5"),
        pytest.param(
            {"in_network": False, "emergency": True},
            "pay 27",
            id="11: the full fee in an emergency",
        ),
        pytest.param(
            {"service": "checkup"}, "pay 9", id="15: preventive care skips the deductible"
        ),
        pytest.param({"deductible": 0, "other_paid": 0}, "pay 30", id="19: the limit"),
        pytest.param({"bill": 12}, "pay 0", id="20: never below 0"),
        pytest.param(
            {"lapsed_days": 4, "filed_days": 80, "service": "massage"},
            "deny lapsed",
            id="1: the first denial decides",
        ),
    ],
)
def test_each_rule_and_exception_decides_as_the_rule_book_says(changes, answer):
    assert adjudicate(replace(PLAIN, **changes)).answer == answer


def test_the_rule_book_prints_the_constants_that_the_code_executes():
    rules, text = Rules(), ClaimsDomain({}).rules
    for service, fee in FEES.items():
        assert service == "massage" or re.search(rf"{service} {fee}\b", text)
    assert "9 for bronze, 6 for silver, 3 for gold" in text and rules.copays == {
        "bronze": 9,
        "silver": 6,
        "gold": 3,
    }
    assert "20 for bronze, 30 for silver, 40 for gold" in text and rules.limits == {
        "bronze": 20,
        "silver": 30,
        "gold": 40,
    }
    assert f"Subtract {rules.review} from the sum" in text
    assert len(re.findall(r"^\d+\. ", text, re.MULTILINE)) == 22
    assert all(f"`{code}`" in text for code in CODES)


def test_problems_are_the_same_for_the_same_seed_and_never_repeat():
    sizes = {"train": 300, "validation": 50, "test": 100, "test_rules": 60}
    problems = ClaimsDomain(sizes).problems(3)
    assert problems == ClaimsDomain(sizes).problems(3)
    assert problems != ClaimsDomain(sizes).problems(4)
    claims = [tuple(problem.meta["claims"][0].values()) for problem in problems]
    assert len(set(claims)) == len(claims) == 510
    assert [problem.split for problem in problems].count("test_rules") == 60


def test_rule_combinations_of_test_rules_never_occur_elsewhere():
    for problem in ClaimsDomain({"train": 400, "test": 100, "test_rules": 100}).problems(0):
        used = set(problem.meta["rules"])
        assert any(combination <= used for combination in HELD_OUT_COMBINATIONS) == (
            problem.split == "test_rules"
        )


def test_every_rule_of_a_held_out_combination_occurs_in_training():
    trained = {
        rule
        for problem in ClaimsDomain({"train": 1500}).problems(0)
        for rule in problem.meta["rules"]
    }
    assert set().union(*HELD_OUT_COMBINATIONS) <= trained


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("so pay 19", "pay 19"),
        ("Deny LATE.", "deny late"),
        ("first pay 5, no: pay 07", "pay 7"),
        ("pay $12", "pay 12"),
        ("deny it", None),
        ("", None),
    ],
)
def test_the_last_decision_stated_is_the_answer(text, answer):
    assert ClaimsDomain({}).verifier.extract(text) == answer
