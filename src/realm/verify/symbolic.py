"""One worker of `realm.verify.workers`: reads pairs of LaTeX answers, a line each, and writes 1 or 0 for each.

Run as a file, so that it loads nothing but math-verify. Its own alarm ends it when a pair takes too long, whatever it is doing
then, so that it hangs for nobody.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import sys
from contextlib import suppress
from functools import lru_cache
from typing import Any

from math_verify import LatexExtractionConfig, parse, verify

_MEMORY = 4 * 2**30
"""Bytes of address space; what wants more fails."""


@lru_cache(maxsize=4096)
def _read(latex: str) -> list[Any]:
    return parse(f"${latex}$", [LatexExtractionConfig()], parsing_timeout=None)


def main(seconds: float) -> None:
    """Serve pairs until there are no more."""
    replies, sys.stdout = (
        os.fdopen(os.dup(1), "w", buffering=1),
        sys.stderr,
    )  # what a library prints is no reply
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    logging.disable()
    verify(_read("\\frac{1}{2}x"), _read("x + \\sqrt{2}"), timeout_seconds=None)
    replies.write("ready\n")
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        answer, gold = json.loads(line)
        equal = verify(_read(gold), _read(answer), timeout_seconds=None)
        signal.setitimer(signal.ITIMER_REAL, 0)
        replies.write(f"{int(equal)}\n")


if __name__ == "__main__":
    main(float(sys.argv[1]))
