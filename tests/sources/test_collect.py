"""Collecting from an endpoint that fails: all complete, nothing paid twice, caps hold."""

import json
import logging
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing

import pytest

from endpoint import Endpoint, add_up, teacher, write_sums
from realm.config.root import load_config
from realm.core.errors import ConfigError, RunError
from realm.run import Run
from realm.sources import plan as collecting
from realm.sources.budget import Spent
from realm.sources.store import Store

FAULTS = ("429", "500", "drop", "torn", "stall")
PRICE = {"prompt": 1.0, "completion": 4.0}


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)


@pytest.fixture
def log(caplog):
    """Give the log of the package, which the command line prints."""
    logger = logging.getLogger("realm")
    logger.addHandler(caplog.handler)
    logger.setLevel(logging.INFO)
    yield caplog
    logger.removeHandler(caplog.handler)


def gather(path, overrides=()):
    """Return the routes that the config's teachers give, and the run."""
    config = load_config(path, list(overrides))
    run = Run(config.run_folder(), config)
    return collecting.collect_routes(run, run.domain.problems(config.seed)), run


def realm(path, url, *more):
    """Start `realm routes` in a process of its own, the problems written before."""
    environment = {**os.environ, "OPENAI_BASE_URL": url, "CORRECT_HORSE": "battery-staple-123"}
    subprocess.run(
        [sys.executable, "-m", "realm", "data", str(path)],
        env=environment,
        check=True,
        capture_output=True,
    )
    command = [sys.executable, "-m", "realm", "routes", str(path), *more]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def wait_for(process, condition):
    """Return when the condition holds; a process that ends before that has failed."""
    while not condition():
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.01)


def stored(path):
    """Return how many replies a store holds by now."""
    if not path.exists():
        return 0
    with closing(sqlite3.connect(path, timeout=30)) as database:
        tables = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        return database.execute("SELECT count(*) FROM replies").fetchone()[0] if tables else 0


def three_in_ten(seed):
    """Return a fault for 30% of the calls, the kinds in equal parts."""
    rng = random.Random(seed)
    return lambda number, body: rng.choice(FAULTS) if rng.random() < 0.3 else None


def test_all_problems_complete_though_three_in_ten_calls_fail(tmp_path, monkeypatch):
    with Endpoint(answer=add_up, fault=three_in_ten(1)) as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        path = write_sums(
            tmp_path,
            train=60,
            test=20,
            teachers=[teacher(guided=1, routes=2)],
            request_seconds=1,
            concurrency=16,
        )
        routes, _ = gather(path)
    faults = Counter(call.fault for call in endpoint.calls)
    assert set(faults) == {None, *FAULTS}
    assert len(routes) == 60 * 3 + 20 == len(endpoint.answered)
    assert all(route.correct for route in routes)
    assert endpoint.most_in_flight <= 16


def test_routes_come_in_one_order_whatever_the_order_of_arrival(tmp_path, monkeypatch):
    rng, banks = random.Random(3), []
    for run in ("one", "two"):
        with Endpoint(
            answer=add_up, fault=lambda number, body: "500" if rng.random() < 0.4 else None
        ) as endpoint:
            monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
            teachers = [teacher(guided=1), teacher(name="other", model="other-1", routes=2)]
            banks.append(gather(write_sums(tmp_path / run, teachers=teachers))[0])
    assert banks[0] == banks[1]
    assert [(route.problem_id, route.source, route.guided) for route in banks[0][:4]] == [
        ("p0", "big", True),
        ("p0", "big", False),
        ("p0", "other", False),
        ("p0", "other", False),
    ]


def test_n_is_never_sent_since_servers_ignore_it(tmp_path, monkeypatch):
    with Endpoint(answer=add_up) as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        routes, _ = gather(write_sums(tmp_path, train=2, test=0, teachers=[teacher(routes=3)]))
    assert len(routes) == 6 == len(endpoint.calls)
    assert not any("n" in call.body for call in endpoint.calls)


