"""A user's own domain, from its module to the report: what the guide to the Python API promises."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tiny import make_tiny

AGES = '''
import random

import realm


class Ages(realm.Domain):
    """Sums of ages, in months."""

    rules = "1. A year has 12 months."
    verifier = realm.Verifier("number")
    answer_form = "the number of months alone"
    sources = ("careful", "hasty", "stranger")

    def __init__(self, num_problems):
        self.num_problems = num_problems

    def problems(self, seed):
        pairs = [(a, b) for a in range(1, 10) for b in range(1, 10)]
        random.Random(seed).shuffle(pairs)
        return [
            realm.Problem(
                id=f"ages-{a}-{b}",
                split=("train", "train", "test")[index % 3],
                question=f"Ann is {a} and Bo is {b} years old. How many months is that together?",
                answer=12 * (a + b),
                meta={"years": a + b},
            )
            for index, (a, b) in enumerate(pairs[: self.num_problems])
        ]

    def write_chain(self, problem):
        return self.write(problem, "expert", 12, guided=True)

    def write_route(self, problem, source, rng):
        return self.write(problem, source, rng.choice([10, 12]))

    def write(self, problem, source, months, **more):
        years = problem.meta["years"]
        return realm.Route(
            problem_id=problem.id,
            source=source,
            text=f"{years} times {months} is {years * months}",
            answer=years * months,
            correct=months == 12,
            **more,
        )
'''
CONFIG = {
    "run": "runs/ages",
    "model": "tiny",
    "domain": {"kind": "python", "target": "ages:Ages", "settings": {"num_problems": 12}},
    "routes": {
        "kind": "scripted",
        "guided_problems": 6,
        "sources": ["careful", "hasty"],
        "held_out": ["stranger"],
        "eval_routes": 2,
    },
    "distill": {"sft": {"max_steps": 1, "per_device_train_batch_size": 2}},
    "train": {
        "fade": {"routes": 2},
        "headroom": {"problems": 2, "samples": 2},
        "grpo": {
            "max_steps": 1,
            "per_device_train_batch_size": 4,
            "num_generations": 2,
            "max_completion_length": 8,
        },
    },
    "evaluate": {"routes": 2, "max_new_tokens": 8},
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "ages.py").write_text(AGES)
    (tmp_path / "ages.yaml").write_text(yaml.safe_dump(CONFIG))
    return tmp_path


def realm(folder: Path, *words: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "realm", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_a_domain_in_a_module_beside_the_config_goes_through_every_stage(folder):
    make_tiny(folder / "tiny", "qwen2")
    done = realm(folder, "run", "ages.yaml")
    assert done.returncode == 0, done.stderr
    assert "one route" in done.stdout and "realm, assisted" in done.stdout
    again = realm(folder, "run", "ages.yaml").stdout
    assert again.count("up to date") == 6
    (folder / "ages.py").write_text(
        AGES.replace("How many months is that", "How many months are they")
    )
    planned = realm(folder, "run", "ages.yaml", "--dry-run").stdout
    assert "data     would run" in planned and "up to date" not in planned


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("return [", "raise SystemExit(0)\n        return [", "Ages.problems raised SystemExit: 0"),
        ("answer=12", "anser=12", "TypeError: .*keyword argument 'anser' .in .*ages.py, line 22"),
        ('"number"', '"numbr"', "ages:Ages raised .*'numbr'.*ages.py, line 11"),
        ('rules = "1. A year has 12 months."', "rules = 3", "its rules are a int"),
        ("answer=12 * (a + b)", "answer={1, 2}", "cannot be written as JSON"),
        ("answer=12 * (a + b)", "answer='old'", "its gold answer 'old' cannot earn the reward"),
    ],
)
def test_a_mistake_in_the_module_is_one_message_and_exit_code_2(folder, old, new, message):
    (folder / "ages.py").write_text(AGES.replace(old, new))
    done = realm(folder, "data", "ages.yaml", "--set", "model=null")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert re.search(message, done.stderr), done.stderr
    assert not (folder / "runs/ages/problems.jsonl").exists()
