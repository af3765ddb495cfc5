"""A real OpenAI-compatible server, `transformers serve` with the bundled model, as a teacher."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import yaml
from transformers.utils.import_utils import is_serve_available

from experts import CLAIMS

MODEL = Path(__file__).parents[2] / "models/base-1m"
REPLIES = {
    "defaults": {"role": "assistant"},
    "start_anchor": "<|assistant|>",
    "fields": {"content": {"close": "<|end|>", "content": "text"}},
}
"""How the server tells the model's turn from the prompt. For an architecture that it knows, it
expects that architecture's template."""

pytestmark = pytest.mark.skipif(
    not is_serve_available(), reason="needs fastapi and uvicorn: pip install -e '.[test]'"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Give the address and the model name of a server that stands."""
    model = tmp_path_factory.mktemp("served") / "base-1m"
    shutil.copytree(MODEL, model)
    settings = json.loads((model / "tokenizer_config.json").read_text())
    (model / "tokenizer_config.json").write_text(
        json.dumps(settings | {"response_template": REPLIES})
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "transformers.cli.transformers",
        "serve",
        str(model),
        "--device",
        "cpu",
        "--host",
        "127.0.0.1",
    ]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with (model.parent / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port)], env=environment, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + 120
        while not _stands(port):
            assert process.poll() is None and time.monotonic() < deadline, (
                model.parent / "log"
            ).read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1", str(model)
    finally:
        process.kill()
        process.wait()


def _stands(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1) as answer:
            return answer.status == 200
    except OSError:
        return False


@pytest.mark.slow
def test_guided_collection_runs_end_to_end_against_transformers_serve(server, tmp_path):
    url, model = server
    teacher = {"kind": "api", "name": "served", "model": model, "key_env": None, "max_tokens": 40}
    config = {
        "run": str(tmp_path / "run"),
        "domain": {
            "kind": "python",
            "target": CLAIMS,
            "settings": {"sizes": {"train": 4, "test": 2}},
        },
        "routes": {
            "kind": "collect",
            "teachers": [{**teacher, "guided": 2, "routes": 1, "eval_routes": 1}],
            "guide": {"tokens": 150},
            "rationalize": True,
            "concurrency": 4,
        },
    }
    (tmp_path / "served.yaml").write_text(yaml.safe_dump(config))
    for verb in ("data", "routes"):
        command = [sys.executable, "-m", "realm", verb, str(tmp_path / "served.yaml")]
        done = subprocess.run(
            command,
            env={**os.environ, "OPENAI_BASE_URL": url},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    rows = [json.loads(line) for line in (tmp_path / "run/routes.jsonl").read_text().splitlines()]
    rationalized = [row for row in rows if row["rationalized"]]
    assert len(rows) - len(rationalized) == 4 * 3 + 2
    right = {
        row["problem_id"]
        for row in rows
        if row["guided"] and not row["rationalized"] and row["correct"]
    }
    assert len(rationalized) == 4 - len(right)
    assert all(
        row["usage"]["completion_tokens"] <= 40 and row["usage"]["prompt_tokens"] > 50
        for row in rows
    )
    assert all(2 < len(row["guide"]) < 20 for row in rows if row["guided"])
    # The server returns the prompt as well, and it is cut off.
    parts = ("Reference text", "<|user|>", "<|system|>")
    assert not any(part in row["text"] for part in parts for row in rows)
    entry = json.loads((tmp_path / "run/manifest.json").read_text())["stages"]["routes"]
    assert entry["figures"]["all"]["answers"] == len(rows) == entry["figures"]["all"]["calls"]
