"""The whole pipeline on a tiny model: every stage, what is skipped, what SIGKILL leaves."""

import base64
import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from experts import CLAIMS, GYM_EXPERT
from realm.cli import app
from realm.core.jsonl import read_jsonl
from tiny import make_tiny

FILES = frozenset(
    {
        "manifest.json",
        "problems.jsonl",
        "rules.md",
        "routes.jsonl",
        "sft.jsonl",
        "distilled",
        "model",
        "fade.jsonl",
        "headroom.json",
        "results.json",
        "answers.jsonl",
        "report.html",
    }
)
EVALUATION = {"method", "mode", "split", "seed", "n", "accuracy", "ci95", "tokens_per_problem"}
COMPARISON = {
    "a",
    "a_mode",
    "b",
    "b_mode",
    "split",
    "n",
    "difference",
    "ci95",
    "smallest_detectable",
}


GYM = {
    "kind": "python",
    "target": GYM_EXPERT,
    "settings": {
        "tasks": {"chain_sum": {"max_terms": 3}, "number_filtering": {"max_numbers": 4}},
        "harder": {"chain_sum": {"min_terms": 4, "max_terms": 5}},
        "sizes": {"train": 16, "validation": 4, "test": 8, "test_rules": 4},
    },
}


def write_config(
    folder: Path, *, distill_steps: int = 2, train_steps: int = 2, test: int = 8, **sections: object
) -> Path:
    make_tiny(folder / "model", "qwen2")
    config = {
        "model": "model",
        "run": str(folder / "run"),
        "domain": {
            "kind": "python",
            "target": CLAIMS,
            "settings": {"sizes": {"train": 16, "validation": 4, "test": test, "test_rules": 4}},
        },
        "prompt": {"autonomous": "{question}", "assisted": "{question}\n{routes}"},
        "routes": {"kind": "scripted", "guided_problems": 8, "held_out": ["outsider"]},
        "distill": {
            "sft": {
                "max_steps": distill_steps,
                "per_device_train_batch_size": 2,
                "save_steps": 1,
            }
        },
        "train": {
            "fade": {"routes": 2, "dropout": 0.3, "end": 0.5},
            "headroom": {"problems": 2, "samples": 2},
            "grpo": {
                "max_steps": train_steps,
                "per_device_train_batch_size": 4,
                "num_generations": 2,
                "max_completion_length": 8,
                "save_steps": 1,
            },
        },
        "evaluate": {
            "routes": 2, "max_new_tokens": 8, "batch_tokens": 4000, "samples": 2, "probe": 2,
        },
        "report": {"transcripts": 2},
        **sections,
    }  # fmt: skip
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def realm(*args: str) -> str:
    result = CliRunner().invoke(app, [*args])
    assert result.exit_code == 0, result.output
    return result.output


