"""How many tokens a second does training take in with one process and with two?

    python benchmarks/scaling.py                     the bundled model's shape
    python benchmarks/scaling.py --shape 300x80x8 --steps 9 --processes 1,2,4

A step of `SharedPrefixTrainer` on a CPU, rollouts included, each process on one thread: 8 prompts
per process and step, so that two processes do twice the work (weak scaling). Tokens are those of
prompts and completions, each completion with its prompt, as TRL counts them. The median step
counts, and the first does not. Efficiency is tokens per second and process, over those of one
process. Wall time: other work on the machine slows it down.
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


def time_steps(shape: Shape, num_steps: int) -> float:
    """Return the median seconds of a step of this process, whose gradients all processes share."""
    engine = make_grpo("shared", MODELS["1m"], shape, "cpu")
    seconds = []
    for _ in range(num_steps + 1):
        if torch.distributed.is_initialized():
            torch.distributed.barrier()
        started = time.perf_counter()
        engine.run_step()
        seconds.append(time.perf_counter() - started)
    return median(seconds[1:])


def launch(num_processes: int, shape: str, num_steps: int) -> float:
    """Return the median seconds of a step of so many processes, those of the main one."""
    launcher = ["-m", "torch.distributed.run", f"--nproc-per-node={num_processes}"]
    command = [sys.executable, *launcher, __file__, "--shape", shape, "--steps", str(num_steps)]
    done = subprocess.run(
        [*command, "--alone"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(done.stdout.splitlines()[-1])


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
    shape = Shape(*map(int, options.shape.split("x")), PROMPTS)
    if options.alone:
        seconds = time_steps(shape, options.steps)
        if os.environ["RANK"] == "0":
            print(seconds)
        return
    tokens = shape.prompts * shape.group * (shape.prompt + shape.completion)
    print("| processes | step s | tokens/s | efficiency |\n|--:|--:|--:|--:|")
    rows = []
    for count in map(int, options.processes.split(",")):
        seconds = launch(count, options.shape, options.steps)
        rows.append({"processes": count, "step": seconds, "tokens": count * tokens / seconds})
        share = rows[-1]["tokens"] / count / (rows[0]["tokens"] / rows[0]["processes"])
        print(f"| {count} | {seconds:.2f} | {rows[-1]['tokens']:,.0f} | {share:.0%} |", flush=True)
    print(json.dumps({**vars(options), "rows": rows}))


if __name__ == "__main__":
    main()
