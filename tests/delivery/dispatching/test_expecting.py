"""How long a fresh message is expected to wait."""

from __future__ import annotations

import pytest

from gateway.delivery.dispatching.backlog import Uncounted
from gateway.delivery.dispatching.breaker import ENOUGH, OPEN_TIME, Verdict
from gateway.delivery.dispatching.expecting import FEARED, expected_wait
from gateway.delivery.dispatching.lane import Lane
from gateway.delivery.dispatching.pacing import REFRESH, Pacer
from tests.delivery.messages import message
from tests.world import Scripted


@pytest.fixture
def lane(clock) -> Lane:
    """One that settles ten a second."""
    lane = Lane(Scripted("pigeon", ["phone"], concurrency=10), clock)
    lane.throughput.begin(clock.monotonic())
    lane.throughput.settled += 10
    clock.advance(1.0)
    lane.throughput.look(clock.monotonic())
    return lane


def fill(lane: Lane, service: str, number: int) -> None:
    for place in range(number):
        lane.put(message(f"{service}-{place}", service))


def wait(lane: Lane, clock, service: str = "shop") -> float:
    return expected_wait(lane, service, clock.monotonic())


def test_nothing_ahead_is_no_wait(lane, clock):
    assert wait(lane, clock) == 0.0


def test_what_waits_of_the_same_service_is_ahead(lane, clock):
    fill(lane, "shop", 50)
    assert wait(lane, clock) == 5.0


def test_of_anothers_flood_as_many_are_ahead_as_take_turns(lane, clock):
    fill(lane, "flood", 500)
    assert wait(lane, clock) == pytest.approx(0.1)
    assert wait(lane, clock, "flood") == 50.0
    fill(lane, "shop", 9)
    assert wait(lane, clock) == pytest.approx(1.9)


def test_what_is_in_the_database_is_sent_by_every_node(lane, clock):
    fill(lane, "shop", 50)
    lane.behind["shop"], lane.senders = 400, 4
    assert wait(lane, clock) == 5.0 + 10.0


def test_a_pause_and_an_open_breaker_are_waited_for_first(lane, clock):
    fill(lane, "shop", 50)
    lane.pacer.pause_for(7.0)
    assert wait(lane, clock) == 12.0
    for _ in range(ENOUGH):
        lane.breaker.record(Verdict.FAILED, clock.monotonic())
    assert wait(lane, clock) == 5.0 + OPEN_TIME


def test_the_share_of_the_rate_bounds_what_was_measured(clock):
    lane = Lane(Scripted("pigeon", ["phone"]), clock, pacer=Pacer("pigeon", 2.0, 0.0, clock))
    fill(lane, "shop", 10)
    assert wait(lane, clock) == 5.0


def test_before_anything_is_known_nothing_is_refused(clock):
    lane = Lane(Scripted("pigeon", ["phone"], concurrency=10), clock)
    fill(lane, "shop", 1000)
    assert wait(lane, clock) == 0.0
    clock.advance(1.0)
    assert wait(lane, clock) == 100.0


def test_a_channel_that_settles_nothing_is_waited_for_without_end(clock):
    lane = Lane(Scripted("pigeon", ["phone"], concurrency=1), clock)
    fill(lane, "shop", 2)
    clock.advance(10.0)
    lane.throughput.look(clock.monotonic())
    assert wait(lane, clock) == float("inf")


async def test_a_node_that_has_no_share_yet_waits_for_one_and_not_for_ever(clock):
    class Nothing:
        async def take(self, _channel: str, _rate: float, _now: float) -> float:
            return 0.0

        async def give(self, _channel: str) -> None: ...

    pacer = Pacer("pigeon", 10.0, 0.0, clock, shares=Nothing())
    lane = Lane(Scripted("pigeon", ["phone"]), clock, pacer=pacer)
    await pacer.refresh()
    fill(lane, "shop", 10)
    assert wait(lane, clock) == 2 * REFRESH + 10 / 5.0


async def test_after_an_open_breaker_what_was_measured_in_the_outage_refuses_nobody(clock):
    lane = Lane(Scripted("pigeon", ["phone"], concurrency=10), clock)
    fill(lane, "shop", 20)
    clock.advance(10.0)
    await lane.measure(Uncounted())
    assert lane.throughput.rate(clock.monotonic()) == 0.0
    for _ in range(ENOUGH):
        lane.breaker.record(Verdict.FAILED, clock.monotonic())
    await lane.measure(Uncounted())
    clock.advance(OPEN_TIME)
    lane.breaker.admit(clock.monotonic())
    lane.breaker.record(Verdict.WORKED, clock.monotonic(), probe=True)
    assert wait(lane, clock) == 0.0


def stand(lane: Lane, clock, tenths: int, *, settled: int = 0) -> None:
    """Let tenths of a second go by, so many settled in each, somebody asking all the time."""
    for _ in range(tenths):
        clock.advance(0.1)
        lane.throughput.settled += settled
        wait(lane, clock)


def test_of_a_standstill_no_more_is_feared_than_it_has_lasted(lane, clock):
    fill(lane, "shop", 500)
    stand(lane, clock, 15, settled=10)
    lane.throughput.look(clock.monotonic())
    rate = lane.throughput.measured
    stand(lane, clock, 20)
    assert wait(lane, clock) == pytest.approx(FEARED * 2.0 + 500 / rate, abs=0.1)


def test_once_it_is_over_only_what_waits_is_waited_for(lane, clock):
    fill(lane, "shop", 500)
    stand(lane, clock, 15, settled=10)
    lane.throughput.look(clock.monotonic())
    rate = lane.throughput.measured
    stand(lane, clock, 50)
    stand(lane, clock, 1, settled=10)
    assert wait(lane, clock) == pytest.approx(500 / rate)
