"""RFT, rejection-sampling fine-tuning (Yuan et al., arXiv 2308.01825).

The student is trained on its own right chains.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from realm.baselines.further import count_further_completions, train_further
from realm.sampling import LazyPolicy, Sampling, make_prompt, sample_and_judge

if TYPE_CHECKING:
    from realm.run import Run
    from realm.sampling import Answer, EvalPrompt

logger = logging.getLogger(__name__)


def run_rft(run: Run) -> None:
    """Train RUN/distilled on right ones of as many samples as ReaLM has; write RUN/model."""
    from realm.train.rl import select_rl_problems

    config, rollouts = run.config, count_further_completions(run)
    problems = select_rl_problems(run)
    temperature = config.train.grpo.get("temperature", 1.0)
    # With fewer rollouts than problems: one sample for each of the first problems.
    prompts = [make_prompt(problem, config) for problem in problems[:rollouts]]
    groups = sample_and_judge(
        run,
        LazyPolicy(run.path("distilled"), config),
        prompts,
        run.work("rft") / "samples.jsonl",
        mode="rft",
        # As many samples as ReaLM has rollouts, at the temperature of its rollouts.
        sampling=Sampling(max(1, rollouts // len(problems)), temperature),
    )
    rows = select_right_chains(prompts, groups)
    num_samples = sum(map(len, groups))
    logger.info(
        "RFT: %d samples of %d problems; %d right, well-formed and distinct ones are taught.",
        num_samples, len(prompts), len(rows),
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
