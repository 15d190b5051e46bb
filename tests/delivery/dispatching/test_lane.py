"""A lane holds a channel's messages, lets services take turns, paces starts and knows when to look again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from gateway.delivery.dispatching.backlog import Uncounted
from gateway.delivery.dispatching.breaker import ENOUGH, OPEN_TIME, Verdict
from gateway.delivery.dispatching.lane import BUFFER, CLAIM, FLOOR, LOW, SHORT_PAUSE, TASTE, Lane, woken
from gateway.delivery.message import Message
from tests.conftest import HandClock
from tests.delivery.messages import message
from tests.world import Scripted

ANN, BOB = "+4915112345678", "+4915112345679"


async def taken(lane: Lane) -> Message:
    """What is taken, where nothing has begun already."""
    found = await lane.take()
    assert found is not None
    return found


class Paced:
    """A lane, what it slept, and a clock that its sleep moves."""

    def __init__(self, clock: HandClock, *, pause: float = 0.0, **settings: Any) -> None:
        self.clock = clock
        self.slept: list[float] = []
        channel = Scripted("pigeon", ["phone"], **settings)
        channel.recipient_pause = pause  # type: ignore[misc]
        self.lane = Lane(channel, clock, self._sleep)
        self.began = clock.monotonic()

    @property
    def elapsed(self) -> float:
        return round(self.clock.monotonic() - self.began, 6)

    async def take(self) -> tuple[str, float]:
        """What is taken, and when."""
        return (await taken(self.lane)).id, self.elapsed

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        await asyncio.sleep(0)
        self.clock.advance(seconds)


@pytest.fixture
def lane(clock) -> Lane:
    return Paced(clock).lane


def fail(lane: Lane, clock: HandClock) -> None:
    for _ in range(ENOUGH):
        lane.breaker.record(Verdict.FAILED, clock.monotonic())


async def take_all(lane: Lane) -> list[str]:
    return [(await taken(lane)).id for _ in range(lane.waiting)]


# -- the buffer


async def test_what_is_put_is_taken_in_order(lane):
    lane.put(message("a"))
    lane.put(message("b"))
    assert await take_all(lane) == ["a", "b"]


async def test_services_take_turns(lane):
    for name, service in (("a", "shop"), ("b", "shop"), ("c", "bank")):
        lane.put(message(name, service))
    assert await take_all(lane) == ["a", "c", "b"]


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


async def test_a_message_wakes_one_taker_and_no_other(lane):
    takers = [asyncio.ensure_future(lane.take()) for _ in range(3)]
    await asyncio.sleep(0)
    lane.put(message("a"))
    assert len(lane._idle) == 2
    assert (await takers[0]).id == "a"
    for taker in takers:
        taker.cancel()
    await asyncio.gather(*takers, return_exceptions=True)


async def test_what_a_taker_was_woken_for_is_anothers_when_it_is_stopped(lane):
    first, second = [asyncio.ensure_future(lane.take()) for _ in range(2)]
    await asyncio.sleep(0)
    lane.put(message("a"))
    first.cancel()
    assert (await second).id == "a"
    assert first.cancelled()


async def test_a_taker_that_was_stopped_is_woken_for_nothing(lane):
    first, second = [asyncio.ensure_future(lane.take()) for _ in range(2)]
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    lane.put(message("a"))
    assert (await second).id == "a"


async def test_a_message_is_taken_at_once_only_where_nothing_limits_the_channel(lane):
    assert lane.take_at_once() is None
    lane.put(message("a"))
    lane.pacer.pause_for(1.0)
    assert lane.take_at_once() is None
    free = Lane(Scripted("pigeon", ["phone"]), lane._clock)
    free.put(message("b"))
    assert free.take_at_once() == message("b")


def test_a_message_put_twice_is_held_once(lane):
    lane.put(message("a"))
    lane.put(message("a"))
    assert (lane.held, lane.room("shop"), lane.waiting) == (1, BUFFER - 1, 1)


async def test_a_message_under_way_is_still_held_until_it_is_settled(lane):
    lane.put(message("a"))
    found = await taken(lane)
    lane.put(message("a"))
    assert (lane.room("shop"), lane.held_ids, lane.waiting) == (BUFFER, {"a"}, 0)
    lane.done(found)
    # Claimed anew meanwhile: if the copy under way had lost its lease, this one has it.
    assert (lane.held_ids, lane.waiting) == ({"a"}, 1)
    lane.done(await taken(lane))
    assert lane.held == 0


async def test_what_was_claimed_anew_is_given_back_at_a_stop(lane):
    lane.put(message("a"))
    await taken(lane)
    lane.put(message("a"))
    assert [item.id for item in lane.drain()] == ["a"]
    assert lane.held_ids == {"a"}
    assert lane.drain() == []


async def test_a_drain_empties_the_buffer_and_leaves_what_is_under_way(lane):
    lane.put(message("a"))
    lane.put(message("b"))
    await taken(lane)
    assert [item.id for item in lane.drain()] == ["b"]
    assert lane.held_ids == {"a"}
    assert lane.drain() == []


def test_a_flood_of_one_service_leaves_every_other_its_room(lane):
    for number in range(BUFFER):
        lane.put(message(str(number), "flood"))
    assert (lane.room("flood"), lane.room("shop")) == (0, FLOOR)
    lane.put(message("a"))
    assert lane.room("shop") == FLOOR - 1


def test_a_message_shows_nothing_that_must_not_be_logged():
    shown = repr(message())
    assert not any(value in shown for value in ("+4915112345678", "123456", "Ann"))


# -- the claims


def test_a_single_service_is_claimed_as_many_as_one_statement_takes(lane):
    assert lane.rooms(("shop",)) == {"shop": CLAIM}


def test_services_that_are_not_known_to_have_more_share_a_claim(lane):
    assert lane.rooms(("shop", "bank")) == {"shop": 50, "bank": 50}
    many = [f"service_{number}" for number in range(50)]
    assert set(lane.rooms(many).values()) == {TASTE}
    lane.behind["service_7"] = 1
    assert lane.rooms(many)["service_7"] == CLAIM


def test_of_a_service_with_enough_in_memory_nothing_is_claimed(lane):
    for number in range(LOW + 1):
        lane.put(message(str(number)))
    assert lane.rooms(("shop", "bank")) == {"bank": CLAIM}
    assert lane.rooms(("shop",)) == {}


def test_nothing_is_claimed_that_there_is_no_room_for(lane):
    for number in range(BUFFER):
        lane.put(message(str(number), "flood"))
    for number in range(FLOOR):
        lane.put(message(f"shop-{number}"))
    assert lane.rooms(("shop", "bank")) == {"bank": 50}


@pytest.mark.parametrize(("found", "left"), [(3, {}), (5, {"shop": 7})])
def test_a_claim_that_is_filled_leaves_more_behind(lane, found, left):
    lane.behind["shop"] = 12
    lane.claimed({"shop": 5}, [message(str(number)) for number in range(found)])
    assert (lane.behind, lane.waiting) == (left, found)
    assert lane.wants_more == bool(left)


@pytest.mark.parametrize(
    ("left", "shut", "counted"),
    [
        ({}, False, 8),
        ({"address": ""}, False, 7),
        ({}, True, 7),
        ({"service": "bank"}, False, 7),
    ],
    ids=["due", "waits for its person", "waits for the channel", "of a service that has nothing behind"],
)
async def test_what_is_left_behind_is_counted_where_it_is_due_behind_others(lane, left, shut, counted):
    lane.behind["shop"] = 7
    if shut:
        await lane.pacer.pause(60.0)
    lane.left(message("fresh", **left))
    assert lane.behind == {"shop": counted}


async def test_a_service_of_which_there_is_more_is_looked_for_before_it_runs_out(lane):
    lane.behind["shop"] = 5
    for number in range(LOW + 2):
        lane.put(message(str(number)))
    await taken(lane)
    assert (lane.wake.is_set(), lane.wants_more) == (False, False)
    await taken(lane)
    assert (lane.wake.is_set(), lane.wants_more) == (True, True)


def test_a_lane_looks_again_at_the_next_expected_message(lane, clock):
    assert lane.until_next(1.0) == 1.0
    lane.expect(clock.now() + 5.0)
    for _ in range(2):
        lane.expect(clock.now() + 0.25)
    assert lane.until_next(1.0) == 0.25
    clock.advance(0.25)
    assert lane.until_next(1.0) == 1.0
    clock.advance(4.5)
    assert lane.until_next(1.0) == 0.25


async def test_a_wait_ends_when_it_is_woken_or_with_its_time():
    wake = asyncio.Event()
    await woken(wake, 0.0)
    waiting = asyncio.ensure_future(woken(wake, 60.0))
    await asyncio.sleep(0)
    wake.set()
    await waiting


# -- the pace


async def test_without_a_limit_nothing_is_waited_for(clock):
    paced = Paced(clock)
    for number in range(5):
        paced.lane.put(message(str(number)))
    assert await take_all(paced.lane) == ["0", "1", "2", "3", "4"]
    assert (paced.slept, paced.lane._gate.locked()) == ([], False)


async def test_a_rate_spreads_starts_evenly(clock):
    paced = Paced(clock, rate=4.0)
    for number in range(4):
        paced.lane.put(message(str(number)))
    times = [await paced.take() for _ in range(4)]
    assert times == [("0", 0.0), ("1", 0.25), ("2", 0.5), ("3", 0.75)]


async def test_who_is_sent_is_chosen_when_the_start_comes(clock):
    """A message that waits for the rate is still in its place: another service's is not behind it."""
    paced = Paced(clock, rate=4.0)
    for number in range(3):
        paced.lane.put(message(str(number), "flood"))
    takers = [asyncio.ensure_future(paced.take()) for _ in range(4)]
    await asyncio.sleep(0)
    paced.lane.put(message("single", "shop"))
    taken = sorted([await taker for taker in takers], key=lambda item: item[1])
    assert taken == [("0", 0.0), ("1", 0.25), ("single", 0.5), ("2", 0.75)]


