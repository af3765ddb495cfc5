"""Headroom: what the policy can do some of the time, which is what RL can turn into always."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from realm.core.jsonl import read_json, write_json
from realm.core.ranks import count_processes, is_main_process, run_on_main
from realm.core.terminal import progress
from realm.sampling import make_prompt
from realm.verify.judge import judge_all
from realm.verify.verifier import majorities

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realm.core.records import Judged, Problem
    from realm.policy import Completion, Policy
    from realm.run import Run
    from realm.verify.verifier import Verifier

logger = logging.getLogger(__name__)

LITTLE_MIXED = 0.1
"""Below this share of mixed groups most of a batch teaches nothing."""


@dataclass(frozen=True, kw_only=True)
class Headroom:
    """Accuracy without routes over several samples per problem, before training.

    Example: of 2 problems with 4 samples each, one solved twice and one never, `mean_at_1` is 0.25,
    `pass_at_n` 0.5 and `mixed_share` 0.5.
    """

    problems: int
    samples: int
    mean_at_1: float
    majority_at_n: float
    pass_at_n: float
    mixed_share: float
    """Share of problems with right and wrong samples: only their groups have advantages."""
    undecided: int = 0
    """Samples that the verifier could not decide in its time."""

    def find_warning(self) -> str | None:
        """Return why reinforcement learning will not help, or `None` if nothing says so."""
        if self.pass_at_n == 0:
            return (
                "The policy never answers right: nothing to reinforce. Distil first (recipe: r1) "
                "or longer, or use easier problems."
            )
        if self.mean_at_1 == 1:
            return "The policy is always right already. Use harder problems."
        if self.mixed_share < LITTLE_MIXED:
            return (
                f"Little headroom: only {self.mixed_share:.0%} of the problems are answered now "
                "right, now wrong, so most groups carry no signal. Raise "
                "train.grpo.num_generations, use less extreme problems, or distil more."
            )
        return None


def report_headroom(
    policy: Policy, problems: Sequence[Problem], run: Run, *, new_tokens: int
) -> None:
    """Measure and log the headroom and write RUN/headroom.json; a resumed run keeps its own."""
    # A resumed run starts from the same model: measuring it again would only cost time.
    kept, path = run.work("train") / "headroom.json", run.path("headroom.json")
    if run_on_main(kept.exists):
        if is_main_process():
            write_json(path, read_json(kept))
        return
    found = measure_headroom(policy, problems, run, new_tokens=new_tokens)
    n = found.samples
    logger.info(
        f"Headroom on {found.problems} training problems, {n} samples each: "
        f"mean@1 {found.mean_at_1:.1%}, majority@{n} {found.majority_at_n:.1%}, "
        f"pass@{n} {found.pass_at_n:.1%}, mixed groups {found.mixed_share:.1%}."
    )
    warning = found.find_warning()
    if warning:
        logger.warning("Warning: %s", warning)
    for place in (kept, path) if is_main_process() else ():
        write_json(place, asdict(found) | {"warning": warning})


def measure_headroom(
    policy: Policy, problems: Sequence[Problem], run: Run, *, new_tokens: int
) -> Headroom:
    """Return the headroom on the first of `problems`, sampled without routes as RL will sample."""
    config = run.config
    settings = config.train.headroom
    chosen = problems[: settings.problems]
    prompts = [
        policy.render(make_prompt(problem, config).text, config.prompt.system) for problem in chosen
    ]
    with progress("headroom", len(prompts)) as advance:
        completions = policy.generate(
            prompts,
            max_new_tokens=new_tokens,
            batch_tokens=config.evaluate.batch_tokens,
            seed=config.seed,
            # As RL will sample: greedy answers would hide what the policy can do sometimes.
            temperature=config.train.grpo.get("temperature", 1.0),
            num_samples=settings.samples,
            is_shared=True,
            # The other processes are about as far as this one.
            on_done=lambda done, _: advance(len(done) * count_processes()),
        )
    return run_on_main(partial(_judge, chosen, completions, run))


def _judge(problems: Sequence[Problem], completions: Sequence[Completion], run: Run) -> Headroom:
    """Return the headroom that completions show; all samples of one problem stand in a row."""
    golds, size = [problem.answer for problem in problems], run.config.train.headroom.samples
    judged = judge_all(
        [completion.text for completion in completions],
        golds=[gold for gold in golds for _ in range(size)],
        verifier=run.domain.verifier,
        think_end=run.config.prompt.think_end,
    )
    groups = [judged[i : i + size] for i in range(0, len(judged), size)]
    return summarize_groups(groups, golds, run.domain.verifier)


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
        undecided=sum(map(len, groups)) - len(decided),
    )


def _mean(values: Sequence[bool]) -> float:
    return sum(values) / len(values) if values else 0.0
