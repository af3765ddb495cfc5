"""How close is a collection of routes to the ideal time, latency x calls / concurrency?

    python benchmarks/collect_throughput.py
    python benchmarks/collect_throughput.py --problems 500 --latency 0.2

Hardware: any CPU; the endpoint is local. About four minutes with the defaults.

The endpoint runs in a process of its own and answers each call after a fixed time. The second run
has failures: three calls in ten bring 429 with Retry-After, 500, a dropped connection, half a JSON
or no answer at all. The ideal counts every call; one without an answer counts as the time limit of
a request.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from endpoint import Endpoint, add_up, teacher, write_sums
from realm.config.root import load_config
from realm.run import Run
from realm.sources.plan import collect_routes

FAULTS = ("429", "500", "drop", "torn", "stall")
REQUEST_SECONDS = 2.0


def serve(pipe: Connection, latency: float, share: float) -> None:
    """Serve until the other process sends anything, then send back how the calls ended."""
    rng = random.Random(0)
    with Endpoint(
        answer=add_up,
        latency=latency,
        fault=lambda number, body: rng.choice(FAULTS) if rng.random() < share else None,
    ) as endpoint:
        pipe.send(endpoint.url)
        pipe.recv()
        pipe.send((Counter(str(call.fault) for call in endpoint.calls), endpoint.most_in_flight))


def measure(problems: int, latency: float, concurrency: int, share: float) -> dict[str, Any]:
    """Collect a route for each problem, and return the ideal and the real time."""
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(
        target=serve, args=(theirs, latency, share), daemon=True
    )
    server.start()
    os.environ["OPENAI_BASE_URL"] = ours.recv()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        limits = {"concurrency": concurrency, "request_seconds": REQUEST_SECONDS}
        config = load_config(
            write_sums(Path(folder), train=problems, test=0, teachers=[teacher()], **limits)
        )
        run = Run(config.run_folder(), config)
        asked = run.domain.problems(config.seed)
        started = time.perf_counter()
        routes = collect_routes(run, asked)
        wall = time.perf_counter() - started
    ours.send("stop")
    ends, most = ours.recv()
    server.join()
    ideal = (
        (ends.total() - ends["stall"]) * latency + ends["stall"] * REQUEST_SECONDS
    ) / concurrency
    return {
        "failing": share,
        "complete": len(routes) == problems,
        "calls": ends.total(),
        "most_in_flight": most,
        "ideal_s": round(ideal, 2),
        "wall_s": round(wall, 2),
        "ratio": round(wall / ideal, 3),
    }


def main() -> None:
    """Print a table of both runs, and all figures as one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--problems", type=int, default=8000, help="number of calls")
    parser.add_argument("--latency", type=float, default=0.5, help="seconds that each answer takes")
    parser.add_argument("--concurrency", type=int, default=64, help="calls in flight at once")
    options = parser.parse_args()
    rows = [
        measure(options.problems, options.latency, options.concurrency, share)
        for share in (0.0, 0.3)
    ]
    print("| failing | complete | calls | most in flight | ideal s | wall s | ratio |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(str(value) for value in row.values()) + " |")
    plain, failing = rows
    print(json.dumps({**vars(options), **plain, "with_failures": failing}))


if __name__ == "__main__":
    main()