@pytest.mark.slow
def test_what_succeeded_is_not_sent_again_after_a_kill(tmp_path):
    path = write_sums(
        tmp_path, train=60, test=20, teachers=[teacher(guided=1)], request_seconds=1, concurrency=8
    )
    with Endpoint(answer=add_up, latency=0.02, fault=three_in_ten(2)) as endpoint:
        first = realm(path, endpoint.url)
        wait_for(first, lambda: stored(tmp_path / "run/teacher.sqlite") >= 50)
        first.send_signal(signal.SIGKILL)
        first.wait()
        kept, before = stored(tmp_path / "run/teacher.sqlite"), len(endpoint.calls)
        paid = Counter(json.dumps(call.body) for call in endpoint.answered)
        second = realm(path, endpoint.url)
        said, _ = second.communicate(timeout=120)
    assert second.returncode == 0, said
    again = Counter(json.dumps(call.body) for call in endpoint.calls[before:] if call.answered)
    assert 50 <= kept < 140 and sum(again.values()) == 140 - kept
    # Only what was not stored at the kill is asked for again: at most what was in flight or on its
    # way to the disk.
    assert (paid & again).total() <= 16
    rows = [json.loads(line) for line in (tmp_path / "run/routes.jsonl").read_text().splitlines()]
    assert len(rows) == 140 and all(row["correct"] for row in rows)
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    assert manifest["stages"]["routes"]["figures"]["all"]["stored_before"] == kept


def test_a_changed_row_and_an_edited_rule_ask_only_what_they_touch(tmp_path, monkeypatch):
    with Endpoint(answer=add_up) as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        path = write_sums(
            tmp_path, train=6, test=2, teachers=[teacher(guided=1)], guide={"tokens": 9}
        )
        (tmp_path / "rules.md").write_text(
            "1. Number 3 plus 4 is a sum.\n2. All numbers 0 plus 1 add.\n", encoding="utf-8"
        )
        gather(path)
        assert len(endpoint.calls) == 14
        gather(path)
        assert len(endpoint.calls) == 14
        sums = tmp_path / "sums.csv"
        sums.write_text(sums.read_text().replace("p5,5 plus 6,11", "p5,5 plus 60,65"))
        gather(path)
        assert len(endpoint.calls) == 16 and all(
            "5 plus 60" in call.question for call in endpoint.calls[14:]
        )
        rules = tmp_path / "rules.md"
        rules.write_text(rules.read_text().replace("is a sum", "is summed"))
        routes, _ = gather(path)
    asked = [call.question for call in endpoint.calls[16:]]
    assert asked and all("summed" in question for question in asked) and len(asked) < 6
    assert all(len(route.guide) == 1 for route in routes if route.guided)


def test_two_problems_that_ask_the_same_are_paid_for_once(tmp_path, monkeypatch):
    with Endpoint(answer=add_up) as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        path = write_sums(tmp_path, train=3, test=0)
        sums = tmp_path / "sums.csv"
        sums.write_text(sums.read_text() + "twin,1 plus 2,3,train\n")
        routes, _ = gather(path)
    assert len(routes) == 4 and len(endpoint.calls) == 3


@pytest.mark.parametrize("usage", [True, False])
def test_a_budget_of_tokens_is_never_exceeded(tmp_path, monkeypatch, usage, log):
    rng = random.Random(4)
    with Endpoint(
        answer=add_up, usage=usage, completion_tokens=lambda body: rng.randint(1, 100), latency=0.01
    ) as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        path = write_sums(
            tmp_path, train=200, test=0, teachers=[teacher(max_tokens=100)], budget_tokens=4000
        )
        routes, _ = gather(path)
        more, _ = gather(path)
    spent = sum(sum(route.usage.values()) for route in routes)
    assert 0 < len(routes) < 200 and len(more) == len(routes) == len(endpoint.calls)
    assert not usage or 4000 - 450 < spent <= 4000
    assert "the budget is reached" in log.text


def test_a_budget_in_dollars_is_never_exceeded_though_calls_fail(tmp_path, monkeypatch):
    rng = random.Random(5)
    # A timeout counts in full: few calls at a time and long limits, or a busy machine spends the
    # budget before the first answer.
    with Endpoint(
        answer=add_up, fault=three_in_ten(6), completion_tokens=lambda body: rng.randint(50, 100)
    ) as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        teachers = [teacher(max_tokens=100, price=PRICE)]
        path = write_sums(
            tmp_path,
            train=200,
            test=0,
            teachers=teachers,
            budget_usd=0.02,
            request_seconds=2,
            concurrency=4,
        )
        routes, _ = gather(path)
    prompts = [
        sum(len(part["content"].split()) for part in call.body["messages"])
        for call in endpoint.calls
    ]
    at_worst = {"drop", "torn", "stall"}  # the endpoint may have done the work
    charged = sum(route.cost_usd for route in routes)
    charged += sum(
        (words + 4 * 100) / 1e6
        for words, call in zip(prompts, endpoint.calls, strict=True)
        if call.fault in at_worst
    )
    assert 0 < len(routes) < 200 and charged <= 0.02


def test_a_raised_budget_goes_on_where_the_first_ended(tmp_path, monkeypatch):
    with Endpoint(answer=add_up) as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        path = write_sums(
            tmp_path, train=30, test=0, teachers=[teacher(max_tokens=100)], budget_tokens=1000
        )
        first, _ = gather(path)
        second, _ = gather(path, ["routes.budget_tokens=100000"])
    assert len(first) < 30 == len(second) == len(endpoint.calls)


