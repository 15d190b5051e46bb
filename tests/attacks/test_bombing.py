"""Attempts to have a person sent more than the limits say, or to have counts go down that should not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from channels.base import Reason, Receipt
from gateway.errors import Cooldown, RateLimited
from gateway.storage import models
from gateway.storage.database import Database
from tests.rows import count
from tests.world import Scripted, refused

#: Nothing but sends is limited.
SENDS: dict[str, Any] = {"cooldown": 0, "prefix_per_hour": 0, "guesses_per_hour": 0, "guesses_per_day": 0}


def two_ways() -> dict[str, Scripted]:
    """Two channels to the same number."""
    return {"sms": Scripted("sms", ["phone"]), "email": Scripted("email", ["phone"])}


async def counted(database: Any) -> list[tuple[int, int, int]]:
    found = await database.fetch("SELECT ten_minutes, hour, day FROM recipient")
    return [(item["ten_minutes"], item["hour"], item["day"]) for item in found]


async def test_a_code_that_a_second_channel_brings_counts_although_the_first_brought_nothing(make_world, database):
    world = make_world(channels=two_ways(), **SENDS)
    world.channels["sms"].script = [refused(Reason.UNREACHABLE) for _ in range(5)]
    for _ in range(5):
        await world.start()
        await world.attempt()
        await world.attempt()
    assert len(world.channels["email"].sent) == 5
    assert await counted(database) == [(5, 5, 5)]
    with pytest.raises(RateLimited):
        await world.start()


async def test_it_is_given_back_once_where_no_channel_brought_it(make_world, database):
    world = make_world(channels=two_ways(), **SENDS)
    for channel in world.channels.values():
        channel.script = [refused(Reason.UNREACHABLE)]
    view = await world.start()
    await world.start()
    await world.attempt()
    assert await counted(database) == [(2, 2, 2)]
    world.handed_over.sort(key=lambda message: message.channel)
    await world.attempt()
    assert await world.statuses(view) == [("sms", "failed"), ("email", "failed")]
    assert await counted(database) == [(1, 1, 1)]


async def test_what_is_canceled_while_it_is_sent_counts(make_world, database):
    world = make_world(**SENDS)
    view = await world.start()

    async def canceled_meanwhile(_: Any) -> Receipt:
        await world.checking.cancel("shop", view.id)
        return Receipt("provider-1")

    world.channels["sms"].act = canceled_meanwhile
    await world.attempt()
    assert await counted(database) == [(1, 1, 1)]


async def test_what_is_canceled_while_it_fails_is_given_back_once(make_world, database):
    world = make_world(**SENDS)
    views = [await world.start(), await world.start()]

    async def canceled_meanwhile(_: Any) -> Receipt:
        await world.checking.cancel("shop", views[0].id)
        raise refused(Reason.UNREACHABLE)

    world.channels["sms"].act = canceled_meanwhile
    await world.attempt()
    for _ in range(3):
        await world.checking.cancel("shop", views[0].id)
    assert await counted(database) == [(1, 1, 1)]


async def test_of_parallel_resends_on_two_nodes_each_counts_once_and_none_is_told_that_it_is_over(
    make_engine, make_world
):
    async with Database(make_engine()) as one, Database(make_engine()) as other:
        nodes = [make_world(on=database, **SENDS) for database in (one, other)]
        view = await nodes[0].start()
        resends = [nodes[n % 2].verifications.resend("shop", view.id, None) for n in range(12)]
        found = await asyncio.gather(*resends, return_exceptions=True)
        assert {type(item) for item in found} <= {type(None), Cooldown, RateLimited}
        # Each took the place of the one before, which was still queued.
        assert await counted(one) == [(1, 1, 1)]
        messages = await one.fetch("SELECT status, counted FROM message ORDER BY counted")
        assert [(item["status"], item["counted"]) for item in messages] == [
            *[("canceled", 0)] * found.count(None),
            ("queued", 1),
        ]


async def test_canceling_ends_no_cooldown(make_world, clock, database):
    world = make_world()
    view = await world.start()
    for _ in range(3):
        await world.checking.cancel("shop", view.id)
        with pytest.raises(Cooldown):
            await world.start()
    assert await count(database, models.Verification) == 1
