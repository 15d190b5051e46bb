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


class Outage:
    """A database that can be read, and from the moment a provider takes a code for ``away`` seconds not be written."""

    def __init__(self, database: Any, clock: Any, away: float) -> None:
        self._whole, self._clock, self._away, self._back_at = database._engine.commit, clock, away, 0.0
        database._engine.commit = self._commit

    @property
    def over(self) -> bool:
        return bool(self._clock.monotonic() >= self._back_at)

    async def takes(self, _: Any) -> Receipt:
        self._back_at = self._clock.monotonic() + self._away
        return Receipt("taken")

    async def _commit(self, units: Any) -> Any:
        if not self.over:
            raise StorageUnavailableError("away")
        return await self._whole(units)


async def sent_by_two(database: Any, clock: Any, sealer: Any, hasher: Any, *, away: float, started: bool) -> list[int]:
    """Return how often two nodes sent a code: the one whose provider took it, and one that looks for it each second.

    ``started``: that one looked before the database was away too, else for the first time just as it is back.
    """
    outage = Outage(database, clock, away)
    other = World(database, clock, sealer, hasher, two_channels(), node="node-b")
    if started:
        await other.dispatcher._rescue()

    async def look() -> None:
        if started or outage.over:
            with suppress(StorageUnavailableError):
                await other.dispatcher._rescue()
        if outage.over and await other.claim("sms"):
            await other.attempt()

    async def sleep(pause: float) -> None:
        while pause > 0:
            clock.advance(min(1.0, pause))
            pause -= 1.0
            await look()

    world = World(database, clock, sealer, hasher, two_channels(), dispatching={"sleep": sleep})
    world.channels["sms"].act = outage.takes
    await world.start()
    await world.attempt()
    await sleep(15)
    return [len(node.channels["sms"].sent) for node in (world, other)]


@pytest.mark.parametrize("away", [20, 30, 40, 48, 60])
async def test_a_node_that_could_read_all_the_time_waits_for_one_that_could_not_write(
    database, clock, sealer, hasher, away
):
    assert await sent_by_two(database, clock, sealer, hasher, away=away, started=True) == [1, 0]


async def test_a_node_that_was_started_while_the_database_was_away_waits_for_one_that_lives(
    database, clock, sealer, hasher
):
    assert await sent_by_two(database, clock, sealer, hasher, away=30, started=False) == [1, 0]
