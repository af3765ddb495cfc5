"""The public Python API."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import realm
from realm.core.jsonl import write_json, write_text
from realm.evaluate.results import SCHEMA, read_results
from realm.stages import STAGES

ROOT = Path(__file__).parents[1]
PUBLIC = [
    "Config",
    "ConfigError",
    "DataError",
    "Domain",
    "Judged",
    "ModelError",
    "Problem",
    "RealmError",
    "ReasoningGymDomain",
    "Results",
    "Route",
    "RouteSet",
    "Run",
    "RunError",
    "Verifier",
    "__version__",
    "judge",
    "load_config",
    "read_problems",
    "render_completion",
]
HEAVY = ["accelerate", "datasets", "pandas", "peft", "torch", "transformers", "trl"]


class Sums(realm.Domain):
    verifier = realm.Verifier("number")

    def problems(self, seed):
        splits = ["train"] * 4 + ["test"] * 2
        return [
            realm.Problem(id=f"p{i}", split=split, question=f"{i} + {seed} = ?", answer=i + seed)
            for i, split in enumerate(splits)
        ]


class OtherSums(Sums):
    rules = "1. Add."


def brevity(judged):
    return 1.0 if judged.num_tokens < 100 else 0.0


@pytest.fixture
def config(tmp_path):
    (tmp_path / "sums.yaml").write_text(
        "model: some/model\nroutes: {kind: import, files: [{path: outputs.jsonl, source: a}]}\n"
    )
    write_text(tmp_path / "outputs.jsonl", json.dumps({"id": "p0", "outputs": "7"}) + "\n")
    return realm.load_config(tmp_path / "sums.yaml")


def test_the_public_names_are_pinned():
    assert realm.__all__ == PUBLIC
    assert all(getattr(realm, name) is not None for name in PUBLIC)
    with pytest.raises(AttributeError, match="has no attribute 'Runs'"):
        realm.Runs  # noqa: B018


def test_importing_the_package_loads_no_model_library():
    code = (
        f"import sys, realm, realm.cli, realm.run; print(sorted(set({HEAVY}) & set(sys.modules)))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert loaded.stdout.strip() == "[]"


@pytest.mark.slow
def test_the_quickstart_runs(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "examples/quickstart.py", tmp_path / "run"],
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("realm - distilled, autonomous: ")


def test_a_domain_of_the_caller_is_used_and_two_runs_live_side_by_side(config, tmp_path):
    first = realm.Run(tmp_path / "first", config, domain=Sums())
    second = realm.Run(tmp_path / "second", config.with_settings({"seed": 8}), domain=OtherSums())
    first.data()
    second.data()
    assert '"0 + 7 = ?"' in (tmp_path / "first/problems.jsonl").read_text()
    assert '"0 + 8 = ?"' in (tmp_path / "second/problems.jsonl").read_text()
    assert (tmp_path / "second/rules.md").exists() and not (tmp_path / "first/rules.md").exists()
    first.routes()
    assert first.is_done("data") and first.is_done("routes") and not second.is_done("routes")


def test_a_stage_that_is_up_to_date_is_skipped(config, tmp_path, caplog):
    run = realm.Run(tmp_path / "run", config, domain=Sums())
    with caplog.at_level("INFO", logger="realm"):
        run.data()
        run.data()
        run.data(force=True)
    said = [record.getMessage().split()[1] for record in caplog.records]
    assert said == ["running", "done", "up", "running", "done"]


def test_a_changed_domain_or_reward_term_makes_its_stages_run_again(config, tmp_path):
    run = realm.Run(tmp_path / "run", config, domain=Sums())

    def write_outputs(of_run, stage):
        with of_run.recording(stage):
            for name in STAGES[stage].outputs:
                path = of_run.path(name.rstrip("?/"))
                write_text(path / "file" if "/" in name else path, "x")

    for stage in STAGES:
        write_outputs(run, stage)
    assert all(run.is_done(stage) for stage in STAGES)
    same = realm.Run(tmp_path / "run", config, domain=Sums())
    assert all(same.is_done(stage) for stage in STAGES)
    other = realm.Run(tmp_path / "run", config, domain=OtherSums())
    assert not any(other.is_done(stage) for stage in STAGES)
    terms = {"brevity": (0.1, brevity)}
    rewarded = realm.Run(tmp_path / "run", config, domain=Sums(), reward_terms=terms)
    assert [stage for stage in STAGES if not rewarded.is_done(stage)] == ["train"]
    write_outputs(rewarded, "train")
    heavier = {"brevity": (0.2, brevity)}
    rewarded = realm.Run(tmp_path / "run", config, domain=Sums(), reward_terms=heavier)
    assert not rewarded.is_done("train")


def test_a_run_without_any_domain_is_refused(config, tmp_path):
    with pytest.raises(realm.ConfigError, match=r"sums\.yaml: domain: this key is needed"):
        realm.Run(tmp_path / "run", config)


def test_settings_can_be_given_by_their_dotted_names(config):
    changed = realm.load_config(config.source, {"train.fade.kind": "cosine", "seed": 3})
    assert (changed.train.fade.kind, changed.seed) == ("cosine", 3)
    with pytest.raises(realm.ConfigError, match=r"train\.fade\.kind=bent: found 'bent'"):
        realm.load_config(config.source, {"train.fade.kind": "bent"})


def test_problems_are_read_from_a_table(tmp_path):
    path = tmp_path / "cases.csv"
    path.write_text("question,answer\n" + "".join(f"What is {i} + 1?,{i + 1}\n" for i in range(50)))
    problems = realm.read_problems(path, seed=7, answer="number", columns={"id": None})
    assert len(problems) == 50 and {problem.split for problem in problems} >= {"train", "test"}
    again = realm.read_problems(path, seed=7, answer="number", columns={"id": None})
    other = realm.read_problems(path, seed=8, answer="number", columns={"id": None})
    assert problems == again != other
    halves = {"train": 0.5, "test": 0.5}
    split = realm.read_problems(path, seed=7, columns={"id": None}, splits=halves)
    assert {problem.split for problem in split} == {"train", "test"}


def test_results_are_looked_up_in_either_order(tmp_path):
    row = {"a": "realm", "a_mode": "autonomous", "b": "distilled", "b_mode": "autonomous"}
    row |= {"family": "test", "split": "test", "n": 200, "difference": 0.035}
    row |= {"ci95": [0.01, 0.06], "smallest_detectable": None, "p_mcnemar": 0.02}
    accuracy = {"method": "realm", "mode": "autonomous", "split": "test", "seed": 7, "n": 200}
    accuracy |= {"accuracy": 0.9, "ci95": [0.85, 0.93], "tokens_per_problem": 30.0}
    content = {"schema": SCHEMA, "budgets": [], "methods": {}, "left_out": {}}
    content |= {"evaluations": [accuracy], "comparisons": [row]}
    write_json(tmp_path / "results.json", content)
    results = read_results(tmp_path)
    assert results.accuracy("realm", mode="autonomous") == 0.9
    assert str(results.difference("realm", "distilled", mode="autonomous")) == (
        "realm - distilled, autonomous: +3.5 [+1.0, +6.0] points, realm is better"
    )
    turned = results.difference("distilled", "realm", mode="autonomous")
    assert (turned.difference, turned.ci95) == (-0.035, (-0.06, -0.01))
    assert turned.finding == "realm is better"
    with pytest.raises(realm.RunError, match="realm - base, autonomous, was not compared on test"):
        results.difference("realm", "base")
    with pytest.raises(
        realm.RunError, match=r"base assisted was not measured on test\. Measured: re"
    ):
        results.accuracy("base", mode="assisted")
    write_json(tmp_path / "results.json", content | {"schema": "realm.results/1"})
    with pytest.raises(realm.RunError, match=r"not results of schema realm\.results/2"):
        read_results(tmp_path)
