"""Attempts of one caller to have the gateway refuse, or keep waiting, others of the same service."""

from __future__ import annotations

import pytest

from gateway.errors import Cooldown
from tests.world import World, two_channels


@pytest.fixture
def engine_name() -> str:
    """What is reckoned with is in memory."""
    return "sqlite"


async def test_a_refused_request_makes_no_queue_longer(database, clock, sealer, hasher):
    world = World(database, clock, sealer, hasher, two_channels())
    drafting = world.verifications._drafting
    drafting._has_room, drafting._workers = world.dispatcher.has_room, world.dispatcher
    world.verifications._workers = world.dispatcher
    lane = world.dispatcher._lanes["sms"]
    lane.behind["shop"] = 0
    await world.start()
    for _ in range(5):
        with pytest.raises(Cooldown):
            await world.start()
    assert lane.behind == {"shop": 1}


async def test_what_is_sent_anew_behind_others_is_counted(database, clock, sealer, hasher):
    world = World(database, clock, sealer, hasher, two_channels())
    view = await world.start()
    clock.advance(31)
    world.verifications._workers = world.dispatcher
    world.verifications._resending._has_room = world.dispatcher.has_room
    lane = world.dispatcher._lanes["sms"]
    lane.behind["shop"] = 3
    await world.verifications.resend("shop", view.id, "sms")
    assert lane.behind == {"shop": 4}
