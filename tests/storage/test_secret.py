"""The index key is made once, is the same for everybody, and outlives the ring that sealed it."""

from __future__ import annotations

import asyncio

import pytest

from gateway.config import SealingKey
from gateway.errors import ConfigError
from gateway.storage.database import Database
from gateway.storage.sealing import Sealer
from gateway.storage.secret import index_key
from tests.conftest import START

NEW = SealingKey("k2", b"n" * 32)


async def test_the_key_is_made_once_and_has_256_bits(database, sealer):
    key = await index_key(database, sealer, START)
    assert len(key) == 32
    assert await index_key(database, sealer, START + 1) == key


async def test_nodes_that_start_together_get_one_key(make_engine, sealer):
    async with Database(make_engine()) as one, Database(make_engine()) as two:
        keys = await asyncio.gather(*(index_key(side, sealer, START) for side in (one, two) * 5))
    assert len(set(keys)) == 1


async def test_the_wrong_ring_is_refused(database, sealer):
    await index_key(database, sealer, START)
    with pytest.raises(ConfigError, match=r"\[secrets\] keys"):
        await index_key(database, Sealer([NEW]), START)


async def test_after_a_rotation_the_old_key_may_leave_the_ring(database, sealer, ring):
    key = await index_key(database, sealer, START)
    assert await index_key(database, Sealer([NEW, *ring]), START) == key
    assert await index_key(database, Sealer([NEW]), START) == key


async def test_the_key_does_not_stand_in_the_database(database, sealer):
    key = await index_key(database, sealer, START)
    [record] = await database.fetch("SELECT sealed FROM secret")
    assert key not in record["sealed"]
