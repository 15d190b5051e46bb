"""SQLite as this project sets it: durable, one writer at a time, nothing left of what was wiped."""

from __future__ import annotations

import asyncio
import resource
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from gateway.storage import models
from gateway.storage.database import Database
from gateway.storage.sqlite import SqliteEngine, connect
from gateway.storage.sqlite_checkpoints import Checkpoints
from gateway.storage.sqlite_quick import ENOUGH, Quick
from gateway.storage.statement import insert_into
from gateway.storage.unit import Move, StorageDamagedError, StorageError, StorageUnavailableError

ADD = insert_into(models.Lease)


def add(name: str) -> Move:
    return Move(None, [(ADD, (name, "", 0.0))])


@pytest.fixture
def path(migrated_sqlite, tmp_path) -> Path:
    return Path(shutil.copy(migrated_sqlite, tmp_path / "gateway.db"))


@pytest.mark.parametrize(("pragma", "value"), [("journal_mode", "wal"), ("synchronous", 2), ("secure_delete", 1)])
def test_a_connection_is_durable_and_wipes(path, pragma, value):
    connection = connect(path)
    assert connection.execute(f"PRAGMA {pragma}").fetchone()[0] == value
    connection.close()


async def test_a_writer_waits_for_another_process_and_then_gives_up(path):
    other = sqlite3.connect(path, isolation_level=None)
    async with Database(SqliteEngine(path, busy_timeout=0.05)) as database:
        await database.write(add("before"))
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageUnavailableError, match="locked"):
            await database.write(add("meanwhile"))
        other.execute("COMMIT")
        assert await database.write(add("after"))
        assert [record["name"] for record in await database.fetch("SELECT name FROM lease")] == ["after", "before"]
    other.close()


