"""Asking until it works; how updates are passed on is tested with the channel that polls."""

from __future__ import annotations

import asyncio

import pytest
from telegram import error as errors

from channels.chat import Inbound
from channels.http import StatusError
from channels.polling import PAUSE_MAX, Polling, until_done


@pytest.fixture
def pauses() -> list[float]:
    return []


def failing(*failures: Exception | None):
    """A call that fails so often, and then returns 7."""
    left = list(failures)

    async def call() -> int:
        if left and (failure := left.pop(0)) is not None:
            raise failure
        return 7

    return call


def limited(seconds: float) -> errors.NetworkError:
    error = errors.NetworkError("")
    error.__cause__ = StatusError(429, retry_after=seconds)
    return error


async def test_pauses_grow_to_a_bound(pauses: list[float]) -> None:
    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    assert await until_done(failing(*[errors.Conflict("")] * 7), "telegram", pause) == 7
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, PAUSE_MAX, PAUSE_MAX]


async def test_a_wait_that_is_asked_for_is_kept_where_it_is_the_longer_one(pauses: list[float]) -> None:
    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    await until_done(failing(limited(90.0), limited(0.0)), "telegram", pause)
    assert pauses == [90.0, 2.0]


async def test_nothing_but_canceling_ends_it() -> None:
    async def fetch(_: int | None) -> list[object]:
        await asyncio.sleep(0)
        return []

    async def handle(_: Inbound) -> None:
        raise AssertionError

    polling = Polling("telegram", fetch, lambda _: None, asyncio.sleep, 1.0)  # type: ignore[arg-type]  # no bot behind it
    running = asyncio.create_task(polling.run(handle))
    await asyncio.wait({running}, timeout=0.05)
    assert not running.done()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