def test_the_manifest_holds_the_cost_per_positive_and_negative(tmp_path, monkeypatch):
    with Endpoint(
        answer=lambda body: (
            add_up(body) if "1 plus 2" in body["messages"][-1]["content"] else "The answer is 0.5"
        )
    ) as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        routes, run = gather(write_sums(tmp_path, train=4, test=0, teachers=[teacher(price=PRICE)]))
    row = run._figures["teachers"]["big"]
    assert row["cost_usd"] == pytest.approx(
        sum(route.cost_usd for route in routes)
    ) and run._cost_usd == pytest.approx(row["cost_usd"])
    assert row["cost_per_positive_usd"] == pytest.approx(row["cost_usd"]) and row[
        "cost_per_negative_usd"
    ] == pytest.approx(row["cost_usd"] / 3)


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured(tmp_path, monkeypatch, form):
    def after():
        return (
            "1"
            if form == "seconds"
            else time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 2))
        )

    with Endpoint(
        answer=add_up, fault=lambda number, body: "429" if number < 2 else None, retry_after=after
    ) as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        routes, _ = gather(write_sums(tmp_path, train=2, test=0))
    assert len(routes) == 2 and len(endpoint.calls) == 4
    waits = [
        later.came - call.came
        for call in endpoint.calls[:2]
        for later in endpoint.calls[2:]
        if later.body == call.body
    ]
    assert len(waits) == 2 and all(0.95 <= wait < 10 for wait in waits)


@pytest.mark.parametrize("status", ["400", "401", "404"])
def test_a_failure_that_does_not_pass_stops_at_once(tmp_path, monkeypatch, status):
    with Endpoint(answer=add_up, fault=lambda number, body: status) as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        with pytest.raises(ConfigError, match="teacher 'big'"):
            gather(write_sums(tmp_path, train=60, test=0, concurrency=4))
    assert len(endpoint.calls) <= 8


def test_one_request_that_is_refused_does_not_stop_the_others(tmp_path, monkeypatch, log):
    def fault(number, body):
        return "400" if "3 plus 4" in body["messages"][-1]["content"] else None

    with Endpoint(answer=add_up, fault=fault) as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        routes, run = gather(write_sums(tmp_path, train=6, test=0, concurrency=1))
    assert len(routes) == 5 and run._figures["all"]["unanswered"] == 1
    assert "problem 'p3': refused: HTTP 400" in log.text


def test_an_endpoint_that_is_down_is_given_up(tmp_path, monkeypatch):
    with Endpoint(fault=lambda number, body: "500") as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        with pytest.raises(
            RunError, match=r"teacher 'big' does not answer: 3 attempts, the last: HTTP 500"
        ):
            gather(write_sums(tmp_path, train=60, test=0, attempts=3, concurrency=4))
    assert len(endpoint.calls) < 40


def test_one_request_that_always_fails_does_not_stop_the_others(tmp_path, monkeypatch):
    def fault(number, body):
        return "500" if "3 plus 4" in body["messages"][-1]["content"] else None

    with Endpoint(answer=add_up, fault=fault) as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        routes, run = gather(write_sums(tmp_path, train=20, test=0, attempts=3))
    assert len(routes) == 19 and run._figures["all"]["unanswered"] == 1


def test_a_limit_of_time_keeps_what_is_there(tmp_path, monkeypatch, log):
    with Endpoint(
        answer=add_up, fault=lambda number, body: "stall" if number >= 5 else None
    ) as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        started = time.monotonic()
        routes, _ = gather(write_sums(tmp_path, train=20, test=0, concurrency=1, total_seconds=3))
    assert len(routes) == 5 and time.monotonic() - started < 30
    assert "routes.total_seconds = 3" in log.text


@pytest.mark.slow
def test_ctrl_c_finishes_what_is_in_flight_and_says_how_to_go_on(tmp_path):
    path = write_sums(tmp_path, train=60, test=20, concurrency=4)
    with Endpoint(answer=add_up, latency=0.1) as endpoint:
        first = realm(path, endpoint.url)
        wait_for(first, lambda: stored(tmp_path / "run/teacher.sqlite") >= 8)
        first.send_signal(signal.SIGINT)
        said, _ = first.communicate(timeout=60)
        assert first.returncode == 130 and "Traceback" not in said
        assert "answers are stored in" in said and "the same command continues" in said
        assert (
            stored(tmp_path / "run/teacher.sqlite") == len(endpoint.answered) == len(endpoint.calls)
        )
        second = realm(path, endpoint.url)
        said, _ = second.communicate(timeout=60)
    assert second.returncode == 0, said
    assert len(endpoint.calls) == 80