async def test_a_short_pause_is_waited_for_in_memory(clock):
    paced = Paced(clock)
    paced.lane.put(message("a"))
    paced.lane.pacer.pause_for(SHORT_PAUSE)
    assert await paced.take() == ("a", SHORT_PAUSE)
    assert paced.lane.pacer.quiet


async def test_during_a_long_pause_messages_are_taken_at_once_to_go_elsewhere(clock):
    paced = Paced(clock, rate=0.1)
    for name in ("a", "b"):
        paced.lane.put(message(name))
    paced.lane.pacer.pause_for(SHORT_PAUSE + 0.1)
    assert [await paced.take(), await paced.take()] == [("a", 0.0), ("b", 0.0)]


async def test_while_the_breaker_is_open_messages_are_taken_at_once_to_go_elsewhere(clock):
    paced = Paced(clock, rate=0.1)
    fail(paced.lane, clock)
    for name in ("a", "b"):
        paced.lane.put(message(name))
    assert [await paced.take(), await paced.take()] == [("a", 0.0), ("b", 0.0)]


async def test_a_recipients_second_message_steps_aside_for_others(clock):
    paced = Paced(clock, pause=1.0)
    for name, address in (("a", ANN), ("b", ANN), ("c", BOB)):
        paced.lane.put(message(name, address=address))
    assert [await paced.take(), await paced.take()] == [("a", 0.0), ("c", 0.0)]
    assert (paced.lane.waiting, paced.lane.held) == (1, 3)
    assert await paced.take() == ("b", 1.0)


