"""Thoughts are set apart from the reply, whatever marks a model puts around them."""

import time

import pytest

from realm.method.thoughts import split_thoughts


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
    started = time.perf_counter()
    split_thoughts(piece * 50_000)
    assert time.perf_counter() - started < 1
