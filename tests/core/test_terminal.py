from realm.core import terminal as module
from realm.core.terminal import progress


def test_work_that_is_over_in_a_moment_prints_nothing(capsys):
    with progress("Sampling", 10) as advance:
        for _ in range(10):
            advance(1)
    assert capsys.readouterr().err == ""


def test_a_log_gets_a_line_now_and_then_and_one_at_the_end(capsys, monkeypatch):
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", 1e-9)
    with progress("Sampling", 10) as advance:
        advance(4)
        advance(6)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "Sampling: 4/10",
        "Sampling: 10/10",
        "Sampling: 10/10",
    ]