async def test_one_that_stepped_aside_keeps_its_turn(clock):
    paced = Paced(clock, pause=1.0)
    for name in ("a", "b"):
        paced.lane.put(message(name, address=ANN))
    first, _ = await paced.take(), await paced.take()
    assert (first, paced.elapsed) == (("a", 0.0), 1.0)
    for name in ("a", "b"):
        paced.lane.done(message(name))
    assert paced.lane._turned == set()


async def test_one_whose_turn_is_late_is_taken_to_go_elsewhere(clock):
    paced = Paced(clock, pause=1.0)
    for name in ("a", "b", "c"):
        paced.lane.put(message(name, address=ANN))
    assert [await paced.take(), await paced.take()] == [("a", 0.0), ("c", 0.0)]
    assert paced.lane.pacer.holds(ANN) == 2.0


async def test_one_who_rests_shortly_steps_aside_and_then_takes_a_turn(clock):
    paced = Paced(clock, pause=1.0)
    paced.lane.pacer.rest(ANN, 0.5)
    paced.lane.put(message("a", address=ANN))
    assert await paced.take() == ("a", 0.5)
    assert await paced.lane.pacer.turn(ANN) == 1.0


async def test_of_two_messages_for_one_who_rests_shortly_only_one_has_the_turn(clock):
    paced = Paced(clock, pause=1.0)
    await paced.lane.pacer.pause_recipient(ANN, 0.5)
    for name in ("a", "b"):
        paced.lane.put(message(name, address=ANN))
    await paced.take()
    assert (paced.elapsed, paced.lane.pacer.holds(ANN)) == (0.5, 0.0)
    await paced.take()
    # Both came back then, and the other is now taken to wait elsewhere, or waited for its own turn.
    assert paced.elapsed + paced.lane.pacer.holds(ANN) == pytest.approx(1.5)


