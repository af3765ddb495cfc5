import json
import subprocess
import sys

import pytest

from realm.config.root import load_config
from realm.core.errors import DataError, RunError
from realm.core.jsonl import append_jsonl, read_jsonl, write_json, write_jsonl, write_text
from realm.evaluate.records import Evaluation
from realm.evaluate.results import Results
from realm.run import Run
from realm.stages import STAGES


@pytest.fixture
def run(tmp_path, small_config):
    return Run(tmp_path / "run", small_config)


def do(run, stage, text="x"):
    """Run a stage that writes `text` into each of its outputs."""
    with run.recording(stage):
        write_outputs(run, stage, text)


def write_outputs(run, stage, text="x"):
    for name in STAGES[stage].outputs:
        path = run.path(name.rstrip("?/"))
        write_text(path / "file" if "/" in name else path, text)


def do_all(run):
    for stage in STAGES:
        do(run, stage)


def done(run):
    return [stage for stage in STAGES if run.is_done(stage)]


def with_settings(run, *overrides):
    return Run(run.folder, load_config(run.config.source, list(overrides)))


def test_a_stage_is_done_once_it_is_recorded(run):
    assert done(run) == []
    do(run, "data")
    assert done(run) == ["data"]


@pytest.mark.parametrize(
    ("override", "left"),
    [
        pytest.param(
            "report.transcripts=3", ["data", "routes", "distill", "train", "eval"], id="report"
        ),
        pytest.param(
            "evaluate.samples=2", ["data", "routes", "distill", "train", "report"], id="evaluate"
        ),
        pytest.param(
            "train.reward.verdict=1", ["data", "routes", "distill", "eval", "report"], id="train"
        ),
        pytest.param(
            "distill.assisted_share=0", ["data", "routes", "train", "eval", "report"], id="distill"
        ),
        pytest.param("routes.held_out=[other]", ["data"], id="held-out sources"),
        pytest.param("seed=8", [], id="seed"),
        pytest.param("run=elsewhere", list(STAGES), id="run folder"),
    ],
)
def test_a_stage_runs_again_when_a_setting_that_it_depends_on_changes(run, override, left):
    do_all(run)
    assert done(run) == list(STAGES)
    assert done(with_settings(run, override)) == left


def test_a_stage_runs_again_when_what_it_reads_changes(run):
    do_all(run)
    write_text(run.path("distilled/file"), "another")
    assert done(run) == ["data", "routes", "report"]


def test_a_stage_runs_again_when_what_it_wrote_is_gone(run):
    do_all(run)
    run.path("report.html").unlink()
    assert done(run) == ["data", "routes", "distill", "train", "eval"]


def test_another_model_in_the_same_folder_counts_as_changed(run, tmp_path):
    do_all(run)
    write_text(tmp_path / "model/config.json", "{}")
    assert done(run) == ["data", "routes"]


def test_evaluation_needs_no_trained_model_and_runs_again_when_there_is_one(run):
    for stage in ("data", "routes", "eval"):
        do(run, stage)
    assert run.is_done("eval")
    do(run, "distill")
    assert not run.is_done("eval")


def test_the_zero_recipe_does_not_distill(run):
    zero = with_settings(run, "recipe=zero")
    assert not zero.has_stage("distill")
    for stage in ("data", "routes", "train"):
        do(zero, stage)
    assert zero.is_done("train")


def test_a_missing_input_names_the_verb_that_makes_it(run):
    with pytest.raises(
        RunError,
        match=r"problems\.jsonl: `realm routes` reads it, and it is not there\. "
        r"Run `realm data` first",
    ):
        do(run, "routes")
    assert not run.folder.exists()


def test_a_missing_file_of_the_config_is_named(write_config, tmp_path):
    path = write_config(
        domain={"kind": "files", "path": "mine.csv"},
        routes={"kind": "import", "files": [{"path": "b.jsonl", "source": "b"}]},
    )
    with pytest.raises(DataError, match=r"mine\.csv: there is no such file"):
        do(Run(tmp_path / "run", load_config(path)), "data")


def test_the_manifest_says_what_came_from_what(run):
    do(run, "data")
    manifest = run.manifest()
    assert (manifest["schema"], manifest["seed"], manifest["config"]) == (
        "realm.run/2",
        7,
        run.config.dump(),
    )
    assert set(manifest["versions"]) >= {"python", "torch", "transformers", "trl"}
    entry = manifest["stages"]["data"]
    assert set(entry) == {
        "settings",
        "inputs",
        "outputs",
        "seconds",
        "started",
        "finished",
        "cost_usd",
    }
    assert set(entry["outputs"]) == {"problems.jsonl", "rules.md"}


