import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from realm import Domain, Run, Verifier
from realm.cli import app
from realm.config.root import load_config
from realm.core.jsonl import read_jsonl, write_jsonl, write_text
from realm.evaluate.report import write_command
from realm.stages import STAGES
from tiny import make_tiny

ROOT = Path(__file__).parents[2]
ALL = [
    "check routes",
    "check distill",
    "check train",
    "check eval",
    "data",
    "routes",
    "require routes",
    "distill",
    "train",
    "eval",
    "report",
]
"""What a run does: all settings are checked before the first stage, routes before the training."""
ROWS = [
    {"id": str(number), "question": f"{number} + 1?", "answer": number + 1} for number in range(40)
]


@pytest.fixture
def config(write_config, tmp_path):
    """Return the path of a config with a file of 40 problems and a run folder of its own."""
    write_jsonl(tmp_path / "rows.jsonl", ROWS)
    routes = {"kind": "import", "files": [{"path": "answers.jsonl", "source": "someone"}]}
    return write_config(
        run=str(tmp_path / "run"),
        domain={"kind": "files", "path": "rows.jsonl", "answer": "number"},
        routes=routes,
    )


def realm(*arguments):
    return CliRunner().invoke(
        app, [str(argument) for argument in arguments], catch_exceptions=False
    )


def files_of(folder):
    return sorted(
        file.name for file in folder.rglob("*") if file.is_file() and file.name != ".lock"
    )


@pytest.fixture
def stand_ins(monkeypatch):
    """Replace every stage by one that only writes its outputs; return the stages that ran."""
    ran = []

    def stand_in(stage):
        def write_outputs(run):
            ran.append(stage.name)
            for name in stage.outputs:
                path = run.path(name.rstrip("?/"))
                write_text(path / "file" if "/" in name else path, "x")

        check = stage.check and (lambda run: ran.append(f"check {stage.name}"))
        estimate = stage.estimate and (lambda run: "about nothing")
        return replace(stage, function=write_outputs, check=check, estimate=estimate)

    for name, stage in STAGES.items():
        monkeypatch.setitem(STAGES, name, stand_in(stage))
    monkeypatch.setattr(
        "realm.sources.routes.require_routes", lambda run: ran.append("require routes")
    )
    monkeypatch.setattr(
        "realm.cli.stages.show_results",
        lambda run: print(f"the results of {run.folder.name}"),
    )
    return ran


def test_data_writes_the_problems_and_says_so(config, tmp_path):
    result = realm("data", config)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "done in 0 s: problems.jsonl" in result.stdout
    assert len(read_jsonl(tmp_path / "run/problems.jsonl")) == 40


def test_a_second_call_skips_what_is_done_and_says_so(config):
    realm("data", config)
    assert "up to date" in realm("data", config).stdout
    assert "done in" in realm("data", config, "--force").stdout
    assert "done in" in realm("data", config, "--set", "seed=8").stdout


def test_another_run_folder_can_be_named(config, tmp_path):
    realm("data", config, "--run", tmp_path / "other")
    assert (tmp_path / "other/problems.jsonl").exists() and not (tmp_path / "run").exists()


def test_a_dry_run_touches_nothing(config, tmp_path):
    result = realm("run", config, "--dry-run", "--set", "model=null")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == list(STAGES)
    assert not (tmp_path / "run").exists()


def test_run_does_all_stages_in_order_once_and_ends_with_the_results(config, stand_ins, tmp_path):
    write_jsonl(tmp_path / "answers.jsonl", [])
    first = realm("run", config)
    assert (first.exit_code, stand_ins) == (0, ALL)
    assert first.stdout.splitlines()[-1] == "the results of run"
    second = realm("run", config)
    assert stand_ins == ALL
    assert second.stdout.count("up to date") == len(STAGES)
    realm("run", config, "--set", "evaluate.samples=2")
    assert stand_ins == [*ALL, "check eval", "eval"], "equal results keep the report"


