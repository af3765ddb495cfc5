"""Measure what reinforcement learning can gain, before it starts: headroom and forecast."""

from __future__ import annotations

import logging
import tempfile
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from realm.bank.draw import draw_evaluation_sets
from realm.bank.eligible import select_teachable_routes
from realm.core.jsonl import read_json, read_jsonl, read_problems, read_routes, write_json
from realm.core.ranks import count_processes, is_main_process, run_on_main
from realm.core.terminal import progress
from realm.method.forecast import Forecast, Headroom
from realm.method.prompt import render_reasoning
from realm.method.steps import drop_answer_step
from realm.method.thoughts import put_chain_in_thoughts
from realm.sampling import OWN_SOURCE, make_prompt
from realm.verify.judge import judge_all
from realm.verify.verifier import majorities

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from realm.core.records import Judged, Problem, Route
    from realm.policy import Completion, Policy
    from realm.run import Run
    from realm.sampling import EvalPrompt
    from realm.verify.verifier import Verifier

logger = logging.getLogger(__name__)

SAMPLES_WITH_ROUTES = 2
"""Fewer than without routes: only their mean is needed, and these prompts are long."""


def report_forecast(
    policy: Policy, problems: Sequence[Problem], run: Run, *, rollouts: int, new_tokens: int
) -> None:
    """Log the forecast and write RUN/headroom.json; a resumed run keeps its own.

    Args:
        policy: The model that reinforcement learning starts from.
        problems: The problems that it uses.
        run: The run.
        rollouts: The number of completions that it will sample.
        new_tokens: The maximum length of a completion.
    """
    # A resumed run starts from the same model: measuring it again would only cost time.
    kept, path = run.work("train") / "headroom.json", run.path("headroom.json")
    if run_on_main(kept.exists):
        if is_main_process():
            write_json(path, read_json(kept))
        return
    forecast = make_forecast(policy, problems, run, rollouts=rollouts, new_tokens=new_tokens)
    (logger.warning if forecast.obstacles else logger.info)("%s", forecast.describe())
    for place in (kept, path) if is_main_process() else ():
        write_json(place, forecast.to_json())


def make_forecast(
    policy: Policy, problems: Sequence[Problem], run: Run, *, rollouts: int, new_tokens: int
) -> Forecast:
    """Return the forecast; the arguments are those of `report_forecast`."""
    asked = select_asked_problems(run, problems)
    groups = sample_groups(policy, asked, run, new_tokens=new_tokens)
    golds = [problem.answer for problem in asked]
    everything = read_problems(run.path("problems.jsonl"))
    by_id = {problem.id: problem for problem in everything}
    train = {problem.id for problem in everything if problem.split == "train"}
    routes = read_routes(run.path("routes.jsonl"))
    with_routes = measure_with_routes(policy, asked, routes, run, new_tokens=new_tokens)
    # Those of held-out sources too, since validation problems may have no others.
    right = [
        route
        for route in select_teachable_routes(routes, (), by_id)
        if route.correct and route.source != OWN_SOURCE  # its samples in an earlier round
    ]
    teachable = {
        route.problem_id
        for route in right
        if route.problem_id in train and route.source not in run.config.routes.held_out
    }
    path = run.path("sft.jsonl")
    # Without distillation it could only be of another run in this folder.
    taught = read_jsonl(path) if run.config.recipe == "r1" and path.exists() else []
    taught_loss, held_out_loss = _measure_losses(policy, taught, right, by_id, run)
    return Forecast(
        headroom=summarize_groups(groups, golds, run.domain.verifier),
        measured_on=asked[0].split,
        rollouts=rollouts,
        with_routes=with_routes,
        has_transfer=run.config.train.fade.transfer > 0,
        has_harvest=run.config.distill.every_round,
        no_chain_share=fmean(problem.id not in teachable for problem in problems),
        untaught=len(teachable - {row["problem_id"] for row in taught}),
        taught_loss=taught_loss,
        held_out_loss=held_out_loss,
    )


def select_asked_problems(run: Run, problems: Sequence[Problem]) -> list[Problem]:
    """Return the problems to sample: of validation, or of `problems` if there are none."""
    everything = read_problems(run.path("problems.jsonl"))
    held_out = [problem for problem in everything if problem.split == "validation"]
    return list(held_out or problems)[: run.config.train.headroom.problems]


def sample_groups(
    policy: Policy, problems: Sequence[Problem], run: Run, *, new_tokens: int
) -> list[list[Judged]]:
    """Return judged samples of each problem without routes, drawn as training will draw them."""
    prompts = [make_prompt(problem, run.config) for problem in problems]
    num_samples = run.config.train.headroom.samples
    return _sample_prompts(policy, prompts, run, new_tokens=new_tokens, num_samples=num_samples)