async def test_what_steps_aside_is_drained_too(clock):
    paced = Paced(clock, pause=1.0)
    for name in ("a", "b"):
        paced.lane.put(message(name, address=ANN))
    await paced.take()
    taking = asyncio.ensure_future(paced.take())
    for _ in range(3):
        await asyncio.sleep(0)
    assert paced.lane.room("shop") == BUFFER
    assert [item.id for item in paced.lane.drain()] == ["b"]
    taking.cancel()


async def test_one_that_is_asking_for_its_turn_at_a_stop_is_drained(clock):
    paced, asked = Paced(clock, pause=1.0), asyncio.Event()

    async def never(_: str) -> float:
        asked.set()
        await asyncio.Event().wait()
        return 0.0

    paced.lane.pacer.turn = never  # type: ignore[assignment, method-assign]
    paced.lane.put(message("a"))
    taking = asyncio.ensure_future(paced.take())
    await asked.wait()
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    assert [item.id for item in paced.lane.drain()] == ["a"]


async def test_who_waits_for_a_start_finds_nothing_where_all_was_drained(clock):
    paced = Paced(clock, rate=1.0)
    for name in ("a", "b"):
        paced.lane.put(message(name))
    await paced.take()
    taking = asyncio.ensure_future(paced.take())
    await asyncio.sleep(0)
    paced.lane.drain()
    for _ in range(30):
        await asyncio.sleep(0)
    assert not taking.done()
    paced.lane.put(message("c"))
    assert (await taking)[0] == "c"


# -- coming back


def ramp(lane: Lane, clock: HandClock) -> None:
    fail(lane, clock)
    clock.advance(OPEN_TIME)
    lane.breaker.admit(clock.monotonic())
    lane.breaker.record(Verdict.WORKED, clock.monotonic(), probe=True)


