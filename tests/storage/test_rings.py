"""Running nodes tell which sealing keys they know, and only as long as they run."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.storage import models
from gateway.storage.leases import Leases
from gateway.storage.rings import LIVES, Ring, Rings
from gateway.storage.unit import StorageUnavailableError
from tests.conftest import START
from tests.rows import count


async def test_nodes_tell_what_they_know_and_the_latest_counts(database):
    rings = Rings(database)
    await rings.tell("b", ["k1"], START)
    await rings.tell("a", ["k2", "k1"], START)
    await rings.tell("b", ["k1", "k2"], START + 1)
    assert [Ring("a", ("k2", "k1")), Ring("b", ("k1", "k2"))] == await rings.live(START + 2)


async def test_a_node_that_is_silent_is_gone_and_forgotten(database):
    rings = Rings(database)
    await rings.tell("a", ["k1"], START)
    assert await rings.live(START + LIVES) == []
    await rings.tell("b", ["k1"], START + LIVES)
    assert await count(database, models.Lease) == 1


async def test_other_leases_are_no_rings_and_stay(database):
    rings = Rings(database)
    await Leases(database, "a").take("house", START, 1.0)
    await rings.tell("a", ["k1"], START + LIVES)
    await rings.leave("a")
    assert (await rings.live(START), await count(database, models.Lease)) == ([], 1)


async def test_a_node_tells_for_as_long_as_it_runs(database, clock):
    told = asyncio.Event()

    class Heard(Rings):
        async def tell(self, *what: Any) -> None:
            await super().tell(*what)
            told.set()

    rings = Heard(database)
    telling = asyncio.create_task(rings.telling("a", ["k1"], clock))
    await told.wait()
    assert [Ring("a", ("k1",))] == await rings.live(clock.now())
    telling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await telling
    assert await rings.live(clock.now()) == []


async def test_a_node_that_cannot_take_it_back_stops_all_the_same(clock, caplog):
    class Away:
        async def run(self, _: Any) -> None:
            raise StorageUnavailableError("SQLite: disk I/O error")

    telling = asyncio.create_task(Rings(Away()).telling("a", ["k1"], clock))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    telling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await telling
    assert "ends by itself" in caplog.messages[-1]
