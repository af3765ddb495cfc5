"""Start a command in real processes, as `torchrun` does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def start_together(
    num_processes: int, *command: str | Path, **options: Any
) -> subprocess.Popen[str]:
    """Start a script, or `-m MODULE`, in processes on one thread each that find this code."""
    launcher = []
    if num_processes > 1:
        launcher = ["-m", "torch.distributed.run", f"--nproc-per-node={num_processes}"]
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    return subprocess.Popen(
        [sys.executable, *launcher, *map(str, command)], env=environment, text=True, **options
    )


def run_together(num_processes: int, *command: str | Path) -> tuple[int, str, str]:
    """Run a command in several processes; return exit code, standard output and error."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    job = start_together(num_processes, *command, **pipes)
    output, errors = job.communicate(timeout=300)
    return job.returncode, output, errors
