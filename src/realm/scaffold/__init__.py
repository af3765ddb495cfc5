"""The small domain that `realm init` writes.

Its files are those of examples/own_domain: `files` is a link to that folder. A wheel holds a copy.
"""

from __future__ import annotations

from pathlib import Path

from realm.core.errors import ConfigError
from realm.core.jsonl import write_text

_FOLDER = Path(__file__).with_name("files")


def write_scaffold(folder: Path) -> None:
    """Write the files to `folder`.

    Raises:
        ConfigError: One of the files exists. Then nothing is written.
    """
    sources = sorted(path for path in _FOLDER.iterdir() if path.is_file())
    for source in sources:
        if (folder / source.name).exists():
            raise ConfigError(
                f"{folder / source.name}: exists, and is not overwritten. "
                "Choose another folder: realm init DIR"
            )
    for source in sources:
        write_text(folder / source.name, source.read_text(encoding="utf-8"))
