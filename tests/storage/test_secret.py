"""The index key is made once, is the same for everybody, and outlives the ring that sealed it."""

from __future__ import annotations

import asyncio

import pytest

from gateway.config import SealingKey
from gateway.errors import ConfigError
from gateway.storage.database import Database
from gateway.storage.sealing import Sealer
from gateway.storage.secret import found_key, index_key
from tests.conftest import START

NEW = SealingKey("k2", b"n" * 32)


async def test_the_key_is_made_once_and_has_256_bits(database, sealer):
    key = await index_key(database, sealer, START, reseal=True)
    assert len(key) == 32
    assert await index_key(database, sealer, START + 1, reseal=True) == key


async def test_nodes_that_start_together_get_one_key(make_engine, sealer):
    async with Database(make_engine()) as one, Database(make_engine()) as two:
        keys = await asyncio.gather(*(index_key(side, sealer, START, reseal=True) for side in (one, two) * 5))
    assert len(set(keys)) == 1


async def test_the_wrong_ring_is_refused(database, sealer):
    await index_key(database, sealer, START, reseal=True)
    with pytest.raises(ConfigError, match=r"\[secrets\] keys"):
        await index_key(database, Sealer([NEW]), START, reseal=True)


async def test_who_only_reads_has_the_key_and_makes_none(database, sealer):
    # Nothing was sealed yet, and nothing is to be found: any key is as good.
    assert len({await found_key(database, sealer), await found_key(database, Sealer([NEW]))}) == 2
    assert await database.fetch("SELECT name FROM secret") == []
    key = await index_key(database, sealer, START, reseal=True)
    assert await found_key(database, sealer) == key
    with pytest.raises(ConfigError, match="another ring sealed this database"):
        await found_key(database, Sealer([NEW]))


async def test_after_a_rotation_the_old_key_may_leave_the_ring(database, sealer, ring):
    key = await index_key(database, sealer, START, reseal=True)
    assert await index_key(database, Sealer([NEW, *ring]), START, reseal=True) == key
    assert await index_key(database, Sealer([NEW]), START, reseal=True) == key


async def test_a_command_with_the_ring_of_before_brings_no_dropped_key_back(database, sealer, ring):
    key = await index_key(database, sealer, START, reseal=True)
    assert await index_key(database, Sealer([NEW, *ring]), START, reseal=True) == key
    assert await index_key(database, Sealer([*ring, NEW]), START, reseal=False) == key
    assert await index_key(database, Sealer([NEW]), START, reseal=True) == key


async def test_the_key_does_not_stand_in_the_database(database, sealer):
    key = await index_key(database, sealer, START, reseal=True)
    [record] = await database.fetch("SELECT sealed FROM secret")
    assert key not in record["sealed"]