def test_a_run_folder_continues_with_what_it_was_made_with(config, stand_ins, tmp_path):
    write_jsonl(tmp_path / "answers.jsonl", [])
    realm("run", config, "--set", "evaluate.samples=2", "--set", "seed=8")
    config.unlink()  # not even the config file is needed
    assert realm("run", tmp_path / "run").stdout.count("up to date") == len(STAGES)
    assert stand_ins == ALL
    moved = (tmp_path / "run").rename(tmp_path / "moved")
    realm("run", moved, "--set", "evaluate.samples=3")
    assert stand_ins == [*ALL, "check eval", "eval"], "what --set changes runs again"
    assert not (tmp_path / "run").exists()
    kept = load_config(moved)
    assert (kept.seed, kept.evaluate.samples) == (8, 3)
    assert kept.overrides == ["evaluate.samples=2", "seed=8", "evaluate.samples=3"]


def test_a_folder_that_a_config_did_not_make_is_not_continued(small_config, stand_ins, tmp_path):
    class Sums(Domain):
        verifier = Verifier("number")

    Run(tmp_path / "theirs", small_config, domain=Sums()).data()
    result = realm("run", tmp_path / "theirs")
    assert result.exit_code == 2 and "made by a Python program" in result.stderr
    (tmp_path / "empty").mkdir()
    result = realm("run", tmp_path / "empty")
    assert result.exit_code == 2 and "not a run folder" in result.stderr


def test_the_command_of_the_report_does_the_same_from_any_folder(
    write_config, stand_ins, tmp_path, monkeypatch
):
    folder = tmp_path / "it's here"
    folder.mkdir()
    write_jsonl(folder / "my rows.jsonl", ROWS)
    write_jsonl(folder / "answers.jsonl", [])
    files = {"kind": "files", "path": "none.jsonl", "answer": "number"}
    routes = {"kind": "import", "files": [{"path": "answers.jsonl", "source": "someone"}]}
    write_config(domain=files, routes=routes).rename(folder / "my config.yaml")
    monkeypatch.chdir(folder)
    overrides = ["domain.path=my rows.jsonl", "model=null", "domain.columns={id: id}"]
    options = [part for override in overrides for part in ("--set", override)]
    realm("run", "my config.yaml", "--run", "my run", *options)
    assert stand_ins == ["check routes", "check eval", "data", "routes", "eval", "report"]
    command = write_command(Run("my run", load_config("my config.yaml", overrides)), "run")
    monkeypatch.chdir(tmp_path)
    again = realm(*shlex.split(command)[1:])
    assert again.stdout.count("up to date") == 4, again.stderr


def test_the_folder_of_a_config_stands_for_it_until_it_is_a_run_folder(config, stand_ins, tmp_path):
    write_jsonl(tmp_path / "answers.jsonl", [])
    config.rename(tmp_path / "config.yaml")
    assert realm("run", tmp_path).exit_code == 0 and stand_ins == ALL
    made = tmp_path / "run"
    (made / "config.yaml").write_text("seed: 99\n")
    assert realm("run", made).stdout.count("up to date") == len(STAGES), "the manifest counts"


def test_the_zero_recipe_says_that_it_does_not_distill(config, stand_ins, tmp_path):
    write_jsonl(tmp_path / "answers.jsonl", [])
    result = realm("run", config, "--set", "recipe=zero")
    assert "distill  not part of the recipe 'zero'" in result.stdout
    assert stand_ins == [done for done in ALL if "distill" not in done]
    assert (
        "distilled/"
        not in realm("run", config, "--set", "recipe=zero", "--force", "--dry-run").stdout
    )


def test_a_single_verb_warns_that_an_earlier_stage_is_out_of_date(config, stand_ins, tmp_path):
    write_jsonl(tmp_path / "answers.jsonl", [])
    realm("run", config)
    result = realm("report", config, "--set", "train.reward.verdict=1")
    assert (
        "realm: train: made with other settings or inputs, or changed since; `realm run` brings "
        "all up to date." in result.stderr
    )


