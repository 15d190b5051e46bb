"""What steps aside comes back when its time has come, in the order of times."""

from __future__ import annotations

import asyncio

import pytest

from gateway.delivery.dispatching.aside import Aside


class Corner:
    """An aside, what came back of it, and a sleep that lets others run and moves the clock."""

    def __init__(self, clock) -> None:
        self.clock = clock
        self.began = clock.monotonic()
        self.back: list[tuple[str, float]] = []
        self.aside: Aside[str] = Aside(self._came, clock, self._sleep, name="corner")

    def _came(self, thing: str) -> None:
        self.back.append((thing, round(self.clock.monotonic() - self.began, 6)))

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.clock.advance(seconds)


@pytest.fixture
def corner(clock) -> Corner:
    return Corner(clock)


async def done(aside: Aside[str]) -> None:
    for _ in range(99):
        await asyncio.sleep(0)
    assert len(aside) == 0


async def test_things_come_back_in_the_order_of_their_times(corner):
    for thing, seconds in (("late", 1.0), ("soon", 0.25), ("too", 0.25)):
        corner.aside.put(thing, seconds)
    assert len(corner.aside) == 3
    await done(corner.aside)
    assert corner.back == [("soon", 0.25), ("too", 0.25), ("late", 1.0)]


async def test_what_comes_while_others_wait_is_not_held_up_by_them(corner):
    corner.aside.put("late", 1.0)
    await asyncio.sleep(0)
    corner.aside.put("soon", 0.2)
    await done(corner.aside)
    assert [thing for thing, _ in corner.back] == ["soon", "late"]
    assert corner.back[0][1] < 0.4


async def test_after_the_last_came_back_another_may_step_aside(corner):
    corner.aside.put("one", 0.1)
    await done(corner.aside)
    await asyncio.sleep(0)
    corner.aside.put("two", 0.1)
    await done(corner.aside)
    assert [thing for thing, _ in corner.back] == ["one", "two"]


async def test_what_is_drained_does_not_come_back(corner):
    assert corner.aside.drain() == []
    corner.aside.put("one", 0.1)
    corner.aside.put("two", 0.0)
    assert sorted(corner.aside.drain()) == ["one", "two"]
    for _ in range(9):
        await asyncio.sleep(0)
    assert (corner.back, len(corner.aside)) == ([], 0)
