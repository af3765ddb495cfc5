"""`realm forecast`: will reinforcement learning pay for this run?"""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING

from realm.core.errors import RunError
from realm.method.forecast import Forecast, measure_pilot
from realm.stages import STAGES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realm.core.records import Judged
    from realm.run import Run

SHARED = ("problems.jsonl", "routes.jsonl", "rules.md", "sft.jsonl", "distilled")
"""What the pilot takes over from the run."""


def forecast_run(run: Run, *, pilot_rollouts: int = 0) -> Forecast:
    """Return the forecast for the stage `train` of a run.

    Args:
        run: A run whose stages before `train` are done.
        pilot_rollouts: Train for about as many rollouts, and measure the gain. 0: no pilot.

    Raises:
        RunError: A file that `train` reads is missing, or this run does not train.
    """
    if not run.has_stage("train"):
        raise RunError(f"{run.config.source}: a run without a model trains none. Set model.")
    run.find_inputs("train")  # raises what is missing
    # These load torch, which a wrong folder should not wait for.
    from realm.policy import Policy
    from realm.train.arguments import count_rollouts, make_grpo_arguments
    from realm.train.headroom import make_forecast, sample_groups, select_asked_problems
    from realm.train.rl import find_start, select_rl_problems

    problems = select_rl_problems(run)
    arguments = make_grpo_arguments(run.config, run.folder, num_problems=len(problems))
    in_round = count_rollouts(arguments)
    rollouts = run.config.rounds * in_round
    new_tokens = arguments.max_completion_length
    assert new_tokens  # TRL declares as optional what its defaults set
    think_end = run.config.prompt.think_end
    keep = [think_end] if think_end else []
    start = Policy(find_start(run), keep=keep)
    forecast = make_forecast(start, problems, run, rollouts=rollouts, new_tokens=new_tokens)
    if not pilot_rollouts:
        return forecast
    asked = select_asked_problems(run, problems)
    before = sample_groups(start, asked, run, new_tokens=new_tokens)
    del start  # the pilot loads the model again
    per_step = in_round / arguments.max_steps
    num_steps = math.ceil(pilot_rollouts / per_step)
    pilot = _train_pilot(run, num_steps)
    trained = Policy(pilot.path("model"), keep=keep)
    after = sample_groups(trained, asked, run, new_tokens=new_tokens)
    measured = measure_pilot(round(num_steps * per_step), _share_right(before), _share_right(after))
    return replace(forecast, pilot=measured)


def _train_pilot(run: Run, num_steps: int) -> Run:
    """Train for a few steps in a folder inside the run, and return that run."""
    grpo = {**run.config.train.grpo, "max_steps": num_steps}
    # It samples the headroom too; here once is enough.
    headroom = {"problems": 1, "samples": 2}
    settings = {"rounds": 1, "train.grpo": grpo, "train.headroom": headroom}
    config = run.config.with_settings(settings)
    pilot = run.derive(run.work("forecast") / f"pilot-{num_steps}", config, STAGES)
    for name in SHARED:
        if run.path(name).exists():
            pilot.adopt(run.path(name), name)
    pilot.do("train")
    return pilot


def _share_right(groups: Sequence[Sequence[Judged]]) -> list[float]:
    # An undecided sample is not right, before the pilot and after it.
    return [fmean(one.correct is True for one in group) for group in groups]
