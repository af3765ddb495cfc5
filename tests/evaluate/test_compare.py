"""`realm compare` on a tiny random model: killed, continued, complete, and not done twice."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from realm.cli import app
from realm.core.folder import hash_path
from realm.core.jsonl import read_jsonl
from realm.evaluate.compare import estimate_time_left
from realm.evaluate.records import HARD
from realm.evaluate.results import read_results
from tiny_compare import MODES, write_config


def compare(*args: str) -> str:
    result = CliRunner().invoke(app, ["compare", *args])
    assert result.exit_code == 0, result.output
    return result.output


def kill_when(config: Path, reached, *args: str) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "realm", "compare", str(config), *args]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    deadline = time.monotonic() + 120
    while not reached():
        assert process.poll() is None and time.monotonic() < deadline, (
            "the cell was never caught at work"
        )
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict, str]:
    """A comparison killed in the first ReaLM cell: (config, folder, finished stages, output)."""
    folder = tmp_path_factory.mktemp("compare")
    config, run = write_config(folder), folder / "run"
    kill_when(config, (run / "cells/realm-7/work/train/key.json").exists)
    before = json.loads((run / "cells/distilled-7/manifest.json").read_text())["stages"]
    return config, run, before, compare(str(config))


@pytest.mark.slow
def test_a_killed_comparison_continues_and_trains_nothing_twice(finished):
    _, run, before, output = finished
    assert (
        "distilled-7: " not in output and "realm-7: train" in output and "all cells done" in output
    )
    assert json.loads((run / "cells/distilled-7/manifest.json").read_text())["stages"] == before
    # The page is complete, with its style and script; it embeds no plotting library.
    assert (run / "report.html").stat().st_size > 50_000


@pytest.mark.slow
def test_every_method_is_measured_with_every_seed_and_over_all(finished):
    _, run, *_ = finished
    results = json.loads((run / "results.json").read_text())
    assert results["schema"] == "realm.results/2"
    all_rows = [row for row in results["evaluations"] if row["split"].startswith("test")]
    rows = {
        (row["method"], row["mode"], row["split"], row["seed"]): row
        for row in all_rows
        if row["mode"] != "probe"
    }
    num_rows = sum(row["mode"] != "probe" for row in all_rows)
    # methods and modes, splits, seeds and over all
    assert len(rows) == num_rows == (10 + 10 + 1 + 1) * 2 * 3
    plain = [mode for mode in MODES if mode != "probe"]
    for method, mode in (
        [("distilled", mode) for mode in plain]
        + [("realm", mode) for mode in plain]
        + [("majority", "routes")]
    ):
        assert [rows[method, mode, "test", seed]["n"] for seed in (7, 8, None)] == [6, 6, 12]
    voted, one = (
        rows["realm", mode, "test", 7]["tokens_per_problem"]
        for mode in ("self_consistency", "autonomous")
    )
    assert voted > one and rows["realm", "self_routes", "test", 7]["tokens_per_problem"] > voted
    families = {row["family"] for row in results["comparisons"]}
    led = {
        f"{name}{where}"
        for name in ("with routes", "without routes")
        for where in ("", " on test_rules")
    }
    equal = {f"equal tokens, {mode}" for mode in ("self_routes", "assisted")}
    assert families - {HARD} == led | equal | {"drop to test_rules", "more tokens"}
    # A model of random weights fills every completion: 4 tokens each, 3 of which are an answer.
    cost = {
        mode: rows["realm", mode, "test", None]["tokens_per_problem"]
        for mode in ("assisted", "self_routes")
    }
    for mode, tokens in cost.items():
        found = rows["realm", f"votes_at_{mode}", "test", None]
        assert found["tokens_per_problem"] == pytest.approx(tokens, abs=2)
    assert all(0 <= row["p"] <= row["p_holm"] <= 1 for row in results["comparisons"])


@pytest.mark.slow
def test_the_model_and_its_start_are_probed_and_measured_on_hard_problems(finished):
    _, run, *_ = finished
    results = read_results(run)
    assert {(row.method, row.seed) for row in results.probes} == {
        ("distilled", None),
        ("realm", None),
    }
    # Both are shown the same routes.
    wrong = [(row.n, row.seeds) for row in results.probes if row.source == "wrong"]
    assert wrong[0] == wrong[1] and wrong[0][1] == (7, 8)
    # A random model solves nothing, so that all problems are hard.
    hard = [row for row in results.comparisons if (row.family, row.split) == (HARD, "hard")]
    assert [(row.a, row.n) for row in hard] == [("distilled", 12), ("realm", 12)]
    assert "Hard problems" in (run / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_budgets_are_equal_and_recorded(finished):
    _, run, *_ = finished
    budgets = {
        (row["method"], row["seed"]): row
        for row in json.loads((run / "results.json").read_text())["budgets"]
    }
    start = budgets["distilled", 7]
    assert (start["trained_completions"], start["rollouts"]) == (4, 0) and start[
        "trained_tokens"
    ] > 4
    for method, rollouts in (("realm", 8), ("cot_synthesizer", 0)):
        assert (
            budgets[method, 7]["trained_completions"] == 4 + 8
            and budgets[method, 7]["rollouts"] == rollouts
        )


@pytest.mark.slow
def test_methods_of_a_seed_share_problems_routes_and_start(finished):
    _, run, *_ = finished
    cells = run / "cells"
    for name in ("problems.jsonl", "routes.jsonl"):
        assert (
            len(
                {
                    hash_path(cells / f"{method}-7" / name)
                    for method in ("data", "distilled", "realm", "cot_synthesizer")
                }
            )
            == 1
        )
        assert hash_path(cells / "data-7" / name) != hash_path(cells / "data-8" / name)
    assert (cells / "realm-7/distilled").resolve() == (cells / "distilled-7/distilled").resolve()
    assert hash_path(cells / "cot_synthesizer-7/model/model.safetensors") != hash_path(
        cells / "distilled-7/distilled/model.safetensors"
    )
    taught = read_jsonl(cells / "cot_synthesizer-7/taught.jsonl")
    assert len(taught) == 8 and all("<route 1>" in row["prompt"] for row in taught)


@pytest.mark.slow
def test_a_second_call_does_nothing_and_a_changed_setting_only_what_depends_on_it(finished):
    config, run, *_ = finished
    assert compare(str(config), "--dry-run").count("up to date") == 8
    assert compare(str(run), "--dry-run").count("up to date") == 8, "the folder stands for it"
    again = compare(
        str(config), "--dry-run", "--set", "compare.prompts.choose='{question} {routes}'"
    )
    assert (
        again.count("up to date") == 4 and "realm-8" in again and "would run: universal\n" in again
    )
    more = compare(
        str(config),
        "--dry-run",
        "--set",
        "compare.seeds=3",
        "--set",
        "compare.methods=[distilled,realm]",
    )
    assert more.count("up to date") == 6 and more.count("would run") == 3
    other = compare(str(config), "--dry-run", "--set", "train.reward.verdict=0.25")
    assert other.count("up to date") == 6 and other.count("would run: train") == 2


@pytest.mark.slow
def test_a_dry_run_loads_no_deep_learning_library(finished):
    config, *_ = finished
    code = (
        "import sys; from realm.cli import app\n"
        f"app(['compare', {str(config)!r}, '--dry-run'], standalone_mode=False)\n"
        "print(sorted({'torch', 'transformers', 'trl', 'datasets'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]" and "realm-8" in done.stdout


def test_time_left_goes_by_cells_of_the_same_method():
    class Cell:
        def __init__(self, name: str, seconds: float) -> None:
            self.name, self.method, self._seconds = (
                name,
                type("M", (), {"name": name.split("-")[0]}),
                seconds,
            )

        def count_seconds(self) -> float:
            return self._seconds

    cells = [Cell("realm-7", 600), Cell("base-7", 60), Cell("realm-8", 0), Cell("rft-8", 0)]
    assert (
        estimate_time_left(
            cells, {"realm-7": False, "base-7": False, "realm-8": True, "rft-8": True}
        )
        == "2 cells left, about 16 min"
    )
    assert (
        estimate_time_left(
            cells, {"realm-7": False, "base-7": False, "realm-8": True, "rft-8": True}, 2
        )
        == "2 cells left, about 8 min"
    )
    assert (
        estimate_time_left(cells, dict.fromkeys([cell.name for cell in cells], False))
        == "all cells done"
    )
    cells = [Cell("data-7", 15), Cell("realm-7", 0)]
    assert estimate_time_left(cells, {"data-7": False, "realm-7": True}) == "1 cells left"


@pytest.mark.parametrize(
    ("setting", "advice"),
    [("recipe=zero", "Set recipe: r1"), ("evaluate.routes=0", "Set at least 1")],
)
def test_settings_that_leave_nothing_to_compare_are_an_error(tmp_path, setting, advice):
    result = CliRunner().invoke(app, ["compare", str(write_config(tmp_path)), "--set", setting])
    assert result.exit_code == 2 and advice in result.output


@pytest.mark.slow
def test_cells_side_by_side_are_killed_with_their_parent_and_end_where_cells_in_a_row_do(
    finished, tmp_path
):
    config, run, *_ = finished
    beside, how = tmp_path / "run", ("--run", str(tmp_path / "run"), "--set", "compare.jobs=2")
    kill_when(config, (beside / "cells/realm-7/work/train/key.json").exists, *how)
    output = compare(str(config), *how)
    assert "all cells done" in output and "distilled-7: " not in output
    assert "Forecast" in (beside / "cells/realm-7/log.txt").read_text()
    for name in ("data-7/routes.jsonl", "distilled-7/sft.jsonl", "cot_synthesizer-8/taught.jsonl"):
        assert hash_path(beside / "cells" / name) == hash_path(run / "cells" / name)
    found, expected = (
        [
            (row["method"], row["mode"], row["seed"], row["n"])
            for row in json.loads((folder / "results.json").read_text())["evaluations"]
        ]
        for folder in (beside, run)
    )
    assert found == expected
