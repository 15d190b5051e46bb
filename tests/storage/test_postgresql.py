"""PostgreSQL by asyncpg: connections that break are made anew, errors name no value, nodes do not hang each other."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from urllib.parse import urlsplit

import asyncpg
import pytest

from gateway.storage import models
from gateway.storage.database import Database
from gateway.storage.postgresql import BRIEF_TRIES, PostgresqlEngine
from gateway.storage.statement import Statement, insert_into
from gateway.storage.unit import Move, StorageError, StorageUnavailableError
from tests.conftest import aside, empty

ADD = insert_into(models.Lease)
TOUCH = Statement(
    "lease.touch",
    {"name": "text", "node": "text"},
    "UPDATE lease SET node = r.node FROM r WHERE lease.name = r.name RETURNING lease.name",
    key=(0,),
)


def add(name: str) -> Move:
    return Move(None, [(ADD, (name, "", 0.0))])


@pytest.fixture
async def url(migrated_postgresql: str) -> str:
    aside(empty(migrated_postgresql))
    return migrated_postgresql


async def test_after_a_broken_connection_the_next_write_works(url):
    async with Database(PostgresqlEngine(url)) as database:
        await database.write(add("before"))
        admin = await asyncpg.connect(url)
        await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        await admin.close()
        with contextlib.suppress(StorageUnavailableError):
            await database.write(add("meanwhile"))
        assert await database.write(add("after"))
        names = {record["name"] for record in await database.fetch("SELECT name FROM lease")}
    assert {"before", "after"} <= names


async def test_a_unit_cut_off_in_the_middle_is_an_outage_and_leaves_nothing(url):
    async with Database(PostgresqlEngine(url)) as database:

        async def cut_off(connection):
            await connection.apply(add("lost"))
            await connection.fetch("SELECT pg_terminate_backend(pg_backend_pid())")

        with pytest.raises(StorageUnavailableError):
            await database.run(cut_off)
        assert await database.write(add("after"))
        assert [record["name"] for record in await database.fetch("SELECT name FROM lease")] == ["after"]


async def test_an_error_holds_no_value_and_no_cause(url):
    async with Database(PostgresqlEngine(url)) as database:
        move = add("secret-name")
        await database.write(move)
        with pytest.raises(StorageError, match="UniqueViolationError 23505") as caught:
            await database.write(move)
    assert "secret-name" not in "".join(traceback.format_exception(caught.value))


async def test_a_read_that_fails_holds_no_value(url):
    async with Database(PostgresqlEngine(url)) as database:
        with pytest.raises(StorageError, match="InvalidTextRepresentationError") as caught:
            await database.fetch("SELECT CAST(CAST(:value AS text) AS integer)", value="secret-name")
    assert "secret-name" not in str(caught.value)


async def test_an_unreachable_server_is_an_outage():
    with pytest.raises(StorageUnavailableError, match="PostgreSQL"):
        async with Database(PostgresqlEngine("postgresql://user@127.0.0.1:1/gateway")):
            pass


async def test_a_database_that_is_not_there_is_an_outage(url):
    with pytest.raises(StorageUnavailableError, match="3D000"):
        async with Database(PostgresqlEngine(urlsplit(url)._replace(path="/nothing").geturl())):
            pass


async def test_nodes_that_wait_for_each_other_crosswise_both_finish(url):
    first_again, later = PostgresqlEngine(url, jitter=lambda: 0.0), PostgresqlEngine(url, jitter=lambda: 1.0)
    async with Database(first_again) as one, Database(later) as two:
        await one.write(add("a"))
        await one.write(add("b"))
        met = asyncio.Barrier(2)
        tries = []

        def both(first, second, node):
            async def work(connection):
                tries.append(node)
                await connection.apply(Move((TOUCH, (first, node))))
                if len(tries) == 2 or node not in tries[:-1]:
                    await met.wait()
                await connection.apply(Move((TOUCH, (second, node))))

            return work

        async with asyncio.timeout(8):
            await asyncio.gather(one.run(both("a", "b", "one")), two.run(both("b", "a", "two")))
        nodes = {record["node"] for record in await one.fetch("SELECT node FROM lease")}
    assert len(nodes) == 1
    # One gives way, or both do, perhaps more than once; none more often than it may.
    assert len(tries) > 2
    assert max(map(tries.count, ("one", "two"))) <= BRIEF_TRIES + 1


async def test_a_unit_in_anothers_way_fails_alone(url):
    """A lock held by a stranger is no outage: the others of the batch are written."""
    stranger = await asyncpg.connect(url)
    async with Database(PostgresqlEngine(url)) as database:
        await database.write(add("held"))
        await database.run(lambda connection: connection.fetch("SET lock_timeout = '50ms'"))
        async with stranger.transaction():
            await stranger.execute("UPDATE lease SET node = 'stranger' WHERE name = 'held'")
            outcomes = await asyncio.gather(
                database.write(add("b")),
                database.write(Move((TOUCH, ("held", "me")))),
                database.write(add("c")),
                return_exceptions=True,
            )
        assert [type(outcome).__name__ for outcome in outcomes] == ["bool", "StorageContendedError", "bool"]
        assert await database.write(Move((TOUCH, ("held", "me"))))
    await stranger.close()
