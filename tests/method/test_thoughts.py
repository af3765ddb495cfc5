"""Thoughts are set apart from the reply, whatever marks a model puts around them."""

import time

import pytest

from realm.core.errors import ConfigError
from realm.method.prompt import render_answer, render_judgement
from realm.method.steps import Flaw
from realm.method.thoughts import (
    ThinkTags,
    find_think_tags,
    put_chain_in_thoughts,
    split_thoughts,
)


@pytest.mark.parametrize(
    ("text", "thoughts", "reply"),
    [
        ("The answer is 4.", "", "The answer is 4."),
        ("<think>2+2</think>4", "2+2", "4"),
        ("2+2\n</think>\n\nThe answer is 4.", "2+2", "The answer is 4."),
        ("</think> </think> 24", "", "24"),
        ("<think>\n\n</think>\n\nParis", "", "Paris"),
        ("<think>2+2", "2+2", ""),
        ("<think>a</think>4, but <think>b", "a\n\n4, but\n\nb", ""),
        ("<thinking>2+2</thinking>4", "2+2", "4"),
        ("[THINK]2+2[/THINK]4", "2+2", "4"),
        ("<think>a</think><think>b</think>4", "a\n\nb", "4"),
        ("<THINK>2+2</THINK>4", "2+2", "4"),
        (
            "<|channel|>analysis<|message|>2+2<|end|><|start|>assistant"
            "<|channel|>final<|message|>4<|return|>",
            "2+2",
            "4",
        ),
        ("<|channel|>analysis<|message|>Is it 4?", "Is it 4?", ""),
        ("analysis2+2assistantfinal4", "2+2", "4"),
        ("analysis of the case: 4", "", "analysis of the case: 4"),
        ("I think so: <b>4</b>", "", "I think so: <b>4</b>"),
    ],
)
def test_thoughts_and_reply_are_told_apart(text, thoughts, reply):
    assert split_thoughts(text) == (thoughts, reply)


@pytest.mark.parametrize("piece", ["<think>", "</think>", "<", "<|channel|>", "<|channel|>a ", " "])
def test_a_long_text_takes_little_time(piece):
    started = time.process_time()
    split_thoughts(piece * 50_000)
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("rendered", "start", "end", "tags"),
    [
        ("<|user|>q<|assistant|>\n", None, None, None),
        ("<|user|>q<|assistant|>\n", "<think>", "</think>", ThinkTags("<think>\n", "</think>")),
        ("<|user|>q<|assistant|><think>\n", None, "</think>", ThinkTags("", "</think>")),
        ("<|user|>q<|assistant|><think>\n", "<think>", "</think>", ThinkTags("", "</think>")),
        ("<|user|>q<|assistant|><think>", "<think>", "</think>", ThinkTags("\n", "</think>")),
        ("[INST]q[/INST]", "[THINK]", "[/THINK]", ThinkTags("[THINK]\n", "[/THINK]")),
        ("[INST]q[/INST][THINK]", None, "[/THINK]", ThinkTags("\n", "[/THINK]")),
        ("q {{muse}}\n", "{{muse}}", "{{end}}", ThinkTags("", "{{end}}")),
        ("may I say <think> here?", None, None, None),
        ("<|assistant|><think>\n\n</think>\n\n", None, None, None),
    ],
)
def test_the_tags_of_a_student_are_those_that_its_template_leaves_to_write(
    rendered, start, end, tags
):
    assert find_think_tags(rendered, start, end) == tags


@pytest.mark.parametrize(
    ("rendered", "start", "end", "message"),
    [
        ("<|assistant|>", None, "</think>", 'think_start: needed and missing.*such as "<think>"'),
        ("<|assistant|><thinking>\n", "<think>", "</think>", "opens .* with '<thinking>'"),
        ("<|assistant|><thinking>\n", None, "</think>", "opens .* with '<thinking>'"),
        ("<|assistant|><think>\n", None, None, 'think_end: .* Try prompt.think_end: "</think>"'),
        ("<|assistant|><think>\n\n</think>\n\n", "<think>", "</think>", "ends the thoughts itself"),
    ],
)
def test_settings_that_do_not_fit_the_template_are_the_users_mistake(rendered, start, end, message):
    with pytest.raises(ConfigError, match=message):
        find_think_tags(rendered, start, end)


def test_the_chain_is_thought_and_the_checks_and_the_answer_are_said():
    tags = ThinkTags("<think>\n", "</think>")
    checks = render_judgement([None, Flaw(1, "3 + 4 = 7")], "3 + 4 = 7", "7")
    assert put_chain_in_thoughts(checks, tags) == (
        "<think>\n3 + 4 = 7\n</think>\n\n"
        "<verify>\nRoute 1: every step holds: sound\n"
        "Route 2: [1] should be 3 + 4 = 7: flawed\n</verify>\n<answer>7</answer>"
    )
    only_answer = put_chain_in_thoughts(render_answer("7"), tags)
    assert only_answer == "<think>\n\n</think>\n\n<answer>7</answer>"
    assert put_chain_in_thoughts(checks, None) == checks
