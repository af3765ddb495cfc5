"""What the libraries below say unasked, and nobody needs to hear between our own lines. Silenced here and nowhere else."""

from __future__ import annotations

import logging
import os
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
"""Logger to what is passed over of it: a head tied to the embeddings is not missing; our code does not go by mtime, decodes
by its own settings, checks every length, and says when the hub was not reached."""
OLD_NAMES = ("gradient_checkpointing", "activation_checkpointing")
"""Settings that TRL still calls by the old name; transformers' warning about it is not the user's business."""

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # read when trl.experimental is imported


def quiet_libraries() -> None:
    """Pass over known notes and short progress bars; every other warning, and every error, is shown."""
    set_tqdm_hook(_slow_bars_only)
    for logger in NOTES:
        logging.getLogger(logger).addFilter(_is_news)
    for name in OLD_NAMES:
        warnings.filterwarnings("ignore", message=f".*{name}.*deprecated", category=FutureWarning)


def _slow_bars_only(make: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return a bar that shows after two seconds, on a terminal, while no bar of ours stands there; it leaves no line behind.

    A bar of ours puts its own stream in the place of `sys.stderr` for as long as it stands.
    """
    watched = sys.stderr is sys.__stderr__ and sys.stderr.isatty()
    return make(
        *args, **kwargs | {"delay": 2, "leave": False} | ({} if watched else {"disable": True})
    )


def _is_news(record: logging.LogRecord) -> bool:
    return not NOTES[record.name].search(record.getMessage())
