"""Headroom: what the policy can already do sometimes, which is all that reinforcement learning can sharpen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from realm.config.root import Config
from realm.core.progress import progress
from realm.core.records import Judged, Problem, RouteSet
from realm.domains import Domain
from realm.method.prompt import render_prompt
from realm.policy import Policy
from realm.verify.judge import judge_all
from realm.verify.verifier import Verifier
from realm.verify.vote import majorities

LITTLE_MIXED = 0.1
"""Below this share of mixed groups most of a batch teaches nothing."""


@dataclass(frozen=True, kw_only=True)
class Headroom:
    """Autonomous accuracy over several samples per problem, before training."""

    problems: int
    samples: int
    mean_at_1: float
    majority_at_n: float
    pass_at_n: float
    mixed_share: float
    """Share of problems with right and wrong samples: the only groups whose advantages are not zero."""
    undecided: int = 0
    """Samples that the verifier could not decide in its time."""

    def warning(self) -> str | None:
        """Return what stands in the way of reinforcement learning; `None` where nothing does."""
        if self.pass_at_n == 0:
            return "The policy never answers right: nothing to reinforce. Distil first (recipe: r1), or use easier problems."
        if self.mean_at_1 == 1:
            return "The policy is always right already, so there is nothing to learn. Use harder problems."
        if self.mixed_share < LITTLE_MIXED:
            return (
                f"Little headroom: only {self.mixed_share:.0%} of the problems are answered now right, now wrong, so "
                "most groups carry no signal. Raise train.grpo.num_generations, take less extreme problems, or distil more."
            )
        return None

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"warning": self.warning()}


def measure_headroom(
    policy: Policy, problems: Sequence[Problem], domain: Domain, config: Config, *, new_tokens: int
) -> Headroom:
    """Return the headroom of `policy` on the first problems of `problems`, sampled autonomously as RL will sample."""
    settings, chosen = config.train.headroom, list(problems)[: config.train.headroom.problems]
    templates = {"autonomous": config.prompt.autonomous, "assisted": config.prompt.assisted}
    prompts = [
        policy.render(
            render_prompt(problem.question, RouteSet(problem_id=problem.id), **templates),
            config.prompt.system,
        )
        for problem in chosen
    ]
    with progress("headroom", len(prompts)) as advance:
        completions = policy.generate(
            prompts,
            max_new_tokens=new_tokens,
            batch_tokens=config.evaluate.batch_tokens,
            seed=config.seed,
            temperature=config.train.grpo.get("temperature", 1.0),
            num_samples=settings.samples,
            on_done=lambda done, _: advance(len(done)),
        )
    golds = [problem.answer for problem in chosen for _ in range(settings.samples)]
    judged = judge_all(
        [completion.text for completion in completions],
        golds=golds,
        verifier=domain.verifier,
        think_end=config.prompt.think_end,
    )
    groups = [judged[i : i + settings.samples] for i in range(0, len(judged), settings.samples)]
    return summarize(groups, [problem.answer for problem in chosen], domain.verifier)


def summarize(
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
