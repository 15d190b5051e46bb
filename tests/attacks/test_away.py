"""Attempts to have a code sent twice although its provider has answered: the database is away when it does."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from channels.base import Receipt
from gateway.storage.unit import StorageUnavailableError
from tests.world import World, two_channels


@pytest.mark.parametrize("several", [False, True], ids=["by its own node", "by another one"])
async def test_a_code_that_a_provider_took_is_not_sent_again_once_the_database_is_back(
    database, clock, sealer, hasher, several
):
    whole, back_at = database._engine.commit, 0.0
    other = World(database, clock, sealer, hasher, two_channels(), node="node-b")

    async def sleep(pause: float) -> None:
        clock.advance(pause)
        if several:
            with suppress(StorageUnavailableError):
                await other.dispatcher._rescue()

    async def commit(units: Any) -> Any:
        if clock.monotonic() < back_at:
            raise StorageUnavailableError("away")
        return await whole(units)

    async def takes(_: Any) -> Receipt:
        nonlocal back_at
        back_at, database._engine.commit = clock.monotonic() + 60, commit
        return Receipt("taken")

    world = World(database, clock, sealer, hasher, two_channels(), dispatching={"sleep": sleep})
    world.channels["sms"].act = takes
    await world.start()
    await world.attempt()
    clock.advance(21)
    await world.dispatcher._rescue()
    for node in (world, other):
        if await node.claim("sms"):
            await node.attempt()
    assert [len(node.channels["sms"].sent) for node in (world, other)] == [1, 0]
