"""Each bad input ends in one message that names the culprit; docs/errors.md quotes all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bad_inputs import (
    GROUPS,
    Case,
    fill_folder,
    get_message,
    make_finished_run,
    render_row,
    run_case,
)

PAGE = (Path(__file__).parents[1] / "docs/errors.md").read_text(encoding="utf-8")
CASES = [case for cases in GROUPS.values() for case in cases]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a config, its data and a finished run."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_finished_run(folder)
    return folder


def read_folder(folder: Path) -> dict[str, bytes]:
    """Return the files below a folder with their content, but not pipes and links."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    # A stage gives up its entry before it begins; the interpreter compiles the hooks.
    kept = [path for path in files if path.name != "manifest.json" and path.suffix != ".pyc"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in kept}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=pytest.mark.slow if case.is_slow else (), id=case.what)
        for case in CASES
    ],
)
def test_bad_input_is_one_message_and_leaves_nothing_half_written(
    case: Case, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_folder(case, tmp_path, finished)
    monkeypatch.chdir(tmp_path)
    before = read_folder(tmp_path)
    result = run_case(case)
    assert result.exit_code == 2, (result.output, result.exception)
    message = get_message(result)
    assert message.startswith(("realm: ", "Error: ")) and case.culprit in message
    assert "Traceback" not in result.output
    after = read_folder(tmp_path)
    assert {name: after.get(name) for name in before} == before
    # What earlier stages of `realm run` have finished stays.
    new = [Path(name).name for name in after.keys() - before.keys()]
    assert not set(new) - {"problems.jsonl", "routes.jsonl", "bank.json"}
    assert render_row(case, message) in PAGE.splitlines(), "run `make docs`"


def test_the_page_has_a_row_for_each_case_and_no_other() -> None:
    assert len({case.what for case in CASES}) == len(CASES)
    assert PAGE.count("| `realm ") == len(CASES) >= 60
