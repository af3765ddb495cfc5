"""RFT, rejection-sampling fine-tuning (Yuan et al., arXiv 2308.01825).

The student is trained on its own right chains. It samples them alone, or, as a baseline of our own,
from prompts that show routes: then each is taught with the routes, and its reasoning without them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from realm.baselines.further import count_further_completions, train_further
from realm.core.errors import ConfigError
from realm.core.jsonl import read_routes
from realm.method.prompt import render_reasoning
from realm.sampling import LazyPolicy, Sampling, make_prompt, sample_and_judge

if TYPE_CHECKING:
    from realm.config.root import Config
    from realm.core.records import Problem
    from realm.run import Run
    from realm.sampling import Answer, EvalPrompt
    from realm.verify.verifier import Verifier

logger = logging.getLogger(__name__)


def run_rft(run: Run) -> None:
    """Train RUN/distilled on right ones of as many samples as ReaLM has; write RUN/model."""
    prompts = [make_prompt(problem, run.config) for problem in _select_problems(run)]
    groups = _sample_answers(run, prompts)
    _train_on_right(run, groups, select_right_chains(prompts, groups))


def run_rft_routes(run: Run) -> None:
    """The same with samples from prompts that show routes."""
    from realm.train.rows import draw_assisted_prompts

    routes = read_routes(run.path("routes.jsonl"))
    prompts = draw_assisted_prompts(_select_problems(run), routes, run.config)
    groups = _sample_answers(run, prompts)
    rows = select_right_chains(prompts, groups)
    rows += write_autonomous_rows(prompts, groups, run.config, run.domain.verifier)
    _train_on_right(run, groups, rows)


def check_rft_routes(run: Run) -> None:
    """Raise `ConfigError` for students whose chains cannot be taught without the routes."""
    if run.config.prompt.think_end:
        raise ConfigError(
            "rft_routes: found prompt.think_end. Private thinking about routes cannot be taught "
            "to a prompt without them. Leave rft_routes out of compare.methods."
        )


def _select_problems(run: Run) -> list[Problem]:
    from realm.train.rl import select_rl_problems

    # With fewer rollouts than problems: one sample for each of the first problems.
    return select_rl_problems(run)[: count_further_completions(run)]


def _sample_answers(run: Run, prompts: Sequence[EvalPrompt]) -> list[list[Answer]]:
    """Return as many samples as ReaLM has rollouts, at the temperature of its rollouts.

    The first prompts get one more, where the number does not divide by that of the prompts.
    """
    temperature = run.config.train.grpo.get("temperature", 1.0)
    policy = LazyPolicy(run.path("distilled"), run.config)

    def sample_prompts(
        name: str, asked: Sequence[EvalPrompt], sampling: Sampling
    ) -> list[list[Answer]]:
        path = run.work("rft") / f"{name}.jsonl"
        return sample_and_judge(run, policy, asked, path, mode="rft", sampling=sampling)

    count, rest = divmod(count_further_completions(run), max(1, len(prompts)))
    groups = sample_prompts("samples", prompts, Sampling(count, temperature))
    further = sample_prompts("one-more", prompts[:rest], Sampling(1, temperature, seed_offset=1))
    return [[*one, *more] for one, more in zip_longest(groups, further, fillvalue=())]


def _train_on_right(
    run: Run, groups: Sequence[Sequence[Answer]], rows: list[dict[str, Any]]
) -> None:
    num_samples = sum(map(len, groups))
    logger.info(
        "RFT: %d samples of %d problems; %d rows of right, well-formed and distinct ones are "
        "taught.", num_samples, len(groups), len(rows),
    )  # fmt: skip
    run.record_figures({"rollouts": num_samples, "right": len(rows)})
    train_further(run, "rft", rows, "rejection-sampling fine-tuning (arXiv 2308.01825)")


def select_right_chains(
    prompts: Sequence[EvalPrompt], groups: Sequence[Sequence[Answer]]
) -> list[dict[str, Any]]:
    """Return the samples to teach: right and well-formed, each text of a problem once."""
    rows = []
    for prompt, group in zip(prompts, groups, strict=True):
        texts: dict[str, str] = {}  # by the text with single spaces: copies teach nothing more
        for answer in group:
            if answer.judged.correct and answer.judged.well_formed:
                texts.setdefault(" ".join(answer.judged.text.split()), answer.judged.text)
        for text in texts.values():
            row = {"problem_id": prompt.problem.id, "prompt": prompt.text, "completion": text}
            rows.append(row | {"route": "self"})
    return rows


def write_autonomous_rows(
    prompts: Sequence[EvalPrompt],
    groups: Sequence[Sequence[Answer]],
    config: Config,
    verifier: Verifier,
) -> list[dict[str, Any]]:
    """Return the reasoning of right samples after prompts without routes, each once a problem."""
    from realm.train.transfer import stands_without_routes

    rows = []
    for prompt, group in zip(prompts, groups, strict=True):
        alone = make_prompt(prompt.problem, config).text
        answer = verifier.render(prompt.problem.answer)
        judged = [one.judged for one in group]
        right = [one for one in judged if one.correct and stands_without_routes(one)]
        for reasoning in dict.fromkeys(one.reasoning for one in right if one.reasoning):
            text = render_reasoning(reasoning, answer)
            row = {"problem_id": prompt.problem.id, "prompt": alone, "completion": text}
            rows.append(row | {"route": "self"})
    return rows
