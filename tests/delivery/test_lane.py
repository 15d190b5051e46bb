"""A lane holds a channel's messages, paces their start and knows when to look again."""

from __future__ import annotations

import asyncio

import pytest

from gateway.delivery.lane import BUFFER, Lane
from gateway.delivery.message import Message
from tests.conftest import HandClock
from tests.world import Scripted


def message(name: str = "msg_1") -> Message:
    return Message(
        id=name,
        verification_id="ver_1",
        service="shop",
        channel="pigeon",
        step=0,
        steps=1,
        purpose="login",
        locale="en",
        generation=1,
        attempts=0,
        skipped=0,
        created_at=0.0,
        expires_at=300.0,
        started_at=None,
        ttl=300.0,
        recipient="•••",
        address="+4915112345678",
        code="123456",
        params={"name": "Ann"},
    )


class Paced:
    """A lane, what it slept, and a clock that its sleep moves."""

    def __init__(self, clock: HandClock, rate: float = 0.0) -> None:
        self.clock = clock
        self.slept: list[float] = []
        self.lane = Lane(Scripted("pigeon", ["phone"], rate=rate), clock, self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.clock.advance(seconds)


@pytest.fixture
def lane(clock) -> Lane:
    return Paced(clock).lane


async def test_what_is_put_is_taken_in_order(lane):
    lane.put(message("a"))
    lane.put(message("b"))
    assert [(await lane.take()).id, (await lane.take()).id] == ["a", "b"]


async def test_a_taker_waits_for_the_next_message(lane):
    taking = asyncio.ensure_future(lane.take())
    await asyncio.sleep(0)
    lane.put(message("a"))
    assert (await taking).id == "a"


async def test_of_two_takers_each_gets_one(lane):
    takers = [asyncio.ensure_future(lane.take()) for _ in range(2)]
    await asyncio.sleep(0)
    lane.put(message("a"))
    await asyncio.sleep(0)
    lane.put(message("b"))
    assert sorted([(await taker).id for taker in takers]) == ["a", "b"]


def test_a_message_put_twice_is_held_once(lane):
    lane.put(message("a"))
    lane.put(message("a"))
    assert (lane.held, lane.room) == (1, BUFFER - 1)


async def test_a_message_under_way_is_still_held_until_it_is_settled(lane):
    lane.put(message("a"))
    taken = await lane.take()
    lane.put(message("a"))
    assert (lane.room, lane.held_ids) == (BUFFER, {"a"})
    lane.done(taken)
    assert lane.held == 0


async def test_a_drain_empties_the_buffer_and_leaves_what_is_under_way(lane):
    lane.put(message("a"))
    lane.put(message("b"))
    await lane.take()
    assert [item.id for item in lane.drain()] == ["b"]
    assert lane.held_ids == {"a"}
    assert lane.drain() == []


async def test_without_a_rate_nothing_is_waited_for(clock):
    paced = Paced(clock)
    for _ in range(5):
        await paced.lane.pace()
    assert paced.slept == []


async def test_a_rate_spreads_starts_evenly(clock):
    paced = Paced(clock, rate=4.0)
    started = clock.monotonic()
    for _ in range(5):
        await paced.lane.pace()
    assert paced.slept == [0.25] * 4
    assert clock.monotonic() - started == pytest.approx(1.0)


async def test_starts_at_once_wait_each_for_its_own_turn(clock):
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    lane = Lane(Scripted("pigeon", ["phone"], rate=10.0), clock, sleep)
    await asyncio.gather(*(lane.pace() for _ in range(4)))
    assert slept == pytest.approx([0.1, 0.2, 0.3])


async def test_an_idle_lane_saves_no_turns_up(clock):
    paced = Paced(clock, rate=1.0)
    await paced.lane.pace()
    clock.advance(100.0)
    await paced.lane.pace()
    await paced.lane.pace()
    assert paced.slept == [1.0]


async def test_a_pause_holds_the_next_start_back(clock):
    paced = Paced(clock)
    paced.lane.pause(30.0)
    assert paced.lane.paused_for == 30.0
    await paced.lane.pace()
    assert paced.slept == [30.0]
    assert paced.lane.paused_for == 0.0


def test_a_shorter_pause_does_not_end_a_longer_one(lane):
    lane.pause(30.0)
    lane.pause(1.0)
    assert lane.paused_for == 30.0


def test_a_lane_looks_again_at_the_next_expected_message(lane, clock):
    assert lane.until_next(1.0) == 1.0
    lane.expect(clock.now() + 5.0)
    lane.expect(clock.now() + 0.25)
    assert lane.until_next(1.0) == 0.25
    clock.advance(0.25)
    assert lane.until_next(1.0) == 1.0
    clock.advance(4.5)
    assert lane.until_next(1.0) == 0.25


def test_a_message_shows_nothing_that_must_not_be_logged():
    shown = repr(message())
    assert not any(value in shown for value in ("+4915112345678", "123456", "Ann"))


async def test_what_is_buffered_waits_until_it_is_taken(lane):
    assert lane.waiting == 0
    lane.put(message("a"))
    lane.put(message("b"))
    assert lane.waiting == 2
    await lane.take()
    assert lane.waiting == 1


async def test_what_may_not_start_yet_waits_too(clock):
    waiting: list[int] = []
    paced = Paced(clock, rate=2.0)

    async def sleep(seconds: float) -> None:
        waiting.append(paced.lane.waiting)

    paced.lane._sleep = sleep
    await paced.lane.pace()
    await paced.lane.pace()
    assert waiting == [1]
    assert paced.lane.waiting == 0


async def test_who_stops_waiting_for_its_start_waits_no_more(clock):
    paced = Paced(clock)

    async def sleep(_: float) -> None:
        raise asyncio.CancelledError

    paced.lane._sleep = sleep
    paced.lane.pause(1.0)
    with pytest.raises(asyncio.CancelledError):
        await paced.lane.pace()
    assert paced.lane.waiting == 0
