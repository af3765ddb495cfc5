"""Callbacks of the trainings: checkpoints and state in them, fade.jsonl, alarms, progress."""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from realm.checkpoint import find_checkpoint_fault
from realm.core.jsonl import append_jsonl, explain_damage, read_jsonl, write_jsonl
from realm.core.ranks import count_processes, run_on_main
from realm.core.terminal import progress
from realm.method.fade import expected_share

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

    from realm.method.gate import GuidanceGate, Outcome

logger = logging.getLogger(__name__)

PATIENCE = 5
"""Logged steps in a row that a figure must be beyond its bound to raise an alarm."""

_COLUMNS = ("progress", "share", "routes_shown", "assisted_reward", "autonomous_reward")
"""Always in a row of fade.jsonl, `None` if a step had no prompt of that mode."""
# TRL logs many more; these are the ones that the report and the alarms read.
_FIGURES = (
    "assisted_answer",
    "autonomous_answer",
    "first_flaw_score",
    "first_flaw_named",
    "undecided",
    "reward",
    "reward_std",
    "frac_reward_zero_std",
    "entropy",
)
_PREFIXES = ("verdict_", "always_", "position_", "copy_", "rewards/", "transfer_")

Row = Mapping[str, Any]


class TrainingState(TrainerCallback, ExportableState):
    """What training has observed of the two modes and a resumed run must know.

    Transformers writes `state()` into trainer_state.json, the file that completes a checkpoint.
    """

    def __init__(self, gate: GuidanceGate | None) -> None:
        """Keep the gate, if the fade is of kind gated."""
        self.gate = gate
        self.bucket_figures: dict[str, Any] = {}
        """The gate's figures of the last step, a list over the buckets each, the hardest first."""

    def observe(self, outcomes: Sequence[Outcome]) -> None:
        """Count the completions of one generation, of all processes: all move their gates alike."""
        if self.gate is not None:
            self.gate.observe(outcomes)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.gate is None:
            return
        # The counter has moved on already: the prompts of this step were written one earlier.
        progress = (state.global_step - 1) / state.max_steps
        buckets, fade = self.gate.buckets, self.gate.fade
        self.bucket_figures = {
            "bucket_share": [expected_share(progress, fade, bucket.share) for bucket in buckets],
            "bucket_assisted": [bucket.assisted.value for bucket in buckets],
            "bucket_autonomous": [bucket.autonomous.value for bucket in buckets],
        }
        # After the figures: the row of this step shows the guidance that its prompts had.
        self.gate.advance(state.global_step, state.max_steps)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must hold."""
        kept = {} if self.gate is None else {"gate": self.gate.state()}
        return {"args": {}, "attributes": kept}

    def load(self, checkpoint: Path) -> None:
        """Restore the state of a checkpoint."""
        # By hand: Transformers restores callbacks only with a setting, and then makes new objects.
        path = checkpoint / "trainer_state.json"
        with explain_damage(path):
            callbacks = json.loads(path.read_text(encoding="utf-8"))["stateful_callbacks"]
            kept = callbacks[type(self).__name__]["attributes"]
            if self.gate is not None:
                self.gate.load(kept["gate"])


class FadeLogger(TrainerCallback):
    """Writes fade.jsonl, one row per logged step, and logs the alarms that a row raises."""

    def __init__(self, path: Path, training_state: TrainingState) -> None:
        self.path = path
        self.training_state = training_state
        self._alarms = AlarmMonitor()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            # A resumed run must count the steps before it, and not repeat their alarms.
            for row in read_jsonl(self.path):
                self._alarms.check_row(row)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        if not state.is_world_process_zero or not logs or "share" not in logs:
            return
        # A mean over no completion (all undecided) is NaN, which must not reach a report.
        known = {
            name: value
            for name, value in logs.items()
            if value is not None and not (isinstance(value, float) and math.isnan(value))
        }
        row = {"step": state.global_step} | {name: known.get(name) for name in _COLUMNS}
        row |= {
            name: value
            for name, value in known.items()
            if name in _FIGURES or name.startswith(_PREFIXES)
        }
        row |= self.training_state.bucket_figures
        if alarms := self._alarms.check_row(row):
            row["alarms"] = alarms
            for alarm in alarms:
                logger.warning("Alarm at step %d: %s", state.global_step, alarm)
        with append_jsonl(self.path) as append:
            append(row)


def drop_rows_after(path: Path, step: int) -> None:
    """Remove the rows after `step` from a file of the run; a missing file becomes an empty one."""
    with append_jsonl(path):
        pass  # opening repairs a torn last line
    with explain_damage(path):
        kept = [row for row in read_jsonl(path) if row["step"] <= step]
    write_jsonl(path, kept)


class AlarmMonitor:
    """Raises an alarm, once, when a figure of fade.jsonl stays where it shows a habit.

    What it says depends on the rows alone, so a resumed run says what an uninterrupted one would.
    """

    def __init__(self) -> None:
        self._num_beyond: Counter[str] = Counter()
        self._raised: set[str] = set()

    def check_row(self, row: Row) -> list[str]:
        """Return the alarms that this row raises; a row without a figure does not count."""
        raised = []
        for name, (is_beyond, sentence) in _ALARMS.items():
            beyond = is_beyond(row)
            if beyond is None:
                continue
            self._num_beyond[name] = self._num_beyond[name] + 1 if beyond else 0
            if self._num_beyond[name] >= PATIENCE and name not in self._raised:
                self._raised.add(name)
                raised.append(f"{name}: for {PATIENCE} logged steps {sentence}")
        return raised


def _is_constant(row: Row, habit: str, other: str) -> bool | None:
    """Return whether nearly all routes are called alike although the other class was shown too."""
    accuracy, rate = row.get(f"verdict_accuracy_{other}"), row.get(habit)
    return None if accuracy is None or rate is None else rate > 0.8 and accuracy < 0.2


def _is_format_only(row: Row) -> bool | None:
    answer, form = row.get("rewards/answer/mean"), row.get("rewards/format/mean")
    return None if answer is None or form is None else answer < 0.05 and form > 0.8


def _exceeds(figure: str, bound: float) -> Callable[[Row], bool | None]:
    return lambda row: None if row.get(figure) is None else abs(row[figure]) > bound


# The bounds are loose on purpose: an alarm should mean a habit, and not noise.
_ALARMS: dict[str, tuple[Callable[[Row], bool | None], str]] = {
    "always sound": (
        lambda row: _is_constant(row, "always_sound", "flawed"),
        "over 80% of the completions call every route sound, flawed ones included. Distil with "
        "more assisted rows (distill.assisted_share) or raise train.reward.verdict.",
    ),
    "always flawed": (
        lambda row: _is_constant(row, "always_flawed", "sound"),
        "over 80% of the completions call every route flawed, sound ones included. Distil with "
        "more assisted rows (distill.assisted_share) or raise train.reward.verdict.",
    ),
    "position bias": (
        _exceeds("position_bias", 0.4),
        "the first and the last route of a prompt are called sound with frequencies over 40 "
        "points apart, though their order is random. Show fewer routes (train.fade.routes) or "
        "distil with more assisted rows.",
    ),
    "copying the majority": (
        _exceeds("copy_wrong_rate", 0.8),
        "over 80% of the answers repeat the routes' majority where it is wrong. Raise "
        "train.mix.flawed_majority_share, or show routes less often (train.fade.dropout).",
    ),
    "format only": (
        _is_format_only,
        "the format term is nearly always paid and the answer term nearly never. Lower "
        "train.reward.format, use easier problems, or distil first.",
    ),
    "groups without signal": (
        _exceeds("frac_reward_zero_std", 0.8),
        "in over 80% of the groups all completions earn the same, so they teach nothing. Raise "
        "train.grpo.num_generations or the temperature, or use problems that are neither too "
        "easy nor too hard.",
    ),
}


class ProgressBar(TrainerCallback):
    """Shows this project's progress bar in place of the prints of Transformers."""

    def __init__(self, description: str, stack: ExitStack) -> None:
        self.description = description
        self._stack = stack
        self._advance: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self._advance = self._stack.enter_context(progress(self.description, state.max_steps))
            self._advance(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._advance is not None:
            self._advance(1)


class TrainedError(Exception):
    """A training was killed between its last checkpoint and the save, and has nothing to do."""


class StopIfTrained(TrainerCallback):
    """Ends a training that has made all its steps, once its checkpoint is loaded.

    Transformers would train one step more before it looks at the number of steps.
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step >= state.max_steps:
            raise TrainedError


class GradientCheck(TrainerCallback):
    """Stops training before a gradient that is no number damages the weights."""

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        gradients = [weight.grad for weight in kwargs["model"].parameters()]
        gradients = [gradient for gradient in gradients if gradient is not None]
        # In float16 the loss is scaled until no step has such gradients.
        if args.fp16 or not gradients:
            return
        # One number for all: a NaN or an infinity anywhere makes it one as well.
        norm = torch.nn.utils.get_total_norm(gradients)
        if not norm.isfinite():
            raise FloatingPointError(f"the gradient is {norm}")


class LaunchNote(TrainerCallback, ExportableState):
    """Notes in trainer_state.json how many processes wrote a checkpoint, and the rows of a step."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def state(self) -> dict[str, Any]:
        """Return what another launch must know to continue."""
        return {"args": {}, "attributes": {"processes": count_processes(), "rows": self.rows}}


def find_rows_per_step(folder: Path) -> int | None:
    """Return the rows of a step of the training that left its checkpoints in `folder`, if any."""
    checkpoint = find_last_checkpoint(folder)
    if checkpoint is None:
        return None
    path = checkpoint / "trainer_state.json"
    with explain_damage(path):
        noted = json.loads(path.read_text(encoding="utf-8"))["stateful_callbacks"]
        return int(noted[LaunchNote.__name__]["attributes"]["rows"])


def find_last_checkpoint(folder: Path) -> Path | None:
    """Return the newest complete checkpoint; those that a kill left or that are torn are removed.

    trainer_state.json is written last, so that it marks a checkpoint as complete, but for the
    generators of other processes.
    """
    return run_on_main(partial(_find_last_checkpoint, folder))


def _find_last_checkpoint(folder: Path) -> Path | None:
    complete = []
    for checkpoint in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        try:
            state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
            noted = state.get("stateful_callbacks", {}).get(LaunchNote.__name__)
            num_processes = noted["attributes"]["processes"] if noted else 1
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            shutil.rmtree(checkpoint, ignore_errors=True)
            continue
        if fault := find_checkpoint_fault(checkpoint, num_processes):
            # From the one before, the steps in between are trained again, with the same result.
            logger.warning("%s: damaged (%s), so it is not used.", checkpoint, fault)
            shutil.rmtree(checkpoint, ignore_errors=True)
            continue
        complete.append(checkpoint)
    return max(complete, key=find_step, default=None)


def find_step(checkpoint: Path) -> int:
    """Return the optimizer step of a checkpoint, which its folder is named after."""
    return int(checkpoint.name.rsplit("-", 1)[1])