def test_without_a_model_the_long_stages_are_no_part_of_a_run_and_a_mistake_by_themselves(
    config, stand_ins, tmp_path
):
    write_jsonl(tmp_path / "answers.jsonl", [])
    result = realm("run", config, "--set", "model=null")
    assert stand_ins == ["check routes", "check eval", "data", "routes", "eval", "report"]
    assert result.stdout.count("not part of a run without a model") == 2
    for verb in ("distill", "train"):
        result = realm(verb, config, "--set", "model=null")
        assert result.exit_code == 2 and result.stderr.count("\n") == 1
        assert (
            f"{config}: model: there is none, and this needs one." in result.stderr
            and "--set model=" in result.stderr
        )


def test_an_unknown_key_is_one_message(config):
    result = realm("data", config, "--set", "domain.anwser=text")
    assert result.exit_code == 2
    assert result.stderr == (
        "realm: --set domain.anwser=text: unknown key. Allowed here: kind, path, columns, "
        "question_template, answer, rules, "
        "splits, strict, allow_shared_questions. Did you mean 'answer'?\n"
    )


def test_a_missing_config_is_one_message(tmp_path):
    result = realm("run", tmp_path / "none.yaml")
    assert (result.exit_code, result.stderr) == (
        2,
        f"realm: {tmp_path / 'none.yaml'}: there is no such config file. Ready ones are in "
        "configs/.\n",
    )


def test_a_missing_data_file_is_one_message_and_writes_nothing(config, tmp_path):
    (tmp_path / "rows.jsonl").unlink()
    result = realm("data", config)
    assert result.exit_code == 2
    assert result.stderr.startswith(
        f"realm: {tmp_path / 'rows.jsonl'}: there is no such file, but {config} names it."
    )
    assert not (tmp_path / "run").exists()


def test_a_malformed_line_is_named_by_its_number_and_nothing_is_half_written(config, tmp_path):
    with (tmp_path / "rows.jsonl").open("a") as file:
        file.write('{"id": "x", "question": \n')
    result = realm("run", config, "--set", "model=null")
    assert result.exit_code == 2
    assert result.stderr.startswith(
        f"realm: {tmp_path / 'rows.jsonl'}:41: not valid JSON: Expecting value"
    )
    assert result.stderr.count("\n") == 1
    assert files_of(tmp_path / "run") == []


def test_a_wrong_override_is_one_message(config, tmp_path):
    result = realm("run", config, "--set", "seed")
    assert (result.exit_code, result.stderr) == (
        2,
        "realm: --set seed: not KEY=VALUE. Try --set train.fade.kind=cosine\n",
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model=./nowhere", "model: there is no folder"),
        (
            "distill.sft.learning_rat=1",
            "distill.sft.learning_rat: SFTConfig of TRL has no such setting",
        ),
        (
            "train.grpo.num_generation=2",
            "train.grpo.num_generation: GRPOConfig of TRL has no such setting",
        ),
    ],
)
def test_a_mistake_of_the_long_stages_shows_before_any_stage_and_in_a_dry_run(
    config, tmp_path, override, message
):
    make_tiny(tmp_path / "model")
    write_jsonl(
        tmp_path / "answers.jsonl",
        [{"id": row["id"], "outputs": str(row["answer"])} for row in ROWS],
    )
    result = realm("run", config, "--set", override)
    assert result.exit_code == 2
    assert message in result.stderr and result.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()
    planned = realm("run", config, "--set", override, "--dry-run")
    assert (planned.exit_code, planned.stderr) == (2, result.stderr)


def test_an_empty_split_is_named_and_nothing_is_half_written(config, tmp_path):
    result = realm("data", config, "--set", "domain.splits={train: 1.0}")
    assert result.exit_code == 2
    assert "'test'" in result.stderr and "domain.splits" in result.stderr
    assert files_of(tmp_path / "run") == []


def test_a_stage_without_its_input_names_the_verb_to_run(config, tmp_path):
    result = realm("report", config)
    assert result.exit_code == 2
    assert (
        "problems.jsonl: `realm report` reads it, and it is not there. Run `realm data` first"
        in result.stderr
    )


@pytest.mark.parametrize(
    "arguments",
    [["frobnicate"], ["data"], ["data", "x.yaml", "--sett", "a=1"]],
    ids=["verb", "no config", "option"],
)
def test_a_wrong_command_line_exits_with_2(arguments):
    assert realm(*arguments).exit_code == 2


