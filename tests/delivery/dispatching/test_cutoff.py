"""Cutting off: what takes too long ends in time, and nobody else does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from gateway.delivery.dispatching.cutoff import Cutoff

LONG = 60.0


class Hand:
    """A loop whose timers ring when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._loop = asyncio.get_running_loop()
        self.now = 100.0
        self.timers: list[Timer] = []
        monkeypatch.setattr(self._loop, "time", lambda: self.now)
        monkeypatch.setattr(self._loop, "call_at", self._call_at)

    def _call_at(self, at, call):
        self.timers.append(Timer(at, call))
        return self.timers[-1]

    def advance(self, seconds: float) -> None:
        """Let time pass and ring what is due."""
        self.now += seconds
        due = [timer for timer in self.timers if timer.at <= self.now]
        self.timers = [timer for timer in self.timers if timer.at > self.now]
        for timer in due:
            if not timer.canceled:
                timer.call()


class Timer:
    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at, self.call, self.canceled = at, call, False

    def when(self) -> float:
        return self.at

    def cancel(self) -> None:
        self.canceled = True


@pytest.fixture
async def hand(monkeypatch) -> Hand:
    return Hand(monkeypatch)


async def waits(cutoff: Cutoff, seconds: float, over: asyncio.Event) -> str:
    try:
        with cutoff.after(seconds):
            await over.wait()
    except TimeoutError:
        return "cut off"
    return "done"


async def begun(cutoff: Cutoff, seconds: float, over: asyncio.Event) -> asyncio.Task[str]:
    task = asyncio.create_task(waits(cutoff, seconds, over))
    await asyncio.sleep(0)
    return task


async def test_what_takes_too_long_is_cut_off(hand):
    task = await begun(Cutoff(), 10.0, asyncio.Event())
    hand.advance(10.0)
    assert await task == "cut off"
    assert task.cancelling() == 0


async def test_one_timer_serves_many_uses(hand):
    cutoff, over = Cutoff(), asyncio.Event()
    over.set()
    for _ in range(5):
        assert await waits(cutoff, 10.0, over) == "done"
        hand.advance(1.0)
    assert len(hand.timers) == 1
    hand.advance(10.0)
    assert hand.timers == []


async def test_a_timer_that_was_left_rings_again_when_it_is_due(hand):
    cutoff, over = Cutoff(), asyncio.Event()
    over.set()
    await waits(cutoff, 10.0, over)
    hand.advance(6.0)
    task = await begun(cutoff, 10.0, asyncio.Event())
    hand.advance(4.0)
    assert not task.done()
    hand.advance(5.9)
    assert not task.done()
    hand.advance(0.1)
    assert await task == "cut off"


async def test_a_shorter_time_is_kept_though_a_longer_one_was_set(hand):
    cutoff, over = Cutoff(), asyncio.Event()
    over.set()
    await waits(cutoff, LONG, over)
    task = await begun(cutoff, 1.0, asyncio.Event())
    hand.advance(1.0)
    assert await task == "cut off"


async def test_a_cancel_by_somebody_else_stays_one(hand):
    task = await begun(Cutoff(), 10.0, asyncio.Event())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_a_cancel_by_somebody_else_outranks_the_cut_off(hand):
    task = await begun(Cutoff(), 10.0, asyncio.Event())
    task.cancel()
    hand.advance(10.0)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_fails_while_it_is_cut_off_fails_as_it_does(hand):
    async def stubborn(cutoff: Cutoff) -> None:
        with cutoff.after(10.0):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise LookupError("a fault of its own") from None

    task = asyncio.create_task(stubborn(Cutoff()))
    await asyncio.sleep(0)
    hand.advance(10.0)
    with pytest.raises(LookupError):
        await task
    assert task.cancelling() == 0
