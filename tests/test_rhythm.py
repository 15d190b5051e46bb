"""Again and again, whatever happens in between."""

from __future__ import annotations

import asyncio
import logging

import pytest

from gateway.errors import GatewayError
from gateway.rhythm import every


class Enough(BaseException):
    """Ends a rhythm from its sleep."""


async def test_work_is_done_before_each_wait():
    done: list[object] = []

    async def work() -> None:
        done.append("work")

    async def sleep(seconds: float) -> None:
        done.append(seconds)
        if len(done) == 6:
            raise Enough

    with pytest.raises(Enough):
        await every(2.5, work, sleep=sleep)
    assert done == ["work", 2.5] * 3


async def test_a_failure_is_told_without_its_text_and_ends_nothing(caplog):
    waits = []

    async def work() -> None:
        raise ValueError("a value")

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            raise Enough

    with pytest.raises(Enough):
        await every(1.0, work, sleep=sleep)
    assert len(caplog.messages) == 2
    assert "work failed: ValueError" in caplog.messages[0]
    assert "a value" not in caplog.text


async def test_a_failure_whose_cause_the_log_has_is_told_for_debugging_only(caplog):
    caplog.set_level(logging.DEBUG)

    async def work() -> None:
        error = GatewayError("the database is away")
        error.told = True
        raise error

    async def sleep(_: float) -> None:
        raise Enough

    with pytest.raises(Enough):
        await every(1.0, work, sleep=sleep)
    assert [record.levelno for record in caplog.records] == [logging.DEBUG]


async def test_a_cancel_ends_it():
    started = asyncio.Event()

    async def work() -> None:
        started.set()

    task = asyncio.create_task(every(3600.0, work))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
