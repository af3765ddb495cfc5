"""Attempts for tests of a teacher without a collection."""

from __future__ import annotations

from contextlib import asynccontextmanager

from realm.sources import Attempt

opened: list[Attempt] = []
"""The attempts of `free_attempts`, to be cleared by the test that looks at them."""


@asynccontextmanager
async def free_attempts():
    """Open an attempt at once, without a budget."""
    attempt = Attempt()
    opened.append(attempt)
    yield attempt


def no_attempts():
    """Fail: a teacher whose replies are free opens no attempt."""
    raise AssertionError("an attempt was opened")
