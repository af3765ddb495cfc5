"""`realm watch`: follow a run from another terminal, by the files that it writes."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from realm.core.errors import RunError, make_printable
from realm.core.manifest import read_manifest

if TYPE_CHECKING:
    from rich.console import RenderableType

FIGURES = (
    "loss",
    "reward",
    "assisted_answer",
    "autonomous_answer",
    "share",
    "verdict_accuracy",
    "frac_reward_zero_std",
    "entropy",
)
"""Figures with a curve, in their order; those that a run does not log are left out. `share` is the
share of the guidance that is left."""
SECONDS = 2.0
"""Between two looks at the files."""
_WIDTH = 60
_TAIL_BYTES = 2**16
_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What the files of a run say at one moment."""

    done: Sequence[str]
    """The finished stages."""
    running: str | None
    """The stage at work: one that has unfinished work."""
    rows: Sequence[Mapping[str, Any]]
    """Logged steps of the training, the oldest first."""
    samples: Sequence[Mapping[str, Any]] = field(default_factory=list)
    """Completions of the newest steps, as in rollouts/samples.jsonl."""

    @property
    def progress(self) -> float | None:
        """Return the share of the training that is done."""
        return self.rows[-1].get("progress") if self.rows else None


def take_snapshot(folder: Path) -> Snapshot:
    """Return the state of a run; of one with several rounds that of the round at work.

    Raises:
        RunError: It is not a run folder.
    """
    if not any((folder / name).exists() for name in ("manifest.json", "work", "problems.jsonl")):
        raise RunError(
            f"{folder}: is no run folder, or its run has not begun. Give the folder that `realm "
            "run` works in."
        )
    done = list(read_manifest(folder).get("stages", {}))
    rounds = [path.parent for path in folder.glob("round-*/fade.jsonl")]
    newest = max([*rounds, folder], key=lambda path: _find_time(path / "fade.jsonl"))
    running = next((path.parent.name for path in (newest / "work").glob("*/key.json")), None)
    rows = _read_tail(newest / "fade.jsonl", whole=True)
    if running == "distill" or not rows:
        rows = _read_losses(newest / "work/distill") or rows
    samples = _read_tail(newest / "rollouts/samples.jsonl")
    return Snapshot(done=done, running=running, rows=rows, samples=samples[-2:])


def _find_time(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0.0


def _read_tail(path: Path, *, whole: bool = False) -> list[dict[str, Any]]:
    """Return the rows at the end of a file that is being written; torn lines are left out."""
    rows = []
    with suppress(OSError):
        with path.open("rb") as file:
            if not whole:
                file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            lines = file.read().splitlines()
        for line in lines:
            with suppress(ValueError):
                row = json.loads(line)
                rows += [row] if isinstance(row, dict) else []
    return rows


def _read_losses(work: Path) -> list[dict[str, Any]]:
    """Return the logged steps of a distillation, which its newest checkpoint holds."""
    states = list(work.glob("checkpoint-*/trainer_state.json"))
    for path in sorted(states, key=_find_time, reverse=True):
        with suppress(OSError, ValueError, LookupError, TypeError):
            state = json.loads(path.read_text(encoding="utf-8"))
            steps = state["max_steps"]
            return [
                row | {"progress": row["step"] / steps}
                for row in state["log_history"]
                if "loss" in row
            ]
    return []


def draw_curve(values: Sequence[float], width: int = _WIDTH) -> str:
    """Return a curve of one line, from the lowest to the highest of the values.

    More values than columns are averaged.

    >>> draw_curve([0.0, 0.5, 1.0])
    '▁▅█'
    """
    if len(values) > width:
        edges = [round(place * len(values) / width) for place in range(width + 1)]
        groups = [values[start:end] for start, end in pairwise(edges)]
        values = [sum(group) / len(group) for group in groups]
    low, high = min(values), max(values)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((value - low) * scale)] for value in values)


def render(snapshot: Snapshot, minutes_left: float | None = None) -> RenderableType:
    """Return what the terminal shows: stages, step, curves, alarms and the last completions."""
    stages = f"done: {', '.join(snapshot.done) or 'nothing yet'}"
    if snapshot.running:
        stages += f"; running: {snapshot.running}"
    lines = [Text(stages, style="bold")]
    if snapshot.rows and snapshot.running:
        last = snapshot.rows[-1]
        text = f"step {last.get('step')}"
        if snapshot.progress is not None:
            text += f", {snapshot.progress:.0%} of the training"
        if minutes_left is not None:
            text += f", about {minutes_left:.0f} min left"
        lines.append(Text(text))
    for name in FIGURES:
        found = [row[name] for row in snapshot.rows if isinstance(row.get(name), (int, float))]
        if found:
            span = f"{min(found):.3g} to {max(found):.3g}, now {found[-1]:.3g}"
            lines.append(Text(f"{name:<21} {draw_curve(found)}  {span}"))
    for row in snapshot.rows:
        for alarm in row.get("alarms", []):
            lines.append(Text(f"alarm at step {row.get('step')}: {alarm}", style="yellow"))
    for sample in snapshot.samples:
        reward = sample.get("reward")
        head = f"step {sample.get('step')}, problem {sample.get('problem_id')}, reward {reward}"
        text = make_printable(str(sample.get("completion", "")).strip())
        lines += [Text(""), Text(make_printable(head), style="bold"), Text(text, style="dim")]
    return Group(*lines)


def watch(folder: Path, *, once: bool = False) -> None:
    """Show a run until it is interrupted, or once.

    Raises:
        RunError: It is not a run folder.
    """
    console = Console(highlight=False)
    first = take_snapshot(folder)
    if once or not console.is_terminal:
        console.print(render(first), soft_wrap=True)
        return
    started = time.monotonic()
    with Live(render(first), console=console, auto_refresh=False) as live:
        while True:
            time.sleep(SECONDS)
            now = take_snapshot(folder)
            if (now.progress or 0) < (first.progress or 0) or now.running != first.running:
                first, started = now, time.monotonic()  # another stage or round has begun
            minutes = find_minutes_left(first, now, time.monotonic() - started)
            live.update(render(now, minutes), refresh=True)


def find_minutes_left(first: Snapshot, now: Snapshot, seconds: float) -> float | None:
    """Return how long the training goes on at the speed since `first`; None if it is unknown."""
    if first.progress is None or now.progress is None or now.progress <= first.progress:
        return None
    return (1 - now.progress) / (now.progress - first.progress) * seconds / 60
