"""How many tokens a second does training take in with one process and with two?

    python benchmarks/scaling.py                     the bundled model's shape
    python benchmarks/scaling.py --shape 300x80x8 --steps 9 --processes 1,2,4

A step of `SharedPrefixTrainer` on a CPU, rollouts included, each process on one thread: 8 prompts
per process and step, so that two processes do twice the work (weak scaling). Tokens are those of
prompts and completions, each completion with its prompt, as TRL counts them. The median step
counts, and the first does not. Efficiency is tokens per second and process, over those of one
process: once by the wall clock, which other work on the machine slows down, and once by the
processor seconds of the main process, which leave out that it waits for the others.

Hardware: a CPU with as many cores as processes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from statistics import median

import torch
from step_time import MODELS, Shape, make_grpo

PROMPTS = 8
"""Prompts of a step of one process."""


def time_steps(shape: Shape, num_steps: int) -> tuple[float, float]:
    """Return the median wall and processor seconds of a step of this process."""
    engine = make_grpo("shared", MODELS["1m"], shape, "cpu")
    wall, processor = [], []
    for _ in range(num_steps + 1):
        if torch.distributed.is_initialized():
            torch.distributed.barrier()
        started, before = time.perf_counter(), time.process_time()
        engine.run_step()
        wall.append(time.perf_counter() - started)
        processor.append(time.process_time() - before)
    return median(wall[1:]), median(processor[1:])


def launch(num_processes: int, shape: str, num_steps: int) -> tuple[float, float]:
    """Start the processes and return what `time_steps` measures in the main one."""
    launcher = ["-m", "torch.distributed.run", f"--nproc-per-node={num_processes}"]
    command = [sys.executable, *launcher, __file__, "--shape", shape, "--steps", str(num_steps)]
    done = subprocess.run(
        [*command, "--alone"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    wall, processor = map(float, done.stdout.splitlines()[-1].split())
    return wall, processor


def main() -> None:
    """Print a table, and all figures as one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", default="220x80x8", help="PxCxG as in step_time.py")
    parser.add_argument("--steps", type=int, default=5, help="measured steps")
    parser.add_argument("--processes", default="1,2", help="numbers of processes, after commas")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    shape = Shape(*map(int, options.shape.split("x")), PROMPTS, 1)
    if options.alone:
        seconds = time_steps(shape, options.steps)
        if os.environ["RANK"] == "0":
            print(*seconds)
        return
    tokens = shape.prompts * shape.group * (shape.prompt + shape.completion)
    print("| processes | wall s | tokens/s | efficiency | processor s | efficiency |")
    print("|--:|--:|--:|--:|--:|--:|")
    rows = []
    for count in map(int, options.processes.split(",")):
        wall, processor = launch(count, options.shape, options.steps)
        rows.append({"processes": count, "wall": wall, "processor": processor})
        rate = count * tokens / wall
        by_wall, by_processor = (
            rows[0][clock] / rows[-1][clock] for clock in ("wall", "processor")
        )
        cells = [f"{wall:.2f}", f"{rate:,.0f}", f"{by_wall:.0%}"]
        cells += [f"{processor:.2f}", f"{by_processor:.0%}"]
        print(f"| {count} | {' | '.join(cells)} |", flush=True)
    print(json.dumps({**vars(options), "rows": rows}))


if __name__ == "__main__":
    main()
