"""What a training run writes down and must remember: fade.jsonl with its alarms, and the state that lives in checkpoints."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from realm.core.jsonl import append_jsonl, read_jsonl, write_jsonl
from realm.core.records import Outcome
from realm.method.gate import Gate
from realm.train.alarms import Watch
from realm.train.transfer import Alone

_NAMES = ("progress", "share", "routes_shown", "assisted_reward", "autonomous_reward")
_MORE = (
    "assisted_answer",
    "autonomous_answer",
    "localization",
    "reward",
    "reward_std",
    "frac_reward_zero_std",
    "entropy",
)
_BEGINNINGS = ("verdict_", "always_", "position_", "copy_", "rewards/", "transfer_")


class Keeper(TrainerCallback, ExportableState):
    """Holds what the run has seen of the two modes: the gate, and what each problem's answers are worth without routes.

    Transformers writes the state of such a callback into trainer_state.json, the file that makes a checkpoint whole.
    """

    def __init__(self, gate: Gate | None, alone: Alone | None) -> None:
        self.gate, self.alone = gate, alone
        self.watchers = [watcher for watcher in (gate, alone) if watcher is not None]
        self.figures: dict[str, Any] = {}
        """The gate's figures as they were in the last step."""

    def observe(self, outcomes: Sequence[Outcome]) -> None:
        """Take in one generation's completions, of all processes."""
        for watcher in self.watchers:
            watcher.observe(outcomes)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.gate is not None:
            self.figures = self.gate.describe((state.global_step - 1) / state.max_steps)
            self.gate.advance(state.global_step, state.max_steps)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must hold."""
        kept = {"gate": self.gate and self.gate.state(), "alone": self.alone and self.alone.state()}
        return {"args": {}, "attributes": kept}

    def load(self, checkpoint: Path) -> None:
        """Take up the state of a checkpoint."""
        trainer_state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        kept = trainer_state["stateful_callbacks"][type(self).__name__]["attributes"]
        for name, watcher in (("gate", self.gate), ("alone", self.alone)):
            if watcher is not None:
                watcher.load(kept[name])


class Journal(TrainerCallback):
    """Writes RUN/fade.jsonl: one row per logged step; `None` where a step had no prompt of a mode. Alarms are printed too."""

    def __init__(self, path: Path, keeper: Keeper) -> None:
        self.path, self.keeper, self._watch = path, keeper, Watch()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            for row in read_jsonl(self.path):
                self._watch.look(row)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        if not state.is_world_process_zero or not logs or "share" not in logs:
            return
        others = {
            name: value
            for name, value in logs.items()
            if name in _MORE or name.startswith(_BEGINNINGS)
        }
        row = {"step": state.global_step} | {name: logs.get(name) for name in _NAMES}
        row |= {
            name: value for name, value in others.items() if value is not None
        } | self.keeper.figures
        if alarms := self._watch.look(row):
            row["alarms"] = alarms
            print("\n".join(f"Alarm at step {state.global_step}: {alarm}" for alarm in alarms))
        with append_jsonl(self.path) as append:
            append(row)


def forget_after(path: Path, step: int) -> None:
    """Remove the rows after `step` from a file of the run; a file that is not there becomes an empty one."""
    with append_jsonl(path):
        pass
    write_jsonl(path, [row for row in read_jsonl(path) if row["step"] <= step])
