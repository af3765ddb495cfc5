"""Headroom: what the policy can already do sometimes, which is all that reinforcement learning can sharpen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from realm.config.root import Config
from realm.core.records import Problem, RouteSet
from realm.core.runs import progress
from realm.domains import Domain
from realm.method.parse import parse_completion
from realm.method.prompt import render_prompt
from realm.policy import Policy
from realm.verify.vote import majority

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
    said = [
        parse_completion(completion.text, 0, think_end=config.prompt.think_end).answer
        for completion in completions
    ]
    answers = [None if text is None else domain.verifier.extract(text) for text in said]
    groups = [answers[i : i + settings.samples] for i in range(0, len(answers), settings.samples)]
    return summarize(
        [(group, problem.answer) for group, problem in zip(groups, chosen, strict=True)],
        domain.verifier.same,
    )


def summarize(
    groups: Sequence[tuple[Sequence[Any], Any]], same: Callable[[Any, Any], bool]
) -> Headroom:
    """Return the headroom of (answers of one problem, its gold answer) pairs."""

    def is_right(answer: Any, gold: Any) -> bool:
        return answer is not None and same(answer, gold)

    right = [[is_right(answer, gold) for answer in answers] for answers, gold in groups]
    votes = [is_right(majority(answers, same), gold) for answers, gold in groups]
    num_samples = len(right[0])
    return Headroom(
        problems=len(groups),
        samples=num_samples,
        mean_at_1=sum(map(sum, right)) / (len(right) * num_samples),
        majority_at_n=sum(votes) / len(votes),
        pass_at_n=sum(map(any, right)) / len(right),
        mixed_share=sum(any(hits) and not all(hits) for hits in right) / len(right),
    )