def test_the_manifest_keeps_the_settings_of_the_command_line(run):
    changed = with_settings(run, "seed=8", "train.fade.kind=cosine")
    do(changed, "data")
    assert changed.manifest()["overrides"] == ["seed=8", "train.fade.kind=cosine"]
    given = {"distill.sft": {"max_steps": 3}, "model": "7"}
    again = load_config(run.config.source, run.config.with_settings(given).overrides)
    assert again == run.config.with_settings(given)


def test_what_a_stage_spends_is_recorded(run):
    with run.recording("data"):
        run.spend(0.5)
        run.spend(0.25)
        write_jsonl(run.path("problems.jsonl"), [])
    assert run.manifest()["stages"]["data"]["cost_usd"] == 0.75


@pytest.mark.parametrize("content", [{"schema": "realm.run/1", "stages": {}}, ["no", "manifest"]])
def test_a_run_folder_of_another_version_is_refused_and_left_as_it_is(run, content):
    write_json(run.path("manifest.json"), content)
    before = run.path("manifest.json").read_bytes()
    with pytest.raises(RunError, match=r"made by another version of ReaLM.*--run, or delete"):
        run.data()
    assert [path.name for path in run.folder.iterdir()] == ["manifest.json"]
    assert run.path("manifest.json").read_bytes() == before


def interrupt(run, stage):
    with pytest.raises(KeyboardInterrupt), run.recording(stage):
        write_text(run.work(stage) / "half.txt", "half")
        raise KeyboardInterrupt


def test_half_done_work_is_kept_for_the_same_settings_and_inputs(run):
    interrupt(run, "data")
    assert not run.is_done("data")
    with run.recording("data"):
        assert (run.work("data") / "half.txt").read_text() == "half"
        write_jsonl(run.path("problems.jsonl"), [])
    assert not run.path("work/data").exists()


def test_half_done_work_of_other_settings_is_thrown_away(run):
    interrupt(run, "data")
    changed = with_settings(run, "seed=8")
    with changed.recording("data"):
        assert not (changed.work("data") / "half.txt").exists()
        write_jsonl(changed.path("problems.jsonl"), [])


def test_half_done_work_of_other_inputs_is_thrown_away(run):
    do(run, "data")
    interrupt(run, "routes")
    do(run, "data", text="other problems")
    with run.recording("routes"):
        assert not (run.work("routes") / "half.txt").exists()
        write_jsonl(run.path("routes.jsonl"), [])
        write_json(run.path("bank.json"), {})


def test_a_stage_that_fails_at_once_leaves_nothing_behind(run):
    with pytest.raises(DataError), run.recording("data"):
        raise DataError("empty split")
    assert not run.folder.exists()


def test_a_stage_that_is_done_again_is_not_done_until_it_ends(run):
    do(run, "data")
    interrupt(run, "data")
    assert not run.is_done("data")


def test_two_processes_do_not_work_in_one_folder(run):
    other = Run(run.folder, run.config)
    with run.recording("data"):
        with (
            pytest.raises(RunError, match="another realm process is at work here"),
            other.recording("data"),
        ):
            pass
        write_jsonl(run.path("problems.jsonl"), [])