def test_our_own_mistake_is_no_user_error(config, monkeypatch):
    def broken(run):
        raise AssertionError("ours")

    monkeypatch.setitem(STAGES, "data", replace(STAGES["data"], function=broken))
    with pytest.raises(AssertionError, match="ours"):
        realm("data", config)


SLOW_DATA = """
import signal, time
import realm.cli, realm.domains.data

# A background job of a shell would ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

def run_data(run):
    (run.work("data") / "half.txt").write_text("half")
    print("at work", flush=True)
    time.sleep(60)

realm.domains.data.run_data = run_data
realm.cli.main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill"])
def test_an_interrupted_stage_keeps_its_half_done_work_and_the_next_call_finishes(
    config, tmp_path, number
):
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_DATA, "data", str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.stdout.readline() != "at work\n":
        assert process.poll() is None, process.stderr.read()
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    if number == signal.SIGINT:
        assert (process.returncode, errors.strip()) == (
            130,
            "realm: interrupted; the same command continues.",
        )
    assert files_of(tmp_path / "run") == ["half.txt", "key.json"]
    assert realm("run", config, "--set", "model=null", "--dry-run").exit_code == 0
    assert realm("data", config).exit_code == 0
    assert files_of(tmp_path / "run") == ["manifest.json", "problems.jsonl"]


def test_help_is_quick_because_it_loads_no_model_library():
    code = (
        "import sys, realm, realm.cli, realm.run\n"
        "heavy = {'torch', 'transformers', 'trl', 'datasets', 'pandas', 'peft', 'accelerate', "
        "'statsmodels'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert loaded.stdout.strip() == "[]"
    started = time.perf_counter()
    shown = subprocess.run(
        [sys.executable, "-m", "realm", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    print(f"realm --help: {time.perf_counter() - started:.2f} s")
    assert "realm run CONFIG" in shown.stdout


VERBS = {command.name: command.callback.__doc__ for command in app.registered_commands}


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_says_what_it_reads_writes_and_costs(verb):
    shown = realm(verb, "--help").stdout
    words = ("Reads: ", "Writes: ", "Costs: ", f"Example:  realm {verb} ")
    assert all(word in shown for word in words)


def test_the_example_of_each_verb_works_with_a_shipped_config():
    num_configs = 0
    for verb, text in VERBS.items():
        example = text.partition("Example:")[2].split("\n")[0].split()
        if (ROOT / example[2]).is_file():
            num_configs += 1
            overrides = [value for option, value in pairwise(example) if option == "--set"]
            assert load_config(ROOT / example[2], overrides), verb
    assert num_configs == 9


def test_the_version_is_that_of_the_package():
    assert realm("--version").stdout.strip() == version("realm-slm")


def test_docs_show_the_help_as_it_is():
    done = subprocess.run(
        [sys.executable, ROOT / "docs/write_cli.py"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == (ROOT / "docs/cli.md").read_text(encoding="utf-8"), "run `make docs`"


def test_escape_sequences_of_names_and_texts_do_not_reach_the_terminal(config, tmp_path):
    write_jsonl(tmp_path / "answers.jsonl", [{"id": "0", "outputs": "It is 1."}])
    files = r'routes.files=[{path: answers.jsonl, source: "\e[2Jx"}]'
    result = realm("run", config, "--set", "model=null", "--set", files)
    assert result.exit_code == 0
    assert "\x1b" not in result.output and "\\x1b[2Jx" in result.output


def test_a_mistake_of_ours_is_no_user_error_but_a_full_memory_is(config, monkeypatch):
    def fail(run):
        raise MemoryError

    monkeypatch.setitem(STAGES, "data", replace(STAGES["data"], function=fail))
    result = realm("data", config)
    assert result.exit_code == 2 and "out of memory" in result.stderr


def test_telemetry_is_off(config, monkeypatch):
    monkeypatch.delenv("HF_HUB_DISABLE_TELEMETRY", raising=False)
    realm("data", config)
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"
