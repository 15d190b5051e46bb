"""Health: the database is asked once a second at most, and what is in the way is told once."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from gateway.app.health import FRESH, Readiness
from gateway.storage.unit import StorageError, StorageUnavailableError


class Asked:
    """A database that is asked, and what it says."""

    def __init__(self, database: Any) -> None:
        self.times = 0
        self.begun = asyncio.Event()
        self.error: StorageError | None = None
        self.gate: asyncio.Event | None = None
        self._whole, database.run = database.run, self._run

    async def _run(self, work: Any) -> Any:
        self.times += 1
        self.begun.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return await self._whole(work)


@pytest.fixture
def asked(database):
    return Asked(database)


@pytest.fixture
def draining():
    return asyncio.Event()


@pytest.fixture
def readiness(database, asked, draining, clock):
    return Readiness(database, lambda: {"sms": "ok"}, draining, clock)


async def test_a_node_with_its_database_is_ready_until_it_stops(readiness, draining):
    first = await readiness.health()
    assert (first.ready, first.database, first.migrations, first.channels) == (True, True, True, {"sms": "ok"})
    draining.set()
    assert not (await readiness.health()).ready


async def test_the_database_is_asked_once_a_second(readiness, asked, clock):
    for pause in (0.0, FRESH - 0.1, 0.1, 0.0):
        clock.advance(pause)
        assert (await readiness.health()).ready
    assert asked.times == 2


async def test_who_asks_meanwhile_gets_the_same_answer_though_the_first_one_left(readiness, asked):
    asked.gate = asyncio.Event()
    first, second = (asyncio.create_task(readiness.health()) for _ in range(2))
    await asked.begun.wait()
    first.cancel()
    asked.gate.set()
    assert (await second).ready
    assert (asked.times, first.cancelled()) == (1, True)


async def test_what_is_in_the_way_is_told_once_and_its_end_too(readiness, asked, clock, caplog):
    caplog.set_level(logging.INFO, "gateway.app.health")
    for error in ("locked", "locked", "gone", None, None):
        asked.error = StorageUnavailableError(error) if error else None
        assert (await readiness.health()).database == (error is None)
        clock.advance(FRESH)
    assert caplog.messages == ["not ready: locked", "not ready: gone", "ready again"]


async def test_a_database_that_can_only_be_read_is_not_ready(readiness, database, engine_name, caplog):
    """It begins and ends what writes nothing, so who only asks it sees nothing wrong, and every create is 503."""
    only = {"sqlite": "PRAGMA query_only = ON", "postgresql": "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"}
    await database.run(lambda connection: connection.fetch(only[engine_name]))
    found = await readiness.health()
    assert (found.ready, found.database, found.migrations) == (False, False, True)
    told = [record.message for record in caplog.records if record.name == "gateway.app.health"]
    assert [line.partition(":")[0] for line in told] == ["not ready"]


async def test_asking_leaves_nothing_behind(readiness, database):
    assert (await readiness.health()).ready
    assert await database.fetch("SELECT name FROM lease") == []


async def test_tables_of_another_version_are_not_written_to(readiness, monkeypatch):
    monkeypatch.setattr("gateway.app.health.migrations.serves", lambda _: False)
    monkeypatch.setattr("gateway.app.health._INSERT", "INSERT INTO what_this_version_does_not_know DEFAULT VALUES")
    found = await readiness.health()
    assert (found.ready, found.database, found.migrations) == (False, True, False)
