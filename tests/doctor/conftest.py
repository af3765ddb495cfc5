"""A config to examine."""

import pytest

from realm.core.jsonl import write_jsonl
from tiny import make_tiny

ROWS = [
    {"id": str(number), "question": f"{number} + 1?", "answer": number + 1} for number in range(40)
]


@pytest.fixture
def config(write_config, tmp_path):
    """Return the path of a config of 40 problems (24 of training) with a tiny model."""
    write_jsonl(tmp_path / "rows.jsonl", ROWS)
    write_jsonl(tmp_path / "answers.jsonl", [{"id": "0", "outputs": "1"}])
    make_tiny(tmp_path / "model")
    return write_config(
        run=str(tmp_path / "run"),
        domain={"kind": "files", "path": "rows.jsonl", "answer": "number"},
        routes={"kind": "import", "files": [{"path": "answers.jsonl", "source": "someone"}]},
    )