@pytest.mark.slow
def test_a_second_ctrl_c_drops_what_is_in_flight(tmp_path):
    path = write_sums(tmp_path, train=9, test=0, concurrency=4)
    with Endpoint(fault=lambda number, body: "stall") as endpoint:
        process = realm(path, endpoint.url)
        wait_for(process, lambda: len(endpoint.calls) == 4)
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in said


@pytest.mark.slow
def test_a_key_stays_out_of_every_file_and_message(tmp_path):
    path = write_sums(
        tmp_path,
        train=6,
        test=0,
        concurrency=2,
        teachers=[teacher(key_env="CORRECT_HORSE")],
        attempts=2,
    )
    says = 'wrong: "{authorization}"'
    for fault in ("401", "500", "400"):

        def fails(number, body, fault=fault):
            return fault if number > 2 or fault != "401" else None

        with Endpoint(fault=fails, says=says, answer=add_up) as endpoint:
            process = realm(path, endpoint.url, "--force")
            said, _ = process.communicate(timeout=60)
        assert endpoint.calls[0].headers["authorization"] == "Bearer battery-staple-123"
        assert "***" in said and "battery-staple" not in said, said
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or b"battery-staple" not in file.read_bytes(), file


def test_a_store_may_be_shared_by_runs(tmp_path, monkeypatch):
    with Endpoint(answer=add_up) as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        for run in ("one", "two"):
            path = write_sums(tmp_path / run, store="../shared.sqlite", budget_tokens=1_000_000)
            routes, _ = gather(path)
            assert len(routes) == 8
    assert len(endpoint.calls) == 8


def test_progress_says_calls_tokens_cost_and_retries(tmp_path, monkeypatch):
    notes = []
    monkeypatch.setattr(
        collecting,
        "progress",
        lambda *_: __import__("contextlib").nullcontext(
            lambda count, note: notes.append((count, note))
        ),
    )
    with Endpoint(
        answer=add_up, fault=lambda number, body: "500" if number == 0 else None
    ) as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        gather(write_sums(tmp_path, teachers=[teacher(price={"prompt": 1000, "completion": 1000})]))
    assert sum(count for count, _ in notes) == 8
    assert re.fullmatch(r"9 calls, \d+ tokens, \$\d\.\d\d, 1 retries", notes[-1][1])


@pytest.mark.slow
def test_a_budget_holds_over_kills(tmp_path):
    """A killed command leaves on disk what its calls may cost, so the next ones stop in time."""
    teachers = [teacher(max_tokens=100, price=PRICE)]
    path = write_sums(tmp_path, train=60, test=0, teachers=teachers, concurrency=4, budget_usd=0.01)
    with Endpoint(answer=add_up, latency=30) as endpoint:
        for round_ in (1, 2):
            process = realm(path, endpoint.url)
            wait_for(process, lambda wanted=4 * round_: len(endpoint.calls) >= wanted)
            process.send_signal(signal.SIGKILL)
            process.wait()
    with Store(tmp_path / "run/teacher.sqlite", ".") as store:
        assert store.sum_spent() == Spent() and len(endpoint.calls) == 8
        assert 8 * 400 / 1e6 < store.sum_lost().usd <= 0.01


def test_the_first_prompt_may_be_refused(tmp_path, monkeypatch):
    def fault(number, body):
        return "400" if "0 plus 1" in body["messages"][-1]["content"] else None

    with Endpoint(answer=add_up, fault=fault) as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        routes, run = gather(write_sums(tmp_path, train=6, test=0, concurrency=1))
    assert len(routes) == 5 and run._figures["all"]["unanswered"] == 1


def test_a_reply_with_an_impossible_count_of_tokens_ends_the_collection_well(tmp_path, monkeypatch):
    with Endpoint(answer=add_up, completion_tokens=lambda body: 2**63) as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        routes, _ = gather(write_sums(tmp_path, train=2, test=0))
    assert [route.usage.get("completion_tokens") for route in routes] == [None, None]


def test_an_error_in_the_place_of_a_reply_is_not_stored_as_an_answer(tmp_path, monkeypatch):
    def answer(body):
        failing = len(endpoint.calls) == 1
        return {"content": "", "finish_reason": "error"} if failing else add_up(body)

    with Endpoint(answer=answer) as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        routes, _ = gather(write_sums(tmp_path, train=3, test=0, concurrency=1))
    assert [route.correct for route in routes] == [True] * 3 and len(endpoint.calls) == 4