def assert_complete(folder: Path, test: int = 8, files: frozenset[str] = FILES) -> None:
    assert {path.name for path in folder.iterdir()} >= files
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert results["schema"] == "realm.results/2"
    assert all(set(row) >= EVALUATION for row in results["evaluations"]) and all(
        set(row) >= COMPARISON for row in results["comparisons"]
    )
    measured = {
        (row["method"], row["mode"], row["split"]): row["n"] for row in results["evaluations"]
    }
    for method in ("base", "distilled", "realm"):
        for mode in ("autonomous", "assisted"):
            assert (
                measured[method, mode, "test"] == test and measured[method, mode, "test_rules"] == 4
            )
    rows = read_jsonl(folder / "answers.jsonl")
    answers = [
        tuple(row.get(key) for key in ("method", "mode", "problem_id", "sample", "kind"))
        for row in rows
    ]
    assert len(set(answers)) == len(answers)
    counts = Counter(row["mode"] for row in rows)
    assert counts.pop("probe") > 0
    # Three models; the distilled one is sampled twice.
    each = test + 4
    assert counts == {"autonomous": 3 * each, "assisted": 3 * each, "samples": 2 * each}
    stages = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["stages"]
    assert list(stages) == ["data", "routes", "distill", "train", "eval", "report"]
    fade = read_jsonl(folder / "fade.jsonl")
    assert [row["step"] for row in fade] == sorted({row["step"] for row in fade}) and fade[-1][
        "share"
    ] == 0
    assert not (folder / "work").exists()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A finished run: (its config, its folder)."""
    folder = tmp_path_factory.mktemp("pipeline")
    config = write_config(folder)
    realm("run", str(config))
    return config, folder / "run"


def test_run_does_every_stage_and_leaves_a_complete_folder(finished):
    assert_complete(finished[1])


def test_a_second_run_skips_everything_and_an_edited_setting_redoes_what_depends_on_it(finished):
    config, _ = finished
    assert realm("run", str(config)).count("up to date") == 6
    for setting, stage, num_later in (
        ("evaluate.limit.test=6", "eval", 1),
        ("train.fade.kind=cosine", "train", 2),
        ("report.transcripts=1", "report", 0),
    ):
        again = realm("run", str(config), "--set", setting, "--dry-run")
        assert again.count("up to date") == 5 - num_later and f"{stage:<8} would run" in again
        assert again.count("will run again if its inputs change") == num_later


def test_the_final_model_answers_in_plain_transformers(finished):
    from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

    folder = finished[1] / "model"
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(folder),
        AutoTokenizer.from_pretrained(folder),
    )
    answer = pipeline("text-generation", model=model, tokenizer=tokenizer)(
        [{"role": "user", "content": "pay?"}], max_new_tokens=4
    )
    assert answer[0]["generated_text"][-1]["role"] == "assistant"
    assert (folder / "README.md").read_text(encoding="utf-8").startswith("---")


def start(config: Path) -> subprocess.Popen:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "realm", "run", str(config)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    )


def kill_when(process: subprocess.Popen, reached) -> None:
    deadline = time.monotonic() + 120
    while not reached():
        assert process.poll() is None and time.monotonic() < deadline, (
            "the stage was never caught at work"
        )
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.slow
def test_a_run_killed_in_the_middle_of_each_long_stage_continues_and_ends_complete(tmp_path):
    config, run = write_config(tmp_path, distill_steps=12, train_steps=8, test=60), tmp_path / "run"
    kill_when(start(config), lambda: list(run.glob("work/distill/checkpoint-*/trainer_state.json")))
    assert not (run / "distilled").exists()
    kill_when(start(config), lambda: list(run.glob("work/train/checkpoint-*/trainer_state.json")))
    assert (run / "distilled").exists() and not (run / "model").exists()
    kill_when(
        start(config),
        lambda: (
            (run / "model").exists()
            and any(lines(path) >= 8 for path in run.glob("work/eval/*.jsonl"))
        ),
    )
    assert not (run / "results.json").exists()
    assert start(config).wait() == 0
    assert_complete(run, test=60)


@pytest.mark.slow
def test_plain_grpo_of_a_base_model_runs_through_every_stage_without_routes(tmp_path):
    pytest.importorskip("reasoning_gym")
    sizes = {"train": 8, "validation": 2, "test": 4, "test_rules": 0}
    domain = {"kind": "reasoning_gym", "tasks": {"chain_sum": {"max_terms": 3}}, "sizes": sizes}
    path = write_config(tmp_path, domain=domain, recipe="zero")
    settings = yaml.safe_load(path.read_text())
    del settings["routes"]
    settings["train"]["fade"] = {"kind": "none"}
    path.write_text(yaml.safe_dump(settings))
    assert "routes.kind: none" in realm("run", str(path))
    folder = tmp_path / "run"
    assert (folder / "model/model.safetensors").exists() and (folder / "report.html").exists()
    rows = json.loads((folder / "results.json").read_text())["evaluations"]
    assert {(row["method"], row["mode"]) for row in rows} == {
        ("base", "autonomous"),
        ("base", "sampled"),
        ("base", "self_consistency"),
        ("realm", "autonomous"),
    }
    assert realm("run", str(path)).count("up to date") == 5


@pytest.mark.slow
def test_tasks_with_scorers_of_their_own_go_through_every_stage(tmp_path):
    realm("run", str(write_config(tmp_path, domain=GYM)))
    assert_complete(tmp_path / "run", files=FILES - {"rules.md"})
    problems = list(read_jsonl(tmp_path / "run/problems.jsonl"))
    page = (tmp_path / "run/report.html").read_text(encoding="utf-8")
    data = re.search(r'id="data">([^<]*)<', page)
    shown = gzip.decompress(base64.b64decode(data[1])).decode()
    assert all(json.dumps(problem["question"], ensure_ascii=False) in shown for problem in problems)
    assert "source_dataset" not in shown
