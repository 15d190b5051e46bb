from __future__ import annotations

import asyncio

import pytest

from benchmarks.scale.race import Race, Tally, produce, settled


def tally(count: int, *moments: float) -> Tally:
    return Tally(count, iter(moments).__next__)


def test_a_rate_counts_from_the_first_that_is_done():
    found = tally(3, 10.0, 12.0)
    for _ in range(3):
        found.add(1)
    assert found.race() == Race(rate=1.0)


def test_a_clock_that_ran_before_counts_the_first_too():
    found = tally(3, 10.0, 12.0)
    found.begin()
    found.add(3)
    assert found.race() == Race(rate=1.5)


def test_what_comes_after_the_end_does_not_count():
    found = tally(1, 10.0, 12.0)
    found.begin()
    found.add(1)
    found.add(1)
    assert (found.done, found.race()) == (1, Race(rate=0.5))


def test_a_run_that_has_not_ended_has_no_rate():
    with pytest.raises(ValueError, match="not ended"):
        Tally(1).race()


async def test_every_number_is_enqueued_once_by_as_many_as_may():
    asked: list[int] = []
    waiting = asyncio.Semaphore(0)

    async def enqueue(number: int) -> None:
        asked.append(number)
        if len(asked) == 4:
            for _ in range(10):
                waiting.release()
        await waiting.acquire()

    await produce(Tally(10), enqueue, 10, producers=4)
    assert sorted(asked) == list(range(10))


async def test_all_is_settled_once_the_database_has_nothing_left():
    left = iter((2, 1, 0))
    found = tally(5, 1.0, 2.0)
    found.begin()

    async def remaining() -> int:
        return next(left)

    await settled(found, remaining, pause=0.0)
    assert found.race() == Race(rate=5.0)
