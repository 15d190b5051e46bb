"""Who waits for a topic is told, here and on the other nodes, and no more often than needed."""

from __future__ import annotations

import asyncio
from functools import partial

import asyncpg
import pytest

from gateway.storage import connecting, listener, models
from gateway.storage.absence import Absence
from gateway.storage.database import Database
from gateway.storage.postgresql import PostgresqlEngine
from gateway.storage.statement import Statement, insert_into
from gateway.storage.unit import Move, StorageUnavailableError
from gateway.storage.wakes import Wakes
from tests.conftest import aside, empty
from tests.storage.wire import wired

ADD = insert_into(models.Lease)
FREE = Statement(
    "lease.free",
    {"name": "text"},
    "UPDATE lease SET node = '' FROM r WHERE lease.name = r.name AND lease.node <> '' RETURNING lease.name",
    key=(0,),
)


def add(name: str, *wakes: str) -> Move:
    return Move(None, [(ADD, (name, "", 0.0))], wakes=wakes)


@pytest.fixture
def woken(database) -> list[str]:
    """The topics woken in ``database``, in order."""
    heard: list[str] = []
    for topic in ("a", "b"):
        database.wakes.subscribe(topic, lambda topic=topic: heard.append(topic))
    return heard


def test_every_subscriber_of_a_topic_is_called_and_no_other():
    wakes = Wakes()
    called: list[str] = []
    for name, topic in (("one", "a"), ("two", "a"), ("three", "b")):
        wakes.subscribe(topic, partial(called.append, name))
    wakes.wake("a")
    assert called == ["one", "two"]
    wakes.wake("nobody's")
    wakes.wake_all()
    assert called == ["one", "two", "one", "two", "three"]


def test_a_subscriber_that_fails_stops_no_other(caplog):
    wakes, called = Wakes(), []

    def broken() -> None:
        raise ZeroDivisionError

    wakes.subscribe("a", broken)
    wakes.subscribe("a", lambda: called.append("two"))
    wakes.wake("a")
    assert called == ["two"]
    assert caplog.messages == ["waking a failed: ZeroDivisionError"]


async def test_a_move_wakes_once_it_is_written(database, woken):
    await database.write(add("one", "a"))
    assert woken == ["a"]


async def test_a_move_whose_guard_did_not_hold_wakes_nobody(database, woken):
    assert not await database.write(Move((FREE, ("nobody",)), wakes=("a",)))
    assert woken == []


async def test_a_batch_wakes_each_topic_once(database, woken):
    await asyncio.gather(*(database.write(add(str(number), "a", "b")) for number in range(20)))
    assert sorted(woken) in (["a", "b"], ["a", "a", "b", "b"])


async def test_what_a_work_applied_wakes_and_what_was_undone_does_not(database, woken):
    async def work(connection):
        await connection.apply(add("one", "a"))

    async def refused(connection):
        await connection.apply(add("two", "b"))
        raise ZeroDivisionError

    await database.run(work)
    with pytest.raises(ZeroDivisionError):
        await database.run(refused)
    assert woken == ["a"]


class TestOwed:
    """When the other nodes are told."""

    def test_a_topic_is_told_at_once_and_then_in_its_rhythm(self):
        owed = listener.Owed()
        assert owed.add(["a"])
        assert owed.take(100.0) == ["a"]
        assert owed.add(["a"])
        assert not owed.add(["a"])
        assert owed.due_at() == 100.0 + listener.RHYTHM
        assert owed.take(100.0 + listener.RHYTHM / 2) == []
        assert owed.take(100.0 + listener.RHYTHM) == ["a"]
        assert owed.due_at() is None

    def test_topics_do_not_wait_for_each_other(self):
        owed = listener.Owed()
        owed.add(["a"])
        owed.take(100.0)
        owed.add(["a", "b"])
        assert owed.take(100.0) == ["b"]

    def test_all_that_is_owed_can_be_told_at_the_end(self):
        owed = listener.Owed()
        owed.add(["a"])
        owed.take(100.0)
        owed.add(["a"])
        assert owed.clear() == ["a"]
        assert owed.clear() == []


@pytest.fixture
async def url(migrated_postgresql: str) -> str:
    aside(empty(migrated_postgresql))
    return migrated_postgresql


class Ear:
    """A node's subscription that a test waits for."""

    def __init__(self, database: Database, topic: str) -> None:
        self.times = 0
        self._heard = asyncio.Event()
        database.wakes.subscribe(topic, self._hear)

    def _hear(self) -> None:
        self.times += 1
        self._heard.set()

    async def hear(self) -> None:
        async with asyncio.timeout(20):
            await self._heard.wait()
        self._heard.clear()


@pytest.fixture
async def nodes(url):
    async with Database(PostgresqlEngine(url)) as one, Database(PostgresqlEngine(url)) as two:
        yield one, two


