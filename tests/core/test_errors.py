import tomllib
from pathlib import Path

import pytest

from realm import cli
from realm.core import errors
from realm.core.errors import (
    ConfigError,
    DataError,
    RealmError,
    keep_secret,
    mask_secrets,
    require_package,
)

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_a_secret_of_the_environment_is_masked(monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "correct-horse-battery")
    assert str(DataError("sent correct-horse-battery to the server")) == "sent *** to the server"


def test_a_short_value_is_no_secret(monkeypatch):
    monkeypatch.setenv("SORT_KEY", "id")
    assert str(DataError("the id is missing")) == "the id is missing"


@pytest.mark.parametrize("kind", [errors.ConfigError, errors.DataError, errors.ModelError])
def test_a_user_mistake_is_also_a_value_error(kind):
    assert issubclass(kind, RealmError) and issubclass(kind, ValueError)


@pytest.fixture
def _forgets(monkeypatch):
    monkeypatch.setattr(errors, "_known", set())


@pytest.mark.usefixtures("_forgets")
def test_a_secret_that_the_process_was_told_is_masked_whole_and_in_part():
    keep_secret("correct-horse-battery")
    assert mask_secrets("you sent 'correct-horse-battery'") == "you sent '***'"
    assert mask_secrets("the key correc...tery is wrong") == "the key *** is wrong"


@pytest.mark.usefixtures("_forgets")
def test_a_secret_that_begins_with_another_is_masked_whole():
    keep_secret("correct-horse")
    keep_secret("correct-horse-battery")
    assert mask_secrets("correct-horse-battery") == "***"


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer abcdef0123",
        "Incorrect API key: ab12********wxyz.",
        "sk-proj-abcdefghijklmnop",
        "sk-ab...wxyz",
    ],
)
def test_what_reads_like_a_key_is_masked(text):
    masked = mask_secrets(text)
    assert "***" in masked and not any(part in masked for part in ("abc", "ab12", "wxyz", "sk-ab"))


@pytest.mark.parametrize(
    "text", ["5 * 3 * 2", "**bold** and *this*", "Bearer of news", "wait ... and see"]
)
def test_what_does_not_read_like_a_key_is_left(text):
    assert mask_secrets(text) == text


@pytest.mark.usefixtures("_forgets")
def test_the_traceback_of_an_unexpected_error_shows_no_key(monkeypatch):
    def fails(**_):
        raise RuntimeError("header: correct-horse-battery")

    keep_secret("correct-horse-battery")
    monkeypatch.setattr(cli, "app", fails)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert "RuntimeError: header: ***" in end.value.code and "Traceback" in end.value.code


def test_a_missing_package_is_named_with_the_line_that_installs_it(monkeypatch):
    monkeypatch.setattr(errors, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'^use_vllm needs .*: pip install "realm-slm\[vllm\]"$'):
        require_package("vllm", "use_vllm")
    with pytest.raises(ConfigError, match=r"pip install liger-kernel Or leave it out\.$"):
        require_package("liger-kernel", "use_liger_kernel", "Or leave it out.")


def test_a_package_that_is_there_is_found_by_the_name_of_its_module(monkeypatch):
    asked = []
    monkeypatch.setattr(errors, "find_spec", lambda name: asked.append(name) or True)
    require_package("typing-extensions", "x")
    assert asked == ["typing_extensions"]


def test_messages_name_extras_that_exist():
    extras = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    named = {*errors._EXTRAS.values(), "gguf", "gym", "excel"}
    assert extras["optional-dependencies"].keys() >= named
