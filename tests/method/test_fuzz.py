"""Texts that nobody thought of: prompts keep their form, and what is taught reads back."""

from __future__ import annotations

import re

import pytest
from hypothesis import strategies as st

from fuzz import EXAMPLES, PIECES, TEXTS, fuzz, require_linear_time
from realm.core.records import Route, RouteSet
from realm.method.parse import parse_completion
from realm.method.prompt import render_judgement, render_prompt
from realm.method.steps import Flaw, split_steps
from realm.method.thoughts import split_thoughts


def make_routes(texts):
    return RouteSet(
        problem_id="p",
        routes=tuple(
            Route(problem_id="p", source="s", text=text, answer="7", correct=True) for text in texts
        ),
    )


@pytest.mark.parametrize("num_examples", EXAMPLES)
def test_k_routes_have_k_fences_and_steps_numbered_from_1(num_examples):
    def check(question, texts):
        shown = make_routes(texts)
        lines = render_prompt(question, shown, assisted="{question}\n--\n{routes}").split("\n")
        text = "\n".join(lines)
        heads = re.findall(r"<\s*route\b[^<>]*>", text, re.IGNORECASE)
        assert heads == [f"<route {number}>" for number in range(1, len(texts) + 1)]
        assert len(re.findall(r"<\s*/\s*route\b", text, re.IGNORECASE)) == len(texts)
        for number, route in enumerate(shown.routes, 1):
            start = lines.index(f"<route {number}>") + 1
            inside = lines[start : lines.index("</route>", start)]
            steps = [f"[{place}] " for place in range(1, len(split_steps(route)) + 1)]
            assert [line[: len(step)] for line, step in zip(inside, steps, strict=True)] == steps

    texts = st.lists(TEXTS, min_size=1, max_size=4)
    fuzz(check, num_examples, question=TEXTS, texts=texts)


@pytest.mark.parametrize("num_examples", EXAMPLES)
def test_what_is_taught_reads_back_whatever_a_fix_or_a_chain_says(num_examples):
    def check(flaws, chain, answer):
        text = render_judgement(flaws, chain, answer)
        said = parse_completion(split_thoughts(text)[1], len(flaws))
        assert said.verdicts == tuple(flaw is None for flaw in flaws)
        assert said.named == tuple(flaw and flaw.number for flaw in flaws)
        if chain.strip() and answer.strip():
            assert said.well_formed and said.reasoning and said.answer

    flaw = st.none() | st.builds(Flaw, st.integers(1, 9), st.none() | TEXTS)
    flaws = st.lists(flaw, min_size=1, max_size=4)
    fuzz(check, num_examples, flaws=flaws, chain=TEXTS, answer=TEXTS)


@pytest.mark.parametrize("num_examples", EXAMPLES)
def test_any_completion_has_a_reading(num_examples):
    def check(text, count, think_end):
        for one in (text, f"<verify>{text}</verify><answer>{text}</answer>"):
            said = parse_completion(one, count, think_end=think_end)
            assert len(said.verdicts) == len(said.named) == count
            assert said.answer is None or said.answer.strip()

    ends = st.sampled_from([None, "</think>", "[/THINK]"])
    fuzz(check, num_examples, text=TEXTS, count=st.integers(0, 4), think_end=ends)


@pytest.mark.parametrize("num_examples", [12, pytest.param(1000, marks=pytest.mark.slow)])
def test_time_is_linear_in_the_length(num_examples):
    def check(before, pumped, after):
        texts = [before + pumped * (size // len(pumped)) + after for size in (10_000, 40_000)]
        calls = (
            lambda text: render_prompt(text, make_routes([text])),
            lambda text: parse_completion(text, 2),
            lambda text: parse_completion(f"<verify>{text}", 2),
            split_thoughts,
        )
        for call in calls:
            require_linear_time(call, *texts)

    pieces = st.lists(st.sampled_from(PIECES), min_size=1, max_size=3).map("".join)
    fuzz(check, num_examples, before=pieces, pumped=pieces, after=pieces)
