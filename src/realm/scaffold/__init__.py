"""The examples that `realm init` writes, one folder each: `own_domain` and `claims`.

Their files are links to those of the repository, at the same relative paths. A wheel holds copies.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from realm.core.errors import ConfigError
from realm.core.jsonl import replacing_file

_FOLDER = Path(__file__).parent
DEMO_CONFIG = _FOLDER / "claims/configs/demo.yaml"
"""The config of `realm demo`."""


def write_scaffold(folder: Path, example: str) -> None:
    """Write the files of an example to `folder`.

    Raises:
        ConfigError: One of the files exists. Then nothing is written.
    """
    files = {folder / path.relative_to(_FOLDER / example): path for path in _list_files(example)}
    for target in files:
        if target.exists():
            raise ConfigError(
                f"{target}: exists, and is not overwritten. Choose another folder: realm init DIR"
            )
    for target, source in files.items():
        with replacing_file(target) as temporary:
            shutil.copyfile(source, temporary)


def _list_files(example: str) -> Iterator[Path]:
    # Path.rglob would not enter a folder that is a link.
    for directory, folders, names in os.walk(_FOLDER / example, followlinks=True):
        # What running an example in a clone leaves beside its files.
        folders[:] = sorted(set(folders) - {"__pycache__", "runs"})
        yield from (Path(directory) / name for name in sorted(names))
