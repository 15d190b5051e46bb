"""What is due in the database is counted by service, and who sends."""

from __future__ import annotations

import pytest

from gateway.delivery.dispatching.backlog import Counted, Uncounted
from gateway.delivery.message import LEASE
from tests.world import EMAIL, World, two_channels


@pytest.fixture
def world(database, clock, sealer, hasher) -> World:
    return World(database, clock, sealer, hasher, two_channels())


@pytest.fixture
def backlog(database) -> Counted:
    return Counted(database.fetch)


async def test_what_is_due_and_held_by_nobody_is_counted_by_channel_and_service(world, backlog, clock):
    world.has_room = False
    for number in range(3):
        await world.start({"phone": f"+4915112345{number:03}"})
    await world.start({"email": EMAIL})
    world.has_room = True
    await world.start({"phone": "+4915112345999"})
    now = clock.now()
    counted = [
        await backlog.due(channel, service, now)
        for channel, service in (("sms", "shop"), ("email", "shop"), ("sms", "bank"))
    ]
    assert counted == [3, 1, 0]
    assert await backlog.due("sms", "shop", now - 1.0) == 0
    assert await backlog.due("sms", "shop", now + LEASE) == 4


async def test_the_nodes_that_send_are_counted_once_each(world, backlog, database, clock, sealer, hasher):
    assert await backlog.senders("sms", clock.now()) == 0
    other = World(database, clock, sealer, hasher, two_channels(), node="node-b")
    for number, side in enumerate((world, world, other)):
        await side.start({"phone": f"+4915112345{number:03}"})
        assert await side.queue.begin(side.handed_over.pop())
    assert await backlog.senders("sms", clock.now()) == 2
    assert await backlog.senders("email", clock.now()) == 0
    # Of a node that died, nothing is expected.
    assert await backlog.senders("sms", clock.now() + LEASE) == 0


async def test_a_node_without_a_database_to_ask_knows_of_nothing():
    assert (await Uncounted().due("sms", "shop", 0.0), await Uncounted().senders("sms", 0.0)) == (0, 1)