async def test_a_channel_that_comes_back_uses_a_part_of_its_slots(clock):
    paced = Paced(clock, concurrency=20)
    ramp(paced.lane, clock)
    for number in range(5):
        paced.lane.put(message(str(number)))
    both = [await taken(paced.lane), await taken(paced.lane)]
    third = asyncio.ensure_future(taken(paced.lane))
    for _ in range(9):
        await asyncio.sleep(0)
    assert not third.done()
    paced.lane.done(both[0])
    assert (await third).id == "2"
    clock.advance(1.1)
    assert [(await taken(paced.lane)).id, (await taken(paced.lane)).id] == ["3", "4"]


async def test_a_channel_with_one_slot_comes_back_with_that(clock):
    paced = Paced(clock, concurrency=1)
    ramp(paced.lane, clock)
    paced.lane.put(message("a"))
    assert (await taken(paced.lane)).id == "a"


async def test_a_channel_that_comes_back_uses_a_part_of_its_rate(clock):
    paced = Paced(clock, rate=10.0)
    ramp(paced.lane, clock)
    paced.began = clock.monotonic()
    for number in range(3):
        paced.lane.put(message(str(number)))
    times = []
    for _ in range(3):
        name, at = await paced.take()
        times.append((name, round(at, 3)))
        paced.lane.done(message(name))
    assert times == [("0", 0.0), ("1", 1.0), ("2", 1.5)]


# -- the measure


class Counting(Uncounted):
    """A database that says how much is due."""

    def __init__(self, numbers: Mapping[str, int], senders: int = 1) -> None:
        self.numbers = numbers
        self.nodes = senders
        self.asked: list[str] = []

    async def due(self, channel: str, service: str, now: float, /) -> int:
        self.asked.append(service)
        return self.numbers[service]

    async def senders(self, channel: str, now: float, /) -> int:
        return self.nodes


async def test_a_full_channel_is_measured(clock):
    lane = Paced(clock, concurrency=2).lane
    lane.put(message("a"))
    lane.put(message("b"))
    told = [lane.throughput.measuring]
    lane.put(message("c"))
    assert [*told, lane.throughput.measuring] == [False, True]
    clock.advance(1.0)
    lane.throughput.settled += 50
    await lane.measure(Uncounted())
    assert lane.throughput.rate(clock.monotonic()) == 50.0


async def test_a_channel_that_ran_dry_is_measured_no_longer(clock):
    lane = Paced(clock, concurrency=1).lane
    lane.put(message("a"))
    lane.put(message("b"))
    await take_all(lane)
    assert not lane.throughput.measuring


async def test_a_channel_that_may_not_send_is_not_measured(clock):
    lane = Paced(clock, concurrency=1).lane
    for name in ("a", "b"):
        lane.put(message(name))
    lane.pacer.pause_for(60.0)
    await lane.measure(Uncounted())
    assert not lane.throughput.measuring
    clock.advance(60.0)
    await lane.measure(Uncounted())
    assert lane.throughput.measuring


async def test_what_is_due_in_the_database_is_counted_while_there_is_more_than_here(lane):
    counting = Counting({"shop": 70}, senders=4)
    await lane.measure(counting)
    assert counting.asked == []
    lane.behind["shop"] = 1
    lane.put(message("a"))
    lane.put(message("b", "bank"))
    await lane.measure(counting)
    assert (lane.behind, lane.senders) == ({"shop": 70}, 4)
    assert lane.counts() == {"shop": 71, "bank": 1}


async def test_a_service_that_was_caught_up_with_meanwhile_is_not_behind_again(lane):
    class Slow(Counting):
        async def due(self, channel: str, service: str, now: float, /) -> int:
            lane.behind.clear()
            return 5

    lane.behind["shop"] = 1
    await lane.measure(Slow({}, senders=0))
    assert (lane.behind, lane.senders) == ({}, 1)


async def test_a_lane_is_idle_while_a_message_would_start_at_once(lane, clock):
    told = [lane.idle]
    lane.put(message("a"))
    told.append(lane.idle)
    await taken(lane)
    told.append(lane.idle)
    lane.behind["shop"] = 1
    told.append(lane.idle)
    assert told == [True, False, True, False]
