"""What a mode reached: accuracy, cost, and how well the verdicts on routes agree with the truth."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from realm.bank.worth import MAJORITY
from realm.evaluate.eval_set import make_problem_key
from realm.evaluate.records import Measurement
from realm.evaluate.stats import wilson_interval
from realm.method.rewards import find_named_flaws
from realm.sampling import Answer, EvalPrompt
from realm.verify.verifier import majorities

if TYPE_CHECKING:
    from realm.core.records import Judged, RouteSet
    from realm.run import Run

Groups = Sequence[Sequence[Answer]]
"""The answers to each prompt."""
Pick = Callable[["Run", EvalPrompt, Sequence[Answer]], Any]
"""Returns the answer that a mode takes, from a prompt and the model's answers to it."""


def measure_mode(
    mode: str, run: Run, prompts: Sequence[EvalPrompt], groups: Groups, pick: Pick | None
) -> Measurement:
    """Return what a mode reached on the prompts of one split, given the answers to each.

    `pick` gives the answer that the mode takes; `None` takes all answers as they are. An undecided
    answer counts as not right.
    """
    sizes = {len(group) for group in groups}
    num_samples = fmean(map(len, groups)) if len(sizes) > 1 else len(groups[0])
    figures: dict[str, Any] = {"samples": num_samples} if num_samples > 1 else {}
    if pick is None:
        correct = [[answer.judged.correct for answer in group] for group in groups]
        formed = fmean(one.judged.well_formed for group in groups for one in group)
        figures["well_formed_rate"] = formed
        is_probe = prompts[0].kind is not None
        figures |= summarize_probe(groups) if is_probe else summarize_verdicts(run, prompts, groups)
    else:
        correct = [[right] for right in check_picks(run, prompts, groups, pick)]
        if mode == "self_consistency":
            # For the chart of accuracy against tokens.
            figures["curve"] = _measure_curve(run, prompts, groups, pick)
    # A picked answer costs all samples together; plain samples are averaged.
    combine = fmean if pick is None else sum
    costs = [
        (
            prompt.num_tokens + combine(answer.judged.num_tokens for answer in group),
            prompt.prompt_tokens + combine(answer.prompt_tokens for answer in group),
        )
        for prompt, group in zip(prompts, groups, strict=True)
    ]
    shares = [fmean(one is True for one in ones) for ones in correct]
    keys = [make_problem_key(prompt.problem) for prompt in prompts]
    return Measurement(
        mode=mode,
        split=prompts[0].problem.split,
        seed=run.config.seed,
        outcomes=dict(zip(keys, shares, strict=True)),
        tokens_per_problem=fmean(written for written, _ in costs),
        prompt_tokens_per_problem=fmean(read for _, read in costs),
        figures=figures | {"undecided": sum(ones.count(None) for ones in correct)},
    )


def cut_to_budget(group: Sequence[Answer], budget: int) -> Sequence[Answer]:
    """Return the first answers of a group that together come nearest to a number of tokens.

    At least one is returned, and all of them if they do not reach it.
    """
    spent, best, nearest = 0, 1, None
    for size, answer in enumerate(group, 1):
        spent += answer.judged.num_tokens
        distance = abs(spent - budget)
        if nearest is None or distance < nearest:
            best, nearest = size, distance
    return group[:best]


def _measure_curve(
    run: Run, prompts: Sequence[EvalPrompt], groups: Groups, pick: Pick
) -> list[float]:
    """Return the accuracy of the answer picked from the first 1, 2, ... samples."""
    curve = []
    for size in range(1, len(groups[0]) + 1):
        first = [group[:size] for group in groups]
        correct = check_picks(run, prompts, first, pick)
        curve.append(fmean(one is True for one in correct))
    return curve


def check_picks(
    run: Run, prompts: Sequence[EvalPrompt], groups: Groups, pick: Pick
) -> list[bool | None]:
    """Return whether each picked answer is right; `None` if undecided. No answer is wrong."""
    # All answers are compared at once: slow kinds of answers compare in parallel.
    picked = [pick(run, *both) for both in zip(prompts, groups, strict=True)]
    said = [index for index, answer in enumerate(picked) if answer is not None]
    correct: list[bool | None] = [False] * len(picked)
    pairs = [(picked[index], prompts[index].problem.answer) for index in said]
    for index, verdict in zip(said, run.domain.verifier.same_all(pairs), strict=True):
        correct[index] = verdict
    return correct


