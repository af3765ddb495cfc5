"""Two real processes: what one makes, all have; and one that fails ends all with its message."""

import pytest

from processes import run_together
from realm.core import ranks
from realm.core.errors import RunError

SCRIPT = """
import os
from realm.cli.messages import user_errors_as_messages
from realm.core.errors import RunError
from realm.core.ranks import *

@user_errors_as_messages()
def main():
    large = os.urandom(9_000_000)  # more than the store takes at once
    made = run_on_main(lambda: (os.getpid(), count_processes(), large))
    numbers = gather_objects(get_rank())
    shares = gather_objects(list(take_share(range(5))))
    pids = gather_objects(os.getpid())
    assert (made[2] == large) is is_main_process() and len(made[2]) == len(large)
    print(numbers, shares, made[0] == pids[0] != pids[1], made[1], count_processes())
    if not is_main_process():
        raise RunError("the disk of process 1 is gone")
    wait_for_all()
    print("never")

main()
"""


@pytest.mark.slow
def test_two_processes_share_values_and_one_that_fails_ends_both_with_its_message(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    code, output, errors = run_together(2, script)
    assert output == "[0, 1] [[0, 2, 4], [1, 3]] True 1 2\n", "only the main process prints"
    said = [line for line in errors.splitlines() if line.startswith("realm:")]
    assert code != 0 and said == ["realm: the disk of process 1 is gone"]


@pytest.mark.slow
def test_a_mistake_of_the_user_is_said_once(tmp_path):
    code, output, errors = run_together(
        2, "-m", "realm", "run", tmp_path / "missing.yaml", "-r", "x"
    )
    assert code != 0 and output == ""
    assert sum("missing.yaml" in line and "realm:" in line for line in errors.splitlines()) == 1


def test_one_process_needs_no_store(monkeypatch):
    monkeypatch.setattr(ranks, "_connect", None)
    assert ranks.run_on_main(lambda: ranks.count_processes()) == 1
    assert ranks.gather_objects("a") == ["a"] and ranks.take_share([1, 2]) == [1, 2]
    assert ranks.claim_failure() and ranks.is_main_process()


def test_who_acts_alone_shares_nothing_until_the_end_of_the_block(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    with ranks.acting_alone(), ranks.acting_alone():
        assert ranks.count_processes() == 1 and ranks.take_share("abc") == "abc"
    assert ranks.count_processes() == 4 and ranks.take_share("abcde") == "ae"


def test_a_number_that_no_launcher_sets_is_named(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(RunError, match=r"^WORLD_SIZE: this environment variable is 'two'"):
        ranks.count_processes()
