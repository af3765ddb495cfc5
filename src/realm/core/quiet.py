"""Silence known-harmless warnings of Transformers, TRL and huggingface_hub, in one place."""

from __future__ import annotations

import logging
import re
import sys
import warnings
from collections.abc import Callable
from typing import Any

from transformers.utils.logging import set_tqdm_hook

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
OLD_NAMES = ("gradient_checkpointing", "activation_checkpointing")
"""Settings that TRL still calls by their old names. The user cannot change that."""


def quiet_libraries() -> None:
    """Drop the records above and short progress bars. All other warnings and errors are shown."""
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
