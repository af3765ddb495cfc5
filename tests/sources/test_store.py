"""The store: what was given is on disk, once, and what a run has paid adds up over its calls."""

import asyncio
import json
import sqlite3

import pytest

from realm.core.errors import RunError
from realm.sources import Reply
from realm.sources.budget import Spent
from realm.sources.store import Store, hash_request

REPLY = Reply(
    text="x",
    reasoning="y",
    finish_reason="length",
    prompt_tokens=3,
    completion_tokens=4,
    cost_usd=0.5,
)


def fill(path, run=".", count=1):
    async def add():
        for sample in range(count):
            store.add_reply(("key", sample), REPLY, teacher="t", spent=Spent(usd=0.5, tokens=7))
        store.add_attempt("t", Spent(usd=2.0, tokens=1))
        await store.write_queued()

    with Store(path, run) as store:
        asyncio.run(add())


def test_a_reply_comes_back_as_it_was_stored(tmp_path):
    fill(tmp_path / "store.sqlite")
    with Store(tmp_path / "store.sqlite", ".") as store:
        assert store.find_reply(("key", 0)) == REPLY
        assert store.find_reply(("key", 1)) is None and store.find_reply(("other", 0)) is None


def test_an_empty_reply_is_a_reply(tmp_path):
    async def add():
        store.add_reply(("key", 0), Reply(text=""), teacher="t", spent=Spent())
        await store.write_queued()

    with Store(tmp_path / "store.sqlite", ".") as store:
        asyncio.run(add())
        assert store.find_reply(("key", 0)) == Reply(text="")


def test_spending_is_counted_by_run_and_apart_from_what_may_have_been_lost(tmp_path):
    fill(tmp_path / "store.sqlite", "one", 3)
    with Store(tmp_path / "store.sqlite", "one") as store:
        assert store.sum_spent() == Spent(usd=1.5, tokens=21) and store.sum_lost() == Spent(
            usd=2.0, tokens=1
        )
    with Store(tmp_path / "store.sqlite", "two") as store:
        assert store.sum_spent() == Spent() == store.sum_lost()


def test_written_means_that_another_process_can_read_it(tmp_path):
    async def add():
        store.add_reply(("key", 0), REPLY, teacher="t", spent=Spent())
        await store.write_queued()
        with sqlite3.connect(tmp_path / "store.sqlite") as other:
            return other.execute("SELECT count(*) FROM replies").fetchone()[0]

    with Store(tmp_path / "store.sqlite", ".") as store:
        assert asyncio.run(add()) == 1


def test_a_caller_that_is_cancelled_loses_no_reply(tmp_path):
    async def add():
        async def caller():
            store.add_reply(("key", 0), REPLY, teacher="t", spent=Spent())
            await store.write_queued()

        task = asyncio.create_task(caller())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.write_queued()

    with Store(tmp_path / "store.sqlite", ".") as store:
        asyncio.run(add())
        assert store.find_reply(("key", 0)) == REPLY


def test_what_is_no_store_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("these are my notes, and no database at all " * 50)
    with pytest.raises(RunError, match=r"notes.txt: cannot be opened as a store .* routes.store"):
        Store(tmp_path / "notes.txt", ".")


def test_a_store_of_another_version_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / "new.sqlite") as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(RunError, match="version 99"):
        Store(tmp_path / "new.sqlite", ".")


def test_a_request_is_known_by_what_is_sent():
    messages = [{"role": "user", "content": "2 + 2?"}]
    key = hash_request({"model": "m", "temperature": 1.0}, messages)
    assert key != hash_request({"model": "m", "temperature": 0.5}, messages)
    assert key != hash_request(
        {"model": "m", "temperature": 1.0}, [{"role": "user", "content": "2 + 3?"}]
    )


def test_a_stored_reply_with_half_a_surrogate_pair_can_be_used(tmp_path):
    fill(tmp_path / "store.sqlite")
    with sqlite3.connect(tmp_path / "store.sqlite") as database:
        broken = json.dumps({"text": "done \ud83d"})
        database.execute("UPDATE replies SET reply = ?", (broken,))
    with Store(tmp_path / "store.sqlite", ".") as store:
        assert store.find_reply(("key", 0)).text == "done \ufffd"


def test_an_attempt_counts_as_lost_until_it_is_removed(tmp_path):
    async def attempt():
        number = store.add_attempt("t", Spent(usd=2.0, tokens=9))
        await store.write_queued()
        assert store.sum_lost() == Spent(usd=2.0, tokens=9)
        store.add_reply(("key", 0), REPLY, teacher="t", spent=Spent(usd=0.5, tokens=7))
        store.remove_attempt(number)
        await store.write_queued()
        assert (store.sum_spent(), store.sum_lost()) == (Spent(usd=0.5, tokens=7), Spent())

    with Store(tmp_path / "store.sqlite", ".") as store:
        asyncio.run(attempt())


def test_a_row_that_cannot_be_stored_is_an_error_and_not_a_hang(tmp_path):
    async def add():
        store.add_reply(("key", 0), REPLY, teacher="t", spent=Spent(tokens=2**70))
        await asyncio.wait_for(store.write_queued(), 10)

    with Store(tmp_path / "store.sqlite", ".") as store, pytest.raises(OverflowError):
        asyncio.run(add())


def test_a_damaged_reply_is_named_and_not_paid_for_again(tmp_path):
    fill(tmp_path / "s.sqlite")
    with Store(tmp_path / "s.sqlite", ".") as store:
        store._database.execute("UPDATE replies SET reply = '{\"text\"'")
        with pytest.raises(RunError, match=r"s.sqlite: the reply of request key is damaged"):
            store.find_reply(("key", 0))


def test_nobody_else_can_read_the_store(tmp_path):
    fill(tmp_path / "s.sqlite")
    assert (tmp_path / "s.sqlite").stat().st_mode & 0o777 == 0o600
