"""The database as a whole: reached, up to date, on time, and opened by our keys. On both engines."""

from __future__ import annotations

import time

import pytest

from gateway.app import clocks
from gateway.clock import SystemClock
from gateway.config import DatabaseSettings, SealingKey
from gateway.diagnosis.seen import Area
from gateway.diagnosis.stores import examine, of_revision
from gateway.storage.migrations import head
from gateway.storage.rings import Rings
from gateway.storage.sealing import Sealer
from gateway.storage.secret import index_key

OTHER = (SealingKey("k2", bytes(range(100, 132))),)


@pytest.fixture
def chosen(engine_name, tmp_path, request, make_engine) -> DatabaseSettings:
    if engine_name == "sqlite":
        return DatabaseSettings(url=f"sqlite:///{tmp_path / 'gateway.db'}")
    return DatabaseSettings(url=request.getfixturevalue("migrated_postgresql"))


async def test_a_database_is_opened_by_the_keys_it_was_made_with_alone(chosen, database, ring):
    await index_key(database, Sealer(ring), time.time(), reseal=True)
    found = {(item.area, item.subject): item for item in await examine(chosen, ring, time.time)}
    assert found[Area.DATABASE, "schema"].told == f"revision {head()}, which this version works with"
    assert found[Area.CLOCK, "database"].verdict == "ok"
    assert found[Area.KEYS, "sealing ring and database"].verdict == "ok"
    # A look changes nothing: the same keys are asked again, and others.
    [wrong] = [item for item in await examine(chosen, OTHER, time.time) if item.area is Area.KEYS]
    assert (wrong.verdict, "another ring sealed this database: its key is k1, yours k2" in wrong.told) == (
        "fault",
        True,
    )


async def test_a_database_without_a_key_says_nothing_of_the_ring(chosen, database, ring):
    assert [item for item in await examine(chosen, ring, time.time) if item.area is Area.KEYS] == []


async def test_without_a_ring_nothing_is_said_of_it(chosen, database, ring):
    await index_key(database, Sealer(ring), time.time(), reseal=True)
    assert [item for item in await examine(chosen, (), time.time) if item.area is Area.KEYS] == []


async def test_a_database_that_cannot_be_opened_has_no_schema(tmp_path):
    file = tmp_path / "gateway.db"
    file.write_bytes(b"no database" * 50)
    found = await examine(DatabaseSettings(url=f"sqlite:///{file}"), (), time.time)
    assert [(item.area, item.verdict) for item in found] == [(Area.DATABASE, "fault"), (Area.CLOCK, "ok")]


@pytest.mark.parametrize(
    ("revision", "verdict"), [(None, "ok"), ("0001", "warning"), (head(), "ok"), ("9999", "ok"), ("abc", "warning")]
)
def test_a_schema_that_is_behind_is_told(revision, verdict):
    assert of_revision(revision).verdict == verdict


@pytest.mark.parametrize("engine_name", ["sqlite"])
@pytest.mark.parametrize(
    ("step", "verdict", "words"),
    [(0.0, "ok", "within 5 s"), (7200.0, "warning", "set forward by 7200 s"), (-90.0, "warning", "set back by 90 s")],
)
async def test_a_clock_that_was_set_after_the_nodes_start_is_seen(chosen, database, step, verdict, words):
    clock = SystemClock()
    clock.set(clock.now() - step)
    await clocks.tell(database, clock)
    before = [item.told for item in await examine(chosen, (), time.time) if item.area is Area.CLOCK]
    await Rings(database).tell("node", ["k1"], clock.now())
    [found] = [item for item in await examine(chosen, (), time.time) if item.area is Area.CLOCK]
    assert before == ["SQLite has this machine's own"], "no node runs"
    assert (found.verdict, words in found.told) == (verdict, True)
