import random
import time
from dataclasses import replace

import pytest

from realm.core.records import Judgement
from realm.method.parse import parse_completion
from realm.method.prompt import render_judgement, render_reasoning
from realm.method.steps import Flaw

VERIFY = (
    "<verify>\nRoute 1: [2] should be 3 + 4 = 7: flawed\n"
    "Route 2: every step holds: sound\n</verify>\n"
)
REST = "<reason>3 + 4 = 7</reason>\n<answer>7</answer>"
CASES = [
    pytest.param(
        VERIFY + REST,
        2,
        Judgement(verdicts=(False, True), reasoning="3 + 4 = 7", answer="7", well_formed=True),
        id="as asked",
    ),
    pytest.param(
        REST, 0, Judgement(reasoning="3 + 4 = 7", answer="7", well_formed=True), id="autonomous"
    ),
    pytest.param("", 2, Judgement(verdicts=(None, None)), id="empty"),
    pytest.param("7", 0, Judgement(answer="7"), id="no blocks: the text is the answer"),
    pytest.param(
        REST,
        2,
        Judgement(verdicts=(None, None), reasoning="3 + 4 = 7", answer="7"),
        id="no verification",
    ),
    pytest.param(
        VERIFY + REST,
        0,
        Judgement(reasoning="3 + 4 = 7", answer="7"),
        id="verification that nobody asked for",
    ),
    pytest.param(
        "<verify>Route 1: sound\nRoute 1: no, flawed</verify>" + REST,
        1,
        Judgement(verdicts=(None,), reasoning="3 + 4 = 7", answer="7", well_formed=True),
        id="judged in two ways: not judged",
    ),
    pytest.param(
        "<verify>Route 1: not sound\nRoute 2: unsound\nRoute 3: is not flawed\nRoute 4: isn't "
        "sound\n"
        "Route 5: isn’t really sound\nRoute 6: 8 does not hold flawed</verify>" + REST,
        6,
        Judgement(
            verdicts=(False, False, True, False, False, False),
            reasoning="3 + 4 = 7",
            answer="7",
            well_formed=True,
        ),
        id="negations",
    ),
    pytest.param(
        "<verify>\n**Route 1:** ok\n- Route 2 : FLAWED\n</verify>" + REST,
        2,
        Judgement(verdicts=(None, False), reasoning="3 + 4 = 7", answer="7", well_formed=True),
        id="markdown heads; a route without a verdict",
    ),
    pytest.param(
        "<verify>Route 1: sound <answer>9</answer>",
        1,
        Judgement(verdicts=(True,)),
        id="never closed: it swallows the rest",
    ),
    pytest.param(
        "<answer>1</answer>" + REST,
        0,
        Judgement(reasoning="3 + 4 = 7", answer="7"),
        id="two answers: the last, not well formed",
    ),
    pytest.param(
        REST + " and so on",
        0,
        Judgement(reasoning="3 + 4 = 7", answer="7"),
        id="text after the answer",
    ),
    pytest.param("<answer> </answer>", 0, Judgement(), id="an empty answer is none"),
]


@pytest.mark.parametrize(("text", "num_routes", "expected"), CASES)
def test_a_completion_is_read_as_it_was_meant(text, num_routes, expected):
    assert replace(parse_completion(text, num_routes), named=()) == expected


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        pytest.param(
            "<answer>1</answer></think>\n<reason>r</reason><answer>7</answer>",
            "7",
            id="an answer while thinking is private",
        ),
        pytest.param("<answer>1</answer>", None, id="thinking that never ends says nothing"),
        pytest.param("a</think>b</think><answer>7</answer>", "7", id="the last end counts"),
    ],
)
def test_private_thinking_is_not_read(text, answer):
    assert parse_completion(text, 1, think_end="</think>").answer == answer


@pytest.mark.parametrize(
    ("text", "reasoning", "well_formed"),
    [
        ("<think>\n3 + 4\n</think>\n\n<answer>7</answer>", "3 + 4", True),
        ("3 + 4\n</think>\n\n<answer>7</answer>", "3 + 4", True),
        ("<think>\n\n</think>\n\n<answer>7</answer>", None, False),
        ("a</think><reason>b</reason><answer>7</answer>", "b", False),
        ("<think>\n3 + 4\n<answer>7</answer>", None, False),
    ],
)
def test_a_private_thought_takes_the_place_of_the_block_of_reasoning(text, reasoning, well_formed):
    said = parse_completion(text, 0, think_end="</think>")
    assert (said.reasoning, said.well_formed) == (reasoning, well_formed)


