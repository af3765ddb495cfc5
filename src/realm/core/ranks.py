"""Several processes of one command, as `torchrun` and `accelerate launch` start them.

All processes run the same code and call the functions below in the same order. The main process,
number 0, writes the files, prints and does what must be done once; the others wait and read. On
one process the functions cost nothing and load no torch.

They talk through the key-value store that the launcher serves and torch itself starts from. So
they need no process group, whose collective operations fail when one process works for an hour.
"""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import count
from typing import Any, TypeVar

from realm.core.errors import RunError

Value = TypeVar("Value")

_FAILED = "failed"
_PIECE = 1 << 22
"""Bytes of a value that are sent at once: the store takes 8 MiB."""
_SECONDS_BETWEEN_LOOKS = 0.02
_SECONDS_TO_END = 10.0
"""A process that another one has made fail waits so long for the launcher to end it."""

_calls = count()
_sent: list[str] = []
"""Keys of this process that others may still read."""
_num_alone = 0
"""How many blocks of `acting_alone` this process is in."""


class ProcessFailedError(RunError):
    """Another process has ended with an error, which it shows itself."""


def get_rank() -> int:
    """Return the number of this process, from 0."""
    return _read_number("RANK", 0)


def get_local_rank() -> int:
    """Return the number of this process among those of its machine, from 0."""
    return _read_number("LOCAL_RANK", 0)


def count_processes() -> int:
    """Return how many processes share the work that is being done."""
    return 1 if _num_alone else _read_number("WORLD_SIZE", 1)


def is_main_process() -> bool:
    """Return whether this process writes and prints."""
    return get_rank() == 0


def run_on_main(function: Callable[[], Value]) -> Value:
    """Call `function` in the main process, and return its value in all processes.

    Meanwhile the main process acts alone: what it calls shares no work with the others.
    """
    if count_processes() == 1:
        return function()
    key = f"call/{next(_calls)}"
    if is_main_process():
        with acting_alone():
            value = function()
        _send(key, value)
    else:
        value = _receive(key)
    return value


def gather_objects(value: Value) -> list[Value]:
    """Return the values of all processes, in the order of their numbers."""
    num_processes = count_processes()
    if num_processes == 1:
        return [value]
    key, earlier = f"call/{next(_calls)}", [*_sent]
    _sent.clear()
    _send(f"{key}/{get_rank()}", value)
    values = [_receive(f"{key}/{rank}") for rank in range(num_processes)]
    # All have come as far as this call, so nobody needs what was sent in earlier ones.
    for old in earlier:
        _connect().delete_key(old)
    return values


def wait_for_all() -> None:
    """Return when all processes have called this."""
    gather_objects(None)


def take_share(items: Sequence[Value]) -> Sequence[Value]:
    """Return every n-th of `items`, n the number of processes, from the number of this one on."""
    num_processes = count_processes()
    return items if num_processes == 1 else items[get_rank() :: num_processes]


@contextmanager
def acting_alone() -> Iterator[None]:
    """Let this process do everything by itself in this block, as if it were the only one."""
    global _num_alone
    _num_alone += 1
    try:
        yield
    finally:
        _num_alone -= 1


def leave_launch() -> None:
    """Go on as the only process of the command; libraries read the environment too."""
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        os.environ.pop(name, None)


def claim_failure() -> bool:
    """Return whether this process is the first that fails, so that it shows its error.

    The others fail because of it, or of the same mistake. They wait here for the launcher, which
    ends all processes when the first one has ended.
    """
    if _read_number("WORLD_SIZE", 1) == 1:
        return True
    rank = str(get_rank())
    if _connect().compare_set(_FAILED, "", rank).decode() == rank:
        return True
    time.sleep(_SECONDS_TO_END)
    return False


def _read_number(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdecimal():
        raise RunError(
            f"{name}: this environment variable is {text!r}. torchrun and accelerate set it to a "
            "number. Unset it."
        )
    return int(text)


@cache
def _connect() -> Any:  # its type says that values are texts; they may be bytes
    """Return the store that all processes of this launch share."""
    from torch.distributed import PrefixStore, rendezvous

    store, _, _ = next(rendezvous("env://"))
    # A launcher that starts the processes again may keep its store.
    return PrefixStore(f"realm/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


def _send(key: str, value: Any) -> None:
    store, data = _connect(), pickle.dumps(value)
    starts = range(0, len(data), _PIECE)
    names = [f"{key}/piece-{number}" for number in range(len(starts))]
    for name, start in zip(names, starts, strict=True):
        store.set(name, data[start : start + _PIECE])
    # Last, since the others wait for it.
    store.set(key, str(len(names)))
    _sent.extend([*names, key])


def _receive(key: str) -> Any:
    store = _connect()
    # Not `store.wait`, which gives up after a time: the main process may collect routes for hours.
    while not store.check([key]):
        if store.check([_FAILED]):
            number = store.get(_FAILED).decode()
            raise ProcessFailedError(f"process {number} has failed. See its message.")
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    pieces = [store.get(f"{key}/piece-{number}") for number in range(int(store.get(key)))]
    return pickle.loads(b"".join(pieces))