def measure_with_routes(
    policy: Policy,
    problems: Sequence[Problem],
    routes: Sequence[Route],
    run: Run,
    *,
    new_tokens: int,
) -> float | None:
    """Return the accuracy of samples that see routes of evaluation; `None` if there are none."""
    config = run.config
    if config.train.fade.kind == "none":
        return None
    shown = draw_evaluation_sets(
        [problem.id for problem in problems],
        routes,
        # Held-out sources need not have written routes for training problems.
        held_out=config.routes.held_out if problems[0].split == "validation" else (),
        count=config.train.fade.routes,
        seed=config.seed,
    )
    prompts = [
        make_prompt(problem, config, shown[problem.id])
        for problem in problems
        if shown[problem.id].routes
    ]
    if not prompts:
        return None
    groups = _sample_prompts(
        policy, prompts, run, new_tokens=new_tokens, num_samples=SAMPLES_WITH_ROUTES
    )
    return _mean([one.correct for group in groups for one in group if one.correct is not None])


def _sample_prompts(
    policy: Policy, prompts: Sequence[EvalPrompt], run: Run, *, new_tokens: int, num_samples: int
) -> list[list[Judged]]:
    config = run.config
    title = "forecast, with routes" if prompts[0].routes.routes else "forecast"
    with progress(title, len(prompts)) as advance:
        completions = policy.generate(
            [policy.render(prompt.text, config.prompt.system) for prompt in prompts],
            max_new_tokens=new_tokens,
            batch_tokens=config.evaluate.batch_tokens,
            seed=config.seed,
            # As RL will sample: greedy answers would hide what the policy can do sometimes.
            temperature=config.train.grpo.get("temperature", 1.0),
            num_samples=num_samples,
            is_shared=True,
            # The other processes are about as far as this one.
            on_done=lambda done, _: advance(len(done) * count_processes()),
        )
    return run_on_main(partial(_judge, prompts, completions, run))


def _judge(
    prompts: Sequence[EvalPrompt], completions: Sequence[Completion], run: Run
) -> list[list[Judged]]:
    """Return the judged completions of each prompt; all samples of one stand in a row."""
    size = len(completions) // len(prompts)
    judged = judge_all(
        [completion.text for completion in completions],
        golds=[prompt.problem.answer for prompt in prompts for _ in range(size)],
        verifier=run.domain.verifier,
        think_end=run.config.prompt.think_end,
    )
    return [judged[i : i + size] for i in range(0, len(judged), size)]


def summarize_groups(
    groups: Sequence[Sequence[Judged]], golds: Sequence[Any], verifier: Verifier
) -> Headroom:
    """Return the headroom of the judged samples of each problem and its gold answer.

    An undecided sample is neither right nor wrong: it is left out of every figure and counted.
    """
    right = [[one.correct for one in group if one.correct is not None] for group in groups]
    answers = [[one.answer for one in group] for group in groups]
    votes = verifier.same_all(list(zip(majorities(answers, verifier.same_all), golds, strict=True)))
    decided = [correct for hits in right for correct in hits]
    return Headroom(
        problems=len(groups),
        samples=len(groups[0]),
        mean_at_1=_mean(decided),
        majority_at_n=_mean([vote for vote in votes if vote is not None]),
        pass_at_n=_mean([any(hits) for hits in right]),
        mixed_share=_mean([any(hits) and not all(hits) for hits in right]),
        advantage_variance=_mean([_mean(hits) * (1 - _mean(hits)) for hits in right]),
        undecided=sum(map(len, groups)) - len(decided),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _measure_losses(
    policy: Policy,
    taught: Sequence[Mapping[str, Any]],
    right: Sequence[Route],
    problems: Mapping[str, Problem],
    run: Run,
) -> tuple[float | None, float | None]:
    """Return the loss per token on taught chains and on right chains of validation problems."""
    from realm.train.trl import find_student_tags

    config = run.config
    most = config.train.headroom.problems
    # Rows without routes only, and not those of self-distillation, which have no completion.
    known = [
        row
        for row in taught
        if "completion" in row
        and row["prompt"] == make_prompt(problems[row["problem_id"]], config).text
    ]
    tags = find_student_tags(policy.tokenizer, config)
    others = {}
    for chain in right:
        problem = problems[chain.problem_id]
        # One chain of each; a right answer by wrong steps is nothing to learn.
        if problem.split == "validation" and chain.is_sound():
            gold = run.domain.verifier.render(problem.answer)
            text = render_reasoning(drop_answer_step(chain), gold)
            others[problem.id] = {
                "problem_id": problem.id,
                "prompt": make_prompt(problem, config).text,
                "completion": put_chain_in_thoughts(text, tags),
            }
    return (
        _measure_loss(policy, known[:most], run),
        _measure_loss(policy, list(others.values())[:most], run),
    )


def _measure_loss(policy: Policy, rows: Sequence[Mapping[str, Any]], run: Run) -> float | None:
    from realm.train.chains import measure_log_likelihoods
    from realm.train.trl import find_turn_end, tokenize_rows

    if not rows:
        return None
    tokenizer = policy.tokenizer
    closing = find_turn_end(policy.model, tokenizer, run.config)
    encoded = tokenize_rows(rows, tokenizer, prompts=run.config.prompt, closing=closing)
    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "likelihood.jsonl"
        return -fmean(measure_log_likelihoods(policy.model, encoded.to_list(), cache, pad))
