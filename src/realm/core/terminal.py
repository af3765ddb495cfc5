"""What the terminal shows: progress, and no known-harmless warnings of the libraries.

Progress is a bar on a terminal, elsewhere a line about every ten seconds on standard error.
"""

from __future__ import annotations

import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from realm.core.ranks import is_main_process

SECONDS_BETWEEN_LINES = 10.0
"""In a log. Work that takes less than this prints nothing there."""
_LINE = "{desc}: {n_fmt}/{total_fmt}, {elapsed_s:.0f} s{postfix}"

NOTES = {
    "transformers.trainer": re.compile(
        r"missing keys in the checkpoint model loaded: \['lm_head.weight'\]"
    ),
    "transformers.trainer_utils": re.compile("mtime may not be reliable"),
    "transformers.generation.configuration_utils": re.compile("generation flags are not valid"),
    "transformers.tokenization_utils_base": re.compile("Token indices sequence length is longer"),
    "huggingface_hub.utils._http": re.compile("thrown while requesting|^Retrying in"),
}
"""Logger to the records that are dropped. A head tied to the embeddings is not missing. This
package does not rely on mtime, decodes with its own settings, checks every length, and reports
itself when the hub cannot be reached."""
OLD_NAMES = ("gradient_checkpointing", "activation_checkpointing", "all_gather_into_tensor")
"""What TRL and DeepSpeed still call by old names. The user cannot change that."""


class _LogStream:
    """Lets tqdm write whole lines, where it would return to the start of the line."""

    def write(self, text: str) -> None:
        if line := text.strip():
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()

    def flush(self) -> None:
        """Do nothing, since each line is flushed when it is written."""


@contextmanager
def progress(description: str, total: int) -> Iterator[Callable[..., None]]:
    """Yield a function `advance(count, note="")`: `count` more of `total` are done.

    `note` says how it goes, such as the loss or the cost so far. Only the main process shows it.
    """
    if not is_main_process():
        yield lambda count, note="": None
        return
    log = {
        "file": _LogStream(),
        "bar_format": _LINE,
        "mininterval": SECONDS_BETWEEN_LINES,
        "miniters": 1,  # else tqdm adapts it, and a line comes late when the work slows down
        "delay": SECONDS_BETWEEN_LINES,
    }
    terminal = {"leave": False, "dynamic_ncols": True}
    with tqdm(desc=description, total=total, **(terminal if sys.stderr.isatty() else log)) as bar:

        def advance(count: int, note: str = "") -> None:
            bar.set_postfix_str(note, refresh=False)  # the next line draws both
            bar.update(min(count, total - bar.n))

        yield advance


def quiet_libraries() -> None:
    """Drop the records above and short progress bars. All other warnings and errors are shown."""
    from transformers.utils.logging import set_tqdm_hook  # not loaded for --help

    set_tqdm_hook(_slow_bars_only)
    for logger in NOTES:
        logging.getLogger(logger).addFilter(_is_news)
    for name in OLD_NAMES:
        warnings.filterwarnings("ignore", message=f".*{name}.*deprecated", category=FutureWarning)


def _slow_bars_only(make: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return a bar that appears after two seconds, on a terminal only, and vanishes at its end."""
    return make(*args, **kwargs | {"delay": 2, "leave": False, "disable": not sys.stderr.isatty()})


def _is_news(record: logging.LogRecord) -> bool:
    return not NOTES[record.name].search(record.getMessage())