KILLED = """
import os, signal, sys
from pathlib import Path
from realm.config.root import load_config
from realm.core.jsonl import append_jsonl
from realm.run import Run

run = Run(Path(sys.argv[2]), load_config(Path(sys.argv[1])))
with run.recording("data"), append_jsonl(run.work("data") / "rows.jsonl") as append:
    append({"row": 1})
    with (run.work("data") / "rows.jsonl").open("a") as file:
        file.write('{"row": ')
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_stage_continues_with_the_rows_it_had(run):
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(run.config.source), str(run.folder)], timeout=60
    )
    assert killed.returncode == -9
    assert not run.is_done("data")
    with run.recording("data"):
        rows = run.work("data") / "rows.jsonl"
        with append_jsonl(rows) as append:
            append({"row": 2})
        assert read_jsonl(rows) == [{"row": 1}, {"row": 2}]
        rows.replace(run.path("problems.jsonl"))
    assert run.is_done("data")


def test_an_input_is_never_written_over(write_config, tmp_path):
    path = write_config(
        domain={"kind": "files", "path": "mine/problems.jsonl", "answer": "number"},
        routes={"kind": "import", "files": [{"path": "b.jsonl", "source": "b"}]},
    )
    write_jsonl(tmp_path / "mine/problems.jsonl", [{"id": "a", "question": "1?", "answer": 1}])
    write_jsonl(tmp_path / "b.jsonl", [])
    before = (tmp_path / "mine/problems.jsonl").read_bytes()
    for force in (False, True):
        with pytest.raises(RunError, match=r"problems\.jsonl: the config names this file as an"):
            Run(tmp_path / "mine", load_config(path)).data(force=force)
    assert (tmp_path / "mine/problems.jsonl").read_bytes() == before


def test_a_folder_of_something_else_is_used_only_by_force(run):
    write_text(run.folder / "thesis.tex", "x")
    with pytest.raises(RunError, match=r"is no run folder and holds other files, such as thesis"):
        run.data()
    assert [file.name for file in run.folder.iterdir()] == ["thesis.tex"]
    run.data(force=True)
    run.data()
    assert run.is_done("data") and run.path("thesis.tex").exists()


def test_results_of_models_are_not_replaced_by_results_without_one(run):
    for stage in ("data", "routes"):
        run.do(stage)
    row = {"method": "base", "mode": "autonomous", "split": "test", "seed": 7, "n": 2}
    measured = Evaluation(**row, accuracy=0.5, ci95=(0.1, 0.9), tokens_per_problem=3.0)
    results = Results(evaluations=[measured], comparisons=[]).to_json()
    write_json(run.path("results.json"), results)
    without = with_settings(run, "model=null")
    with pytest.raises(RunError, match=r"results\.json: holds results of models"):
        without.evaluate()
    assert json.loads(run.path("results.json").read_text())["evaluations"][0]["method"] == "base"
    assert not without.evaluate(force=True).list_rows("test")


def test_links_in_a_run_folder_lead_nothing_elsewhere(run, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "precious").write_text("precious", encoding="utf-8")
    run.folder.mkdir()
    for name in ("problems.jsonl", ".problems.jsonl.part", ".manifest.json.part"):
        run.path(name).symlink_to(theirs / "precious")
    run.path("work").symlink_to(theirs)
    do(run, "data")
    assert [file.name for file in theirs.iterdir()] == ["precious"]
    assert (theirs / "precious").read_text(encoding="utf-8") == "precious"
    assert not run.path("problems.jsonl").is_symlink() and run.is_done("data")


def test_links_inside_the_folders_of_a_stage_are_removed_before_it_begins(run, tmp_path):
    (tmp_path / "precious").write_text("precious", encoding="utf-8")
    do_all(run)
    for folder in ("rollouts", "work/train"):
        run.path(folder).mkdir(parents=True, exist_ok=True)
        (run.path(folder) / "samples.jsonl").symlink_to(tmp_path / "precious")
    run.path("fade.jsonl").unlink()
    run.path("fade.jsonl").symlink_to(tmp_path / "precious")
    with run.recording("train"):
        for name in ("rollouts/samples.jsonl", "work/train/samples.jsonl", "fade.jsonl"):
            assert not run.path(name).is_symlink()
        write_outputs(run, "train")
    assert (tmp_path / "precious").read_text(encoding="utf-8") == "precious"


def test_a_lock_that_is_a_link_is_no_lock(run, tmp_path):
    (tmp_path / "precious").write_text("precious", encoding="utf-8")
    run.path("work").mkdir(parents=True)
    run.path("work/.lock").symlink_to(tmp_path / "precious")
    do(run, "data")
    assert (tmp_path / "precious").read_text(encoding="utf-8") == "precious"


def test_what_a_run_of_another_config_made_is_not_replaced(run, tmp_path):
    do_all(run)
    other = tmp_path / "other.yaml"
    other.write_text(run.config.source.read_text())
    theirs = Run(run.folder, load_config(other, ["train.reward.verdict=1"]))
    with pytest.raises(RunError, match=r"trained with .*small\.yaml, and `realm train` .*other"):
        theirs.do("train")
    reseeded = Run(run.folder, load_config(other, ["seed=8"]))
    for replace in (reseeded.data, reseeded.routes, reseeded.run_all):
        with pytest.raises(RunError, match="holds a model that was trained with"):
            replace()  # problems of one config beside the model of another would mix
    assert theirs.path("model/file").read_text() == "x"
    assert theirs.path("problems.jsonl").read_text() == "x"
    theirs.check_folder("train", force=True)
    # The same config with other settings, and a config that was moved, go on with their run.
    with_settings(run, "train.reward.verdict=1").check_folder("train")
    run.config.source.rename(tmp_path / "moved.yaml")
    theirs.check_folder("train")


def test_damaged_results_do_not_keep_a_run_without_a_model_from_making_them_again(run):
    do_all(run)
    run.path("results.json").write_text('{"schema": ')
    Run(run.folder, run.config.model_copy(update={"model": None})).check_folder("eval")
