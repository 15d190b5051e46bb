"""SQLite's log is emptied into the file, so that what was wiped is in neither."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.housekeeping import Checkpoint
from gateway.housekeeping import checkpoint as module
from gateway.storage import models
from gateway.storage.database import Database
from gateway.storage.sqlite import SqliteEngine, connect
from gateway.storage.unit import StorageError
from tests.rows import put, row

SEALED = b"\xc3sealed-code-of-a-verification\xc3"


@pytest.fixture
def path(tmp_path, migrated_sqlite) -> Path:
    copied: Path = tmp_path / "gateway.db"
    shutil.copy(migrated_sqlite, copied)
    return copied


@pytest.fixture
async def database(path):
    async with Database(SqliteEngine(path)) as opened:
        yield opened


def log_of(path: Path) -> Path:
    return path.with_name("gateway.db-wal")


async def wiped(database: Database) -> None:
    """Write a sealed code and wipe it."""
    await put(database, models.Verification, row(models.Verification, id="ver_1", code_sealed=SEALED))
    await database.run(lambda connection: connection.fetch("UPDATE verification SET code_sealed = NULL RETURNING id"))


async def test_a_wiped_code_is_in_neither_file_afterwards(database, path):
    await wiped(database)
    assert SEALED in log_of(path).read_bytes()
    assert await Checkpoint(path).empty() == 0
    assert log_of(path).stat().st_size == 0
    assert SEALED not in path.read_bytes()


async def test_writing_goes_on_afterwards(database, path):
    await wiped(database)
    await Checkpoint(path).empty()
    await put(database, models.Verification, row(models.Verification, id="ver_2"))
    assert [record["id"] for record in await database.fetch("SELECT id FROM verification ORDER BY id")] == [
        *("ver_1", "ver_2")
    ]


async def test_a_reader_at_an_old_state_is_waited_for_the_next_time(database, path):
    with closing(connect(path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM verification").fetchall()
        await wiped(database)
        await Checkpoint(path).empty()
        assert log_of(path).stat().st_size > 0
        reader.execute("COMMIT")
    await Checkpoint(path).empty()
    assert log_of(path).stat().st_size == 0


async def test_where_nothing_was_written_nothing_is_opened(tmp_path):
    assert await Checkpoint(tmp_path / "absent.db").empty() == 0
    assert list(tmp_path.iterdir()) == []


async def test_a_log_that_stays_large_is_told_of(database, path, monkeypatch, caplog):
    monkeypatch.setattr(module, "LARGE", 0)
    with closing(connect(path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM verification").fetchall()
        await wiped(database)
        await Checkpoint(path).empty()
    assert [record.getMessage() for record in caplog.records] == [
        "SQLite's log has 0 MiB: something has been reading for long"
    ]


async def test_a_file_that_is_no_database_is_a_storage_error(tmp_path):
    broken = tmp_path / "gateway.db"
    broken.write_bytes(b"no database " * 1000)
    log_of(broken).write_bytes(b"no log")
    with pytest.raises(StorageError, match="SQLite: ") as caught:
        await Checkpoint(broken).empty()
    assert not caught.value.told


async def test_while_the_database_is_away_a_failure_has_its_cause_in_the_log_already(tmp_path):
    broken = tmp_path / "gateway.db"
    broken.write_bytes(b"no database " * 1000)
    log_of(broken).write_bytes(b"no log")
    with pytest.raises(StorageError) as caught:
        await Checkpoint(broken, away=lambda: True).empty()
    assert caught.value.told


async def test_it_waits_for_another_writer_no_longer_than_it_may(database, path):
    await wiped(database)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await Checkpoint(path).empty()
        assert log_of(path).stat().st_size > 0
        other.execute("ROLLBACK")


async def test_whoever_waits_for_it_is_told_once_the_log_is_empty(database, path):
    await wiped(database)
    assert await Checkpoint(path).clear()
    assert SEALED not in path.read_bytes() + log_of(path).read_bytes()
    # There is nothing to empty.
    assert await Checkpoint(path).clear()


async def test_a_reader_is_waited_for_and_at_last_told_of(database, path):
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    with closing(connect(path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM verification").fetchall()
        await wiped(database)
        assert not await Checkpoint(path).clear(tries=3, sleep=sleep)
        reader.execute("COMMIT")
    assert slept == [module.PAUSE] * 2
    assert await Checkpoint(path).clear(sleep=sleep)


def test_its_duty_is_done_again_and_again(path):
    duty = Checkpoint(path).duty()
    assert (duty.name, duty.every, duty.urgent) == ("checkpoint", module.EVERY, False)
