"""A user's own code: where it is looked for, and that every failure in it is one message."""

import sys

import pytest

from realm.core.errors import ConfigError, DataError
from realm.core.targets import find_source, load_target, user_errors


@pytest.fixture
def folder(tmp_path, monkeypatch):
    before = set(sys.modules)
    monkeypatch.setattr("sys.path", [*sys.path])
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_module_is_found_beside_the_config_with_its_neighbours_and_imported_once(folder):
    (folder / "steady.py").write_text(
        "from neighbour import VALUE\nclass Steady:\n    value = VALUE\n"
    )
    (folder / "neighbour.py").write_text("VALUE = 3\n")
    found = load_target("steady:Steady", folder, "x")
    assert found.value == 3 and load_target("./steady.py:Steady", folder, "x") is found
    assert sys.modules["steady"].Steady is found


def test_a_package_is_found_by_its_path_relative_to_the_config(folder):
    (folder / "shop").mkdir()
    (folder / "configs").mkdir()
    (folder / "shop/__init__.py").write_text("from .prices import PRICE\n")
    (folder / "shop/prices.py").write_text("PRICE = 7\n")
    assert load_target("../shop:PRICE", folder / "configs", "x") == 7
    assert find_source("../shop:PRICE", folder / "configs") == folder / "configs/../shop"


def test_two_configs_may_each_have_a_module_of_the_same_name(folder):
    for name in ("one", "two"):
        (folder / name).mkdir()
        (folder / name / "domain.py").write_text(f"NAME = {name!r}\n")
    assert [load_target("domain:NAME", folder / name, "x") for name in ("one", "two")] == [
        "one",
        "two",
    ]
    assert load_target("domain:NAME", folder / "one", "x") == "one"


def test_a_module_beside_the_config_is_taken_before_one_on_the_path(folder):
    (folder / "json.py").write_text("NAME = 'mine'\n")
    assert load_target("json:NAME", folder, "x") == "mine"
    assert load_target("json:dumps", folder / "elsewhere", "x")([1]) == "[1]"
    assert find_source("json:dumps", folder / "elsewhere") is None


@pytest.mark.parametrize(
    ("code", "target", "message"),
    [
        ("", "user_code", r"a\.b: found 'user_code'; write module:name"),
        ("", "user_code:not a name", "write module:name"),
        ("", "nowhere:f", "there is no module 'nowhere' in .*Put the .py file beside the config"),
        ("", "../nowhere:f", r"there is no file or package .*/\.\./nowhere\. A path is relative"),
        ("", "user_code:f", "user_code.py defines no 'f'"),
        (
            "import nothing_like_it",
            "user_code:f",
            "raised ModuleNotFoundError.*user_code.py, line 1",
        ),
        ("x = ", "user_code:f", r"raised SyntaxError: .*\(user_code.py, line 1\)"),
        ("\nraise KeyError('k')", "user_code:f", "user_code:f raised KeyError: 'k'.*line 2"),
        ("import sys\nsys.exit(0)", "user_code:f", "user_code:f raised SystemExit: 0.*line 2"),
    ],
)
def test_what_goes_wrong_in_a_user_module_is_one_message(folder, code, target, message):
    (folder / "user_code.py").write_text(code)
    with pytest.raises(ConfigError, match=message):
        load_target(target, folder, "a.b")
    assert "user_code" not in sys.modules or code == ""


def test_errors_that_say_what_to_do_and_ctrl_c_pass_through():
    for error in (DataError("cases.csv:3: no answer"), KeyboardInterrupt()):
        with pytest.raises(type(error)), user_errors("domain.target", "triage:Triage"):
            raise error