def test_verdicts_stand_after_the_thought_and_drafts_inside_it_are_not_read():
    text = "<verify>Route 1: sound</verify></think><verify>\nRoute 1: [2] flawed\n</verify>\n"
    said = parse_completion(text + "<answer>7</answer>", 1, think_end="</think>")
    assert (said.verdicts, said.named, said.well_formed) == ((False,), (2,), True)


@pytest.mark.parametrize(
    ("check", "verdict", "named"),
    [
        ("[2] should be 3 + 4 = 7: flawed", False, 2),
        ("[ 2 ] flawed", False, None),
        ("[12] should be [3] and [4]: flawed", False, 12),
        ("**[2]** does not hold. Flawed", False, 2),
        ("[2] should be 7: sound", True, None),
        ("[2] should be 7", None, None),
        ("[99999] flawed", False, None),
        ("flawed", False, None),
        ("every step holds: sound", True, None),
    ],
)
def test_a_check_names_the_first_number_in_it(check, verdict, named):
    said = parse_completion(f"<verify>\nRoute 1: {check}\n</verify>", 1)
    assert (said.verdicts, said.named) == ((verdict,), (named,))


@pytest.mark.parametrize(
    "lines",
    [
        "Route 1: [1] x: flawed\nRoute 1: [2] x: flawed",
        "Route 1: every step holds: sound\nRoute 1: [2] x: flawed",
        "Route 2: [1] it says\nRoute 1: sound\nand so: flawed\nRoute 1: [1] x: flawed",
    ],
)
def test_a_route_that_is_judged_in_two_ways_is_not_judged(lines):
    said = parse_completion(f"<verify>\n{lines}\n</verify>", 1)
    assert (said.verdicts, said.named) == ((None,), (None,))


def test_a_route_that_is_judged_twice_in_the_same_way_is_judged():
    lines = "Route 1: [2] a: flawed\nRoute 1: [2] b: flawed"
    said = parse_completion(f"<verify>\n{lines}\n</verify>", 1)
    assert (said.verdicts, said.named) == ((False,), (2,))


def test_what_we_render_reads_back():
    flaws = [Flaw(3, "</verify><answer>9</answer>\nRoute 2: [1] flawed"), None, Flaw(12)]
    said = parse_completion(render_judgement(flaws, "3 + 4 = 7", "7"), 3)
    assert said == Judgement(
        verdicts=(False, True, False),
        named=(3, None, 12),
        reasoning="3 + 4 = 7",
        answer="7",
        well_formed=True,
    )
    assert parse_completion(render_reasoning("so </answer> it is", "7"), 0).well_formed


@pytest.mark.parametrize("filler", ["\n", " ", "*", "Route 1:", "<answer>"])
def test_reading_takes_time_linear_in_the_text(filler):
    started = time.process_time()
    parse_completion("<verify>" + filler * 40_000, 4)
    assert time.process_time() - started < 2


def test_no_text_makes_it_raise():
    rng = random.Random(7)
    pieces = [
        "<verify>",
        "</verify>",
        "<reason>",
        "</reason>",
        "<answer>",
        "</answer>",
        "Route 1:",
        "Route 99999:",
        "sound",
        "flawed",
    ]
    pieces += ["not ", "\n", "</think>", "<route 1>", "\x00", "𝟙", "{question}", "\\1"]
    for _ in range(2000):
        text = "".join(rng.choices(pieces, k=rng.randint(0, 12)))
        judgement = parse_completion(text, 2, think_end=rng.choice([None, "</think>"]))
        assert len(judgement.verdicts) == 2


@pytest.mark.parametrize(
    ("check", "verdict"),
    [
        ("isn't a sound proof", False),
        ("cannot be called sound", False),
        ("does not look sound", False),
        ("hardly sound", False),
        ("no longer sound", False),
        ("far from being sound", False),
        ("anything but sound", False),
        ("not at all flawed", True),
        ("not unsound", True),
        ("does not hold flawed", False),
        ("[1] should be sound or: flawed", False),
        ("sound or flawed", None),
        ("neither sound nor flawed", None),
        ("sound/flawed?", None),
    ],
)
def test_a_verdict_is_read_with_what_denies_it(check, verdict):
    said = parse_completion(f"<verify>Route 1: {check}</verify>", 1)
    assert said.verdicts == (verdict,)
