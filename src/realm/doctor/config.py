"""Examine a config: its data, model, teachers, settings, and whether it fits into the memory."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from realm.core.errors import RealmError
from realm.core.records import Problem
from realm.doctor.machine import Finding, examine_hub
from realm.sources import Attempt, NoReplyError, Request

if TYPE_CHECKING:
    from realm.config.root import Config
    from realm.config.teachers import ApiTeacher
    from realm.run import Run

CALL_TOKENS = 16
"""Longest reply of the one call to a teacher. Some endpoints refuse smaller limits."""


def examine_config(
    config: Path,
    overrides: Sequence[str],
    run_folder: Path | None = None,
    *,
    measure_speed: bool = False,
) -> Iterator[Finding]:
    """Yield findings about a config: its data, model, teachers and settings.

    A user's mistake is a finding whose text says what to do. Teachers behind an endpoint are asked
    one short question each. With `measure_speed` the model is loaded, and how long the stages take
    is a finding too.
    """
    from realm.config import load_config
    from realm.run import Run

    name = "config"
    try:
        settings = load_config(config, overrides)
        run = Run(run_folder or settings.run_folder(), settings)
        yield Finding(name=name, text=f"{settings.source}: all keys are known")
        name = "problems"
        splits = Counter(problem.split for problem in run.domain.problems(settings.seed))
        counts = ", ".join(f"{count:,} {split}" for split, count in sorted(splits.items()))
        yield Finding(name=name, text=counts)
    except RealmError as error:
        yield Finding(name=name, text=str(error), is_problem=True)
        return
    model = list(_examine_model(settings))
    yield from model
    if settings.routes.kind == "collect":
        for teacher in settings.routes.teachers:
            if teacher.kind == "api":
                yield examine_teacher(teacher, settings.routes.request_seconds)
    if not any(finding.is_problem for finding in model):
        stages = list(_examine_stages(run))
        yield from stages
        is_sound = not any(finding.is_problem for finding in stages)
        if measure_speed and settings.model is not None and is_sound:
            yield from _estimate_times(run)


def _examine_model(config: Config) -> Iterator[Finding]:
    if config.model is None:
        yield Finding(
            name="model",
            text="none: the routes are evaluated, and nothing is trained",
            fix="--set model=... (a folder, a GGUF file, a hub id or base-1m)",
        )
        return
    from realm.checkpoint import check_model, find_context_length

    try:
        name = config.resolve_model()
        if not Path(name).is_dir():
            yield examine_hub(name)
        skeleton = check_model(name, config.prompt.system)
    except RealmError as error:
        yield Finding(name="model", text=str(error), is_problem=True)
        return
    size = sum(weights.numel() for weights in skeleton.parameters())
    context = find_context_length(skeleton.config)
    reads = f", reads {context:,} tokens" if context else ""
    yield Finding(name="model", text=f"{name}: {size / 1e6:,.1f} million weights{reads}")


def _examine_stages(run: Run) -> Iterator[Finding]:
    # The stages announce each check, which the findings stand for.
    logging.getLogger("realm").setLevel(logging.WARNING)
    try:
        run.check_folder("data")
        run.check_stages(run.stages, force=True)
    except RealmError as error:
        yield Finding(name="settings", text=str(error), is_problem=True)
        return
    finally:
        logging.getLogger("realm").setLevel(logging.INFO)
    yield Finding(name="settings", text="those of all stages are in range and suit the model")
    for name, stage in run.stages.items():
        if run.has_stage(name) and stage.estimate and (cost := stage.estimate(run)):
            lines = [line.strip() for line in cost.splitlines()]
            yield Finding(name=f"plan: {name}", text=f"\n{'':<22}".join(lines))
    if run.config.model is not None:
        yield _judge_plan(run)


def _judge_plan(run: Run) -> Finding:
    """Return whether the largest stage fits into the memory that is free now."""
    import torch

    from realm.scale.plan import plan_distill, plan_eval, plan_train
    from realm.train.arguments import make_grpo_arguments, make_sft_arguments

    config, is_on_gpu = run.config, torch.cuda.is_available()
    peaks = {"eval": plan_eval(config, is_on_gpu=is_on_gpu).peak}
    # Self-distillation has no plan.
    if run.has_stage("distill") and config.distill.kind != "self":
        peaks["distill"] = plan_distill(config, make_sft_arguments(config, Path("unused"))).peak
    arguments = make_grpo_arguments(config, Path("unused"), num_problems=1)
    peaks["train"] = plan_train(config, arguments)[0].peak
    free = torch.cuda.mem_get_info()[0] if is_on_gpu else psutil.virtual_memory().available
    stage = max(peaks, key=lambda name: peaks[name])
    fix = (
        "lower per_device_train_batch_size or max_completion_length, set train.lora, or train on "
        "more or larger GPUs"
    )
    return Finding(
        name="room",
        text=f"the largest stage, {stage}, takes about {peaks[stage] / 1e9:.1f} GB, and "
        f"{free / 1e9:.1f} GB are free",
        fix=fix if peaks[stage] > free else "",
    )


def _estimate_times(run: Run) -> Iterator[Finding]:
    """Yield how long each stage takes at the speed that is measured now."""
    from realm.doctor.speed import SHORTEST, estimate_stages

    try:
        times = estimate_stages(run)
    except RealmError as error:
        yield Finding(name="time", text=str(error), is_problem=True)
        return
    least_of_all, most_of_all = map(sum, zip(*times.values(), strict=True))
    times["in all"] = (least_of_all, most_of_all)
    for name, (least, most) in times.items():
        yield Finding(
            name=f"time: {name}",
            text=f"about {describe_minutes(least)} if completions have {SHORTEST:.0%} of the "
            f"longest allowed length, {describe_minutes(most)} if they have all of it",
        )


def describe_minutes(seconds: float) -> str:
    """Return a time in minutes, hours or days, rounded.

    >>> [describe_minutes(seconds) for seconds in (20, 400, 9000, 400000)]
    ['1 min', '7 min', '2.5 h', '4.6 days']
    """
    if seconds < 3600:
        return f"{max(1, round(seconds / 60))} min"
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"


def examine_teacher(settings: ApiTeacher, seconds: float) -> Finding:
    """Return whether a teacher answers, from one call with a short reply.

    Args:
        settings: The teacher behind an endpoint.
        seconds: The time limit of the call.
    """
    from realm.sources.teachers.api import ApiTeacher

    extra = {
        key: CALL_TOKENS if key == "max_completion_tokens" else value
        for key, value in settings.extra.items()
    }
    short = settings.model_copy(update={"max_tokens": CALL_TOKENS, "extra": extra})
    request = Request(
        problem=Problem(id="doctor", split="train", question="", answer=""),
        kind="unguided",
        sample=0,
        messages=({"role": "user", "content": "Reply with OK."},),
    )

    @asynccontextmanager
    async def count_nothing() -> AsyncIterator[Attempt]:
        yield Attempt()

    async def ask() -> int | None:
        teacher = ApiTeacher(short, seconds=seconds, attempts=1)
        teacher.open()
        try:
            (reply,) = await teacher.ask([request], count_nothing)
        finally:
            await teacher.close()
        return reply.completion_tokens if reply else None

    name = f"teacher {settings.name}"
    started = time.monotonic()
    try:
        num_tokens = asyncio.run(ask())
    except (RealmError, NoReplyError) as error:
        return Finding(
            name=name,
            text=str(error),
            fix="check base_url, model and key_env of the teacher, and the network",
            is_problem=True,
        )
    took = time.monotonic() - started
    return Finding(
        name=name, text=f"{settings.model} answered in {took:.1f} s, {num_tokens} tokens"
    )
