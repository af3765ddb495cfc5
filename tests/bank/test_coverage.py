"""Which rules of the rule book the taught chains use."""

from claims import ClaimsDomain
from claims.expert import write_chain
from realm.bank.coverage import numbered_rules, rule_coverage
from realm.core.records import Problem, Route

DOMAIN = ClaimsDomain({"train": 1500}, num_easy=1500)
RULES = """# Rules
1. Parcels over 20 kg pay the heavy surcharge.
2. Parcels to islands wait for the ferry.
3. Fragile parcels need
   a wooden crate.

4. Round up.
"""


def chain(text, guide=()):
    return Route(
        problem_id="p",
        source="teacher",
        text=text,
        answer="7",
        correct=True,
        guided=True,
        guide=guide,
    )


def coverage(*chains, rules=RULES, routes=(), meta=None):
    problem = Problem(id="p", split="train", question="?", answer="7", meta=meta or {})
    return rule_coverage(chains, [*chains, *routes], {"p": problem}, rules)


def test_rules_are_read_with_their_numbers_and_all_their_lines():
    rules = numbered_rules(RULES)
    assert list(rules) == [1, 2, 3, 4] and rules[3] == "Fragile parcels need a wooden crate."
    assert len(numbered_rules(ClaimsDomain({}).rules)) == 22


def test_a_rule_is_used_where_it_is_cited_or_two_of_its_own_words_are_said():
    assert coverage(chain("By rule 4 it is 7."))["rules_unused"] == [1, 2, 3]
    assert coverage(chain("24 kg is over 20, so the heavy surcharge"))["rules_unused"] == [2, 3, 4]
    assert coverage(chain("parcels, parcels"))["rules_unused"] == [1, 2, 3, 4]
    assert coverage(chain("a ferry to the islands"), chain("a wooden crate, rule 99"))[
        "rules_unused"
    ] == [1, 4]


def test_where_the_problem_says_which_rules_decide_it_that_is_what_counts():
    assert coverage(chain("By rule 4."), meta={"rules": [1, 2]})["rules_unused"] == [3, 4]


def test_parts_of_the_guide_that_no_taught_chain_had_are_counted():
    figures = coverage(chain("7", guide=("x", "y")), routes=[chain("8", guide=("y", "z"))])
    assert (figures["guide_units"], figures["guide_units_untaught"]) == (3, 1)


def test_without_a_numbered_rule_book_there_is_nothing_to_count():
    assert coverage(chain("7"), rules=None) == coverage(chain("7"), rules="Be kind.") == {}


def test_the_scripted_chains_of_claims_use_every_rule_but_those_about_all_others():
    problems = {problem.id: problem for problem in DOMAIN.problems(0)}
    figures = rule_coverage(list(map(write_chain, problems.values())), [], problems, DOMAIN.rules)
    assert figures == {"rules": 22, "rules_unused": [1, 20]}