async def test_what_waits_for_a_lock_gives_up_together(path):
    """Tried one by one, the last of 40 would wait 40 times as long."""
    other = sqlite3.connect(path, isolation_level=None)
    async with Database(SqliteEngine(path, busy_timeout=0.05)) as database:
        other.execute("BEGIN IMMEDIATE")
        async with asyncio.timeout(1.0):
            outcomes = await asyncio.gather(*(database.write(add(str(n))) for n in range(40)), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {StorageUnavailableError}
        other.execute("COMMIT")
    other.close()


async def test_readers_see_what_is_committed_while_another_writes(path):
    other = sqlite3.connect(path, isolation_level=None)
    async with Database(SqliteEngine(path, busy_timeout=0.05)) as database:
        await database.write(add("a"))
        other.execute("BEGIN IMMEDIATE")
        assert len(await database.fetch("SELECT name FROM lease")) == 1
        other.execute("COMMIT")
    other.close()


@pytest.mark.parametrize("answer", [sqlite3.SQLITE_OK, sqlite3.SQLITE_DENY])
async def test_what_is_looked_up_at_once_is_what_is_committed_and_what_cannot_be_is_read_in_a_thread(path, answer):
    async with Database(engine := SqliteEngine(path)) as database:
        await database.write(add("a"))
        for _ in range(2):
            looks = (database.look("SELECT name FROM lease WHERE name = :name", name="a") for _ in range(2))
            assert [[row["name"] for row in found] for found in await asyncio.gather(*looks)] == [["a"], ["a"]]
            if engine._looker is not None:
                engine._looker.set_authorizer(lambda *_: answer)
        with pytest.raises(StorageError):
            await database.look("SELECT nothing FROM lease")


async def test_a_reader_cannot_write(path):
    async with Database(SqliteEngine(path)) as database:
        with pytest.raises(StorageUnavailableError, match="readonly"):
            await database.fetch("INSERT INTO lease VALUES ('a', '', 0)")


async def test_engines_opened_at_once_share_a_fresh_file(path):
    databases = [Database(SqliteEngine(path)) for _ in range(4)]
    await asyncio.gather(*(database.__aenter__() for database in databases))
    assert await asyncio.gather(*(database.write(add(str(n))) for n, database in enumerate(databases))) == [True] * 4
    for database in databases:
        await database.__aexit__()


async def test_a_full_disk_is_an_outage_and_ends_with_it(path):
    async with Database(SqliteEngine(path)) as database:

        async def fill(connection):
            # SQLite's own limit on the file's pages fails as a full disk does.
            await connection.fetch("PRAGMA max_page_count = 1")
            await connection.fetch("CREATE TABLE filling AS SELECT hex(randomblob(100000)) AS x")

        with pytest.raises(StorageUnavailableError, match="full"):
            await database.run(fill)

        async def make_room(connection):
            await connection.fetch("PRAGMA max_page_count = 1000000")

        await database.run(make_room)
        assert await database.write(add("after"))


@contextmanager
def limited(what: int, value: int) -> Iterator[None]:
    """Have the system refuse this process more than so much of something."""
    before, most = resource.getrlimit(what)
    resource.setrlimit(what, (value, most))
    try:
        yield
    finally:
        resource.setrlimit(what, (before, most))


async def quick_before(database: Database, engine: SqliteEngine, times: int = ENOUGH) -> None:
    """Have the engine believe in a disk that takes no time, from so many commits on it."""
    engine._quick = Quick(lambda: 0.0)
    for _ in range(times):
        await database.run(lambda connection: connection.fetch("SELECT 1"))


@contextmanager
def committing_threads(engine: SqliteEngine) -> Iterator[list[str]]:
    """Note which thread makes each commit."""
    threads: list[str] = []

    def note(statement: str) -> None:
        if statement == "COMMIT":
            threads.append(threading.current_thread().name.partition("_")[0])

    assert engine._writer is not None
    engine._writer.set_trace_callback(note)
    yield threads
    engine._writer.set_trace_callback(None)


async def test_a_lone_unit_is_committed_on_the_loop_once_the_disk_was_quick_and_others_in_the_thread(path):
    async with Database(engine := SqliteEngine(path)) as database:
        await quick_before(database, engine, ENOUGH - 1)
        with committing_threads(engine) as threads:
            await database.write(add("not yet"))
            await database.write(add("alone"))
            await asyncio.gather(*(database.write(add(str(n))) for n in range(2)))
    assert threads == ["sqlite-writer", "MainThread", "sqlite-writer"]


async def test_every_thread_is_there_before_memory_can_run_out(path, monkeypatch):
    """Out of memory CPython may wait for ever for a thread that is started then: the loop, or whoever writes."""
    async with Database(SqliteEngine(path)) as database:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", pytest.fail)
            await database.write(add("one"))
            found = await asyncio.gather(*(database.fetch("SELECT name FROM lease") for _ in range(20)))
    assert {len(records) for records in found} == {1}


async def test_while_the_log_is_copied_or_is_to_be_commits_are_made_in_the_thread(path):
    async with Database(engine := SqliteEngine(path)) as database:
        await quick_before(database, engine)
        engine._checkpoints = Checkpoints(partial(connect, path), pages=20)
        with committing_threads(engine) as threads:
            for name in ("one", "two, and the copy is due", "two, and it is under way"):
                await database.write(add(name))
    assert threads == ["MainThread", "sqlite-writer", "sqlite-writer"]


@pytest.mark.parametrize("quick", [False, True])
async def test_a_commit_that_the_disk_refuses_is_an_outage_and_leaves_nothing(path, quick):
    """A file that may not grow fails its write with an I/O error, and in the commit: nothing was written before."""
    log = path.with_name("gateway.db-wal")
    async with Database(engine := SqliteEngine(path)) as database:
        await database.write(add("before"))
        if quick:
            await quick_before(database, engine)
        with limited(resource.RLIMIT_FSIZE, log.stat().st_size):
            for name in ("lost", "lost as well"):
                with pytest.raises(StorageUnavailableError, match="disk I/O error"):
                    await database.write(add(name))
            # Nobody has read yet: a new connection finds what it needs in place.
            assert [record["name"] for record in await database.fetch("SELECT name FROM lease")] == ["before"]
        assert await database.write(add("after"))
    assert integrity(path) == ("ok", ["after", "before"])


def integrity(path: Path) -> tuple[str, list[str]]:
    connection = sqlite3.connect(path)
    try:
        [checked] = connection.execute("PRAGMA integrity_check").fetchone()
        return checked, [name for (name,) in connection.execute("SELECT name FROM lease ORDER BY name")]
    finally:
        connection.close()


async def test_a_file_that_was_read_only_for_a_while_is_written_again(path):
    async with Database(SqliteEngine(path)) as database:
        await database.run(lambda connection: connection.fetch("PRAGMA query_only = ON"))
        with pytest.raises(StorageUnavailableError, match="readonly"):
            await database.write(add("meanwhile"))
        assert await database.write(add("after"))


async def test_a_work_that_ends_the_transaction_fails_and_the_next_is_well(path):
    async with Database(SqliteEngine(path)) as database:
        for statement in ("COMMIT", "ROLLBACK"):

            async def meddling(connection, statement=statement):
                await connection.fetch(statement)

            with pytest.raises(StorageError, match="no such savepoint"):
                await database.run(meddling)
        assert await database.write(add("after"))


async def test_without_a_free_descriptor_reading_is_an_outage_and_ends_with_it(path):
    async with Database(SqliteEngine(path)) as database:
        with limited(resource.RLIMIT_NOFILE, 3), pytest.raises(StorageUnavailableError, match="unable to open"):
            await database.fetch("SELECT name FROM lease")
        assert await database.fetch("SELECT name FROM lease") == []


async def test_a_writer_that_cannot_be_opened_anew_is_kept_until_it_can(path):
    async with Database(SqliteEngine(path)) as database:
        with limited(resource.RLIMIT_NOFILE, 3):
            await database.run(lambda connection: connection.fetch("PRAGMA query_only = ON"))
            for _ in range(2):
                with pytest.raises(StorageUnavailableError, match="readonly"):
                    await database.write(add("meanwhile"))
        with pytest.raises(StorageUnavailableError, match="readonly"):
            await database.write(add("meanwhile"))
        assert await database.write(add("after"))


async def test_a_stuck_writer_is_opened_anew_once_that_can_be_done(path):
    engine = SqliteEngine(path)
    async with Database(engine) as database:
        assert engine._writer is not None
        engine._writer.close()
        with limited(resource.RLIMIT_NOFILE, 3):
            with pytest.raises(StorageError, match="closed"):
                await database.write(add("meanwhile"))
            with pytest.raises(StorageUnavailableError, match="unable to open"):
                await database.write(add("meanwhile"))
        assert await database.write(add("after"))


async def test_a_file_damaged_while_it_is_open_is_told_and_answered_like_an_outage(path):
    async with Database(SqliteEngine(path)) as database:
        await database.write(add("before"))
        checkpointing = connect(path)
        checkpointing.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        checkpointing.close()
        with path.open("r+b") as opened:
            opened.seek(100)
            opened.write(b"\xff" * (path.stat().st_size - 100))
        with pytest.raises(StorageDamagedError, match=r"malformed; stop the gateway, .* restore a backup"):
            await database.fetch("SELECT name FROM lease")


async def test_a_value_sqlite_cannot_take_fails_alone(path):
    async with Database(SqliteEngine(path)) as database:
        outcomes = await asyncio.gather(
            database.write(add("a")),
            database.write(Move(None, [(ADD, ("b", "", object()))])),
            database.write(Move(None, [(ADD, ("c", "", 2**70))])),
            database.write(add("d")),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in outcomes] == [bool, StorageError, StorageError, bool]


async def test_a_statement_that_is_wrong_is_a_fault_of_ours(path):
    async with Database(SqliteEngine(path)) as database:
        with pytest.raises(StorageError, match="no such table") as caught:
            await database.fetch("SELECT * FROM nowhere")
    assert not isinstance(caught.value, StorageUnavailableError)


async def test_wiped_bytes_are_nowhere_in_the_file_or_its_log(path):
    canary = b"canary-of-a-sealed-code-492039"
    async with Database(SqliteEngine(path)) as database:
        insert = insert_into(models.Secret)
        await asyncio.gather(
            *(database.write(Move(None, [(insert, (f"s{n}", canary, 0.0))])) for n in range(50)),
        )
        assert canary in path.with_name("gateway.db-wal").read_bytes()
        await database.run(lambda connection: connection.fetch("UPDATE secret SET sealed = x'' RETURNING name"))
    # The last connection closes with a checkpoint and takes the log away.
    assert not path.with_name("gateway.db-wal").exists()
    assert canary not in path.read_bytes()


async def test_a_work_may_await_nothing_but_its_connection(path):
    async with Database(SqliteEngine(path)) as database:

        async def dawdling(_):
            await asyncio.sleep(0)

        with pytest.raises(StorageError, match="awaited something"):
            await database.run(dawdling)
        assert await database.write(add("after"))
