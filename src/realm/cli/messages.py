"""Environment, log lines, and one message for each user error."""

from __future__ import annotations

import errno
import io
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from typing import NoReturn

import typer

from realm.core.errors import RealmError, make_printable, mask_secrets
from realm.core.ranks import claim_failure, is_main_process


@contextmanager
def user_errors_as_messages(*, continues: bool = False) -> Iterator[None]:
    """Turn a user error into one message and exit code 2, and Ctrl-C into exit code 130.

    Of several processes only the main one prints; the first that fails shows its error.

    Args:
        continues: Whether the command, given again, goes on where it was interrupted.
    """
    _set_environment()
    try:
        with ExitStack() as stack:
            if not is_main_process():
                stack.enter_context(redirect_stdout(stack.enter_context(open(os.devnull, "w"))))
            show_log(logging.INFO if is_main_process() else logging.ERROR)
            yield
    except RealmError as error:
        _exit_with(str(error))
    except BrokenPipeError:
        raise  # the reader of our output has gone, as in `realm run ... | head`
    except Exception as error:
        message = explain_failure(error)
        if message is None:
            raise
        _exit_with(make_printable(mask_secrets(message)))
    except KeyboardInterrupt:
        if is_main_process():
            advice = "; the same command continues" if continues else ""
            typer.echo(f"\nrealm: interrupted{advice}.", err=True)
        raise typer.Exit(130) from None  # 128 + SIGINT, as a shell reports it


def _exit_with(message: str) -> NoReturn:
    """Show the message of a user error, and exit with code 2."""
    if claim_failure():
        typer.echo(f"realm: {message}", err=True)
    raise typer.Exit(2) from None


def explain_failure(error: Exception) -> str | None:
    """Return what to do about a disk, a permission or a memory; `None` for a mistake of ours."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's
        return (
            "out of memory. Lower per_device_train_batch_size, evaluate.batch_tokens or "
            "max_completion_length, or take a smaller model; what is done is kept."
        )
    # The libraries that write weights in Rust and C++ know the reason by its text only.
    is_full = re.search("No space left|PytorchStreamWriter failed writing", str(error))
    if is_full or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        advice = "Make room and run again: what is done is kept"
    elif not isinstance(error, OSError):
        return None
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        advice = "Change its permissions, or choose another place"
    else:
        advice = "See that it is there and is what it should be"
    # Of a failed rename this is the target, the place that could not be written.
    place = getattr(error, "filename2", None) or getattr(error, "filename", None)
    reason = getattr(error, "strerror", None) or str(error).strip().partition("\n")[0]
    return f"{place}: {reason}. {advice}." if place else f"{reason.rstrip('.')}. {advice}."


def _set_environment() -> None:
    """Set what the libraries below read when they load: no telemetry, and waiting threads sleep.

    By default a thread that waits for another one spins. On a machine with other work this makes
    small steps ten times as long.
    """
    # Only defaults: what the user has set in the environment stays.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may know fewer letters
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    # Else the tokenizers library warns whenever a process is forked after it was used.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


class _LogLines(logging.Handler):
    """Write records as plain lines: information to standard output, warnings to standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        stream = sys.stderr if record.levelno >= logging.WARNING else sys.stdout
        line = make_printable(self.format(record))
        if "tqdm" in sys.modules:
            from tqdm import tqdm

            tqdm.write(line, file=stream)  # a progress bar moves out of the way
        else:
            print(line, file=stream)


def show_log(level: int) -> None:
    """Print what the package logs from this level on."""
    package = logging.getLogger("realm")
    # A test or a program may call several commands in one process.
    if not any(isinstance(handler, _LogLines) for handler in package.handlers):
        package.addHandler(_LogLines())
        package.setLevel(level)