def summarize_verdicts(run: Run, prompts: Sequence[EvalPrompt], groups: Groups) -> dict[str, Any]:
    """Return the figures of assisted answers; none for prompts without routes to judge.

    A missing verdict counts as wrong. A class of which no route was shown has no figure. If no
    answer holds a verdict none was asked for, and there are no figures about verdicts.
    """
    shown = [
        (prompt.routes, answer.judged)
        for prompt, group in zip(prompts, groups, strict=True)
        for answer in group
        if answer.judged.labels  # there are none if the prompt asks for no verdicts
    ]
    if not shown:
        return {}
    # A habit shows as: copying the majority, one verdict for all routes, or a favourite place.
    figures: dict[str, Any] = {"k": max(len(judged.labels) for _, judged in shown)}
    if (copy_rate := _measure_copying(run, shown)) is not None:
        figures["copy_rate"] = copy_rate
    verdicts = [judged.verdicts for _, judged in shown]
    if all(verdict is None for said in verdicts for verdict in said):
        return figures  # such as the prompt of CoT-Synthesizer
    figures |= _rate_verdicts("verdict_accuracy", verdicts, [one.labels for _, one in shown])
    if any(route.process is not None for routes, _ in shown for route in routes.routes):
        outcomes = [routes.labels("outcome") for routes, _ in shown]
        figures |= _rate_verdicts("outcome_verdict_accuracy", verdicts, outcomes)
    exact = [is_named for _, judged in shown for is_named in find_named_flaws(judged)]
    if exact:
        figures |= {"first_flaw_named": fmean(exact), "known_flaws": len(exact)}
    for name, constant in (("always_sound_rate", True), ("always_flawed_rate", False)):
        figures[name] = fmean(all(one is constant for one in said) for said in verdicts)
    figures["sound_rate_by_position"] = [
        fmean(said[place] is True for said in verdicts if place < len(said))  # some show fewer
        for place in range(figures["k"])
    ]
    return figures


def summarize_probe(groups: Groups) -> dict[str, Any]:
    """Return how often the one route of a prompt is called sound, and its flaw named exactly.

    Both have a Wilson interval. A missing verdict calls a route neither sound nor flawed.
    """
    judged = [answer.judged for group in groups for answer in group]
    shares = {
        "called_sound": [one.verdicts == (True,) for one in judged],
        "first_flaw_named": [is_named for one in judged for is_named in find_named_flaws(one)],
    }
    figures: dict[str, Any] = {"known_flaws": len(shares["first_flaw_named"])}
    for name, hits in shares.items():
        if hits:
            figures[name] = fmean(hits)
            figures[f"{name}_ci95"] = list(wilson_interval(sum(hits), len(hits)))
    return figures


def select_hard(measurements: Sequence[Measurement]) -> list[Measurement]:
    """Return what each model reached on the hard problems of `test`, alone and with routes.

    A problem is hard for a model that solves it in less than half of its own samples. The split
    `hard` holds the problems that are hard where reinforcement learning starts, the same for all
    models; `own_hard` those that are hard for the model itself. Nobody counted their tokens.
    """
    start = find_start([one.method for one in measurements])
    shares = {
        (one.method, one.seed): one.outcomes
        for one in measurements
        if (one.mode, one.split) == ("sampled", "test")
    }
    found = []
    for one in measurements:
        is_wanted = one.mode in ("autonomous", "assisted") or one.method == MAJORITY
        if one.split != "test" or one.source is not None or not is_wanted:
            continue
        # For the start itself both would be the same.
        by_split = {"hard": start} | ({"own_hard": one.method} if one.method != start else {})
        for split, judge in by_split.items():
            # A problem that was not sampled counts as solved, so it is hard for nobody.
            share_of = shares.get((judge, one.seed), {})
            outcomes = {
                key: right for key, right in one.outcomes.items() if share_of.get(key, 1) < 0.5
            }
            if outcomes:
                figures = {name: one.figures[name] for name in ("k",) if name in one.figures}
                found.append(
                    replace(
                        one,
                        split=split,
                        outcomes=outcomes,
                        tokens_per_problem=None,
                        prompt_tokens_per_problem=None,
                        figures=figures,
                    )
                )
    return found


def find_start(methods: Collection[str]) -> str:
    """Return the model where reinforcement learning starts, of those that were measured."""
    return "distilled" if "distilled" in methods else "base"


def _measure_copying(run: Run, shown: Sequence[tuple[RouteSet, Judged]]) -> float | None:
    """Return how often the answer is the majority answer of the routes, if they have one."""
    same_all = run.domain.verifier.same_all
    voted = majorities([[one.answer for one in routes.routes] for routes, _ in shown], same_all)
    pairs = [
        (judged.answer, vote)
        for (_, judged), vote in zip(shown, voted, strict=True)
        if vote is not None
    ]
    if not pairs:
        return None
    copied = same_all([pair for pair in pairs if pair[0] is not None])
    return sum(one is True for one in copied) / len(pairs)


def _rate_verdicts(
    name: str, verdicts: Sequence[Sequence[bool | None]], labels: Sequence[Sequence[bool | None]]
) -> dict[str, float]:
    """Return the share of right verdicts: on all routes, on sound ones, and on flawed ones."""
    pairs: list[tuple[bool | None, bool | None]] = []
    for said, truths in zip(verdicts, labels, strict=True):
        pairs += zip(said, truths, strict=True)
    pairs = [pair for pair in pairs if pair[1] is not None]  # own samples may be undecided
    figures = {name: fmean(verdict is label for verdict, label in pairs)}
    for truth, word in ((True, "sound"), (False, "flawed")):
        of_class = [verdict is truth for verdict, label in pairs if label is truth]
        if of_class:
            figures[f"{name}_{word}"] = fmean(of_class)
    return figures
