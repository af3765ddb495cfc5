import os

import pytest

from realm.core.workers import WorkerPool, _kill


@pytest.mark.slow
def test_an_interrupt_leaves_no_process_behind(monkeypatch):
    pool = WorkerPool("realm.verify.math", seconds=20)
    assert pool.ask_all([("x!", "y!")]) == ["0"]
    [process] = pool._processes

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(pool, "_ask", interrupt)
        pool.ask_all([("x!", "y!")])
    assert process.returncode is not None
    assert pool.ask_all([("x!", "x!")]) == ["1"]


@pytest.mark.slow
def test_a_forked_child_starts_processes_of_its_own():
    pool = WorkerPool("realm.verify.math", seconds=20)
    assert pool.ask_all([("x!", "x!")]) == ["1"]
    child = os.fork()
    if child == 0:
        is_right = pool.ask_all([("x!", "y!")]) == ["0"] and pool._owner == os.getpid()
        _kill(pool._processes)
        os._exit(0 if is_right else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert pool.ask_all([("x!", "y!")]) == ["0"]