async def test_another_node_is_woken_and_the_own_once(nodes):
    one, two = nodes
    here, there, back = Ear(one, "a"), Ear(two, "a"), Ear(one, "b")
    await one.write(add("x", "a"))
    await there.hear()
    # What the other tells after it arrives after it: by then an echo would have arrived as well.
    await two.write(add("y", "b"))
    await back.hear()
    assert here.times == 1


async def test_of_many_wakes_another_node_hears_the_last_as_well(nodes):
    one, two = nodes
    there = Ear(two, "a")
    for number in range(30):
        await one.write(add(str(number), "a"))
    await there.hear()
    [record] = await two.fetch("SELECT count(*) AS rows FROM lease")
    while record["rows"] < 30:
        await there.hear()
        [record] = await two.fetch("SELECT count(*) AS rows FROM lease")
    assert there.times < 30


async def test_a_node_that_leaves_tells_what_it_still_owes(url):
    async with Database(PostgresqlEngine(url)) as stays:
        there = Ear(stays, "a")
        async with Database(PostgresqlEngine(url)) as leaves:
            await leaves.write(add("one", "a"))
            await there.hear()
            await leaves.write(add("two", "a"))
        await there.hear()
        assert there.times == 2


async def test_a_listener_whose_connection_ends_makes_another_and_wakes_all(url):
    async with Database(PostgresqlEngine(url)) as database:
        ear = Ear(database, "a")
        other = await asyncpg.connect(url)
        await other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND pid <> pg_backend_pid()"
        )
        await ear.hear()
        await other.execute("SELECT pg_notify($1, 'a')", listener.CHANNEL)
        await ear.hear()
        await other.close()


async def test_a_silent_server_is_found_out_by_a_heartbeat(url, monkeypatch):
    monkeypatch.setattr(listener, "HEARTBEAT", 0.3)
    wakes, heard = Wakes(), asyncio.Event()
    wakes.subscribe("a", heard.set)
    async with wired(url) as wire:
        listening = listener.Listener(connecting.Connector(wire.url).connect, wakes, heartbeat=0.01)
        await listening.open()
        running = asyncio.create_task(listening.run())
        wire.cut()
        async with asyncio.timeout(20):
            await heard.wait()
        assert wire.accepted >= 2
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_node_that_leaves_a_silent_server_leaves(url, monkeypatch, caplog):
    monkeypatch.setattr(listener, "FAREWELL", 0.1)
    async with wired(url) as wire:
        listening = listener.Listener(connecting.Connector(wire.url).connect, Wakes())
        await listening.open()
        running = asyncio.create_task(listening.run())
        # It rests now, with nothing to tell.
        await asyncio.sleep(0)
        wire.cut()
        listening.tell(["a"])
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert caplog.messages == ["left without telling the other nodes (TimeoutError); they look by themselves"]


@pytest.mark.parametrize("away", [False, True], ids=["reachable", "away"])
async def test_a_listener_that_stays_deaf_is_told_once_unless_the_server_is_away(monkeypatch, caplog, away):
    monkeypatch.setattr(listener, "BACKOFF", (0.001, 0.002))
    absence = Absence("PostgreSQL", "", lambda: 0.0)
    if away:
        with pytest.raises(StorageUnavailableError):
            await absence.watched("read", refused())
    caplog.clear()
    tries = []

    async def connect():
        tries.append(len(caplog.messages))
        if len(tries) == 5:
            raise asyncio.CancelledError
        raise ConnectionRefusedError

    with pytest.raises(asyncio.CancelledError):
        await listener.Listener(connect, Wakes(), absence=absence).run()
    # A connection that was merely ended is made anew by the second try, and nobody need know.
    assert tries == ([0, 0, 0, 0, 0] if away else [0, 0, 1, 1, 1])
    assert set(caplog.messages) <= {"not told of other nodes' work for now (ConnectionRefusedError)"}


async def refused() -> None:
    raise StorageUnavailableError("PostgreSQL: ConnectionRefusedError")


async def test_what_could_not_be_told_is_told_on_the_next_connection(url):
    wakes = Wakes()
    failing = True

    async def connect():
        if failing:
            raise ConnectionRefusedError
        return await connecting.Connector(url).connect()

    listening = listener.Listener(connect, wakes)
    other = await asyncpg.connect(url)
    heard = asyncio.Event()
    await other.add_listener(listener.CHANNEL, lambda *_: heard.set())
    running = asyncio.create_task(listening.run())
    listening.tell(["a"])
    await asyncio.sleep(0)
    failing = False
    async with asyncio.timeout(20):
        await heard.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await other.close()


async def test_to_reconnect_without_a_connection_changes_nothing(url):
    listening = listener.Listener(connecting.Connector(url).connect, Wakes())
    listening.reconnect()
    listening.tell(["a"])
    assert listening._connection is None
