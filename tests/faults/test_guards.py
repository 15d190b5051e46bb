"""Guards that show only when two things meet: reports at once, and a node that stood still."""

from __future__ import annotations

import asyncio

import pytest

from channels.base import Receipt, Report, ReportedStatus
from gateway.delivery.dispatching.calling import Caller, Lost
from gateway.delivery.message import LEASE
from gateway.delivery.writing.rendering import Rendered
from tests.world import World, two_channels


@pytest.fixture
def world(database, clock, sealer, hasher) -> World:
    return World(database, clock, sealer, hasher, two_channels())


async def test_of_a_delivery_and_a_failure_reported_at_once_the_delivery_stands(world):
    # Which of the two is read first is the readers' affair; of ten pairs some cross.
    for number in range(10):
        view = await world.start({"phone": f"+49151123456{number:02}"})
        message, token = await world.queue.begin(world.handed_over.pop(0))
        assert await world.queue.accept(message, Receipt(f"SM{number}"), 1.0)
        reports = (Report(token, ReportedStatus(status)) for status in ("delivered", "undelivered"))
        delivered, _ = await asyncio.gather(*(world.queue.report("sms", report) for report in reports))
        assert delivered is True
        assert await world.statuses(view) == [("sms", "delivered")]


async def test_a_node_that_stood_still_for_a_lease_sends_nothing(world, clock):
    await world.start()
    begun = clock.monotonic()
    message, token = await world.queue.begin(world.handed_over.pop(0))
    clock.advance(LEASE)
    caller = Caller(lambda message, channel, lifetime: Rendered("Shop", {"body.txt": "hello"}), clock)
    with pytest.raises(Lost):
        await caller.call(world.channels["sms"], message, token, begun)
    assert world.channels["sms"].sent == []
