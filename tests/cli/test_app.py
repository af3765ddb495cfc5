"""What all verbs share: short help, completion by the shell."""

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from realm.cli import app


@pytest.mark.parametrize("verb", [[], ["run"], ["ask"]], ids=["realm", "run", "ask"])
def test_the_help_has_a_short_option(verb):
    short, long = (CliRunner().invoke(app, [*verb, option]) for option in ("-h", "--help"))
    assert (short.exit_code, short.output) == (0, long.output)


@pytest.mark.parametrize(("rank", "files"), [("0", 6), ("1", 0)])
def test_of_several_processes_the_main_one_alone_does_what_trains_no_model(
    tmp_path, monkeypatch, rank, files
):
    for name, value in (("RANK", rank), ("LOCAL_RANK", rank), ("WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(app, ["init", str(tmp_path / "new")])
    assert done.exit_code == 0 and bool(done.output) is (rank == "0")
    assert len(list((tmp_path / "new").glob("*"))) >= files
    assert (tmp_path / "new").exists() is (rank == "0")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("realm rep", "report"),
        ("realm run --dr", "--dry-run"),
        ("realm run x.yaml --set train.fade.k", "train.fade.kind="),
    ],
)
def test_the_shell_completes_verbs_options_and_settings(words, expected):
    asked = {"_REALM_COMPLETE": "complete_bash", "COMP_WORDS": words}
    number = str(len(words.split()) - 1)
    done = subprocess.run(
        [sys.executable, "-m", "realm"],
        env=os.environ | asked | {"COMP_CWORD": number},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split() == [expected], done.stderr


def test_only_a_command_that_continues_says_so_when_it_is_interrupted(monkeypatch, tmp_path):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("realm.watch.watch", interrupt)
    monkeypatch.setattr("realm.config.load_config", interrupt)
    watched = CliRunner().invoke(app, ["watch", str(tmp_path)])
    assert (watched.exit_code, watched.stderr.strip()) == (130, "realm: interrupted.")
    run = CliRunner().invoke(app, ["run", "x.yaml"])
    assert (run.exit_code, run.stderr.strip()) == (
        130,
        "realm: interrupted; the same command continues.",
    )
