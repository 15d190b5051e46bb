"""A SQLite file is looked over before it is trusted, and what is wrong with it is told with what to do."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import threading
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.storage import sqlite_file
from gateway.storage.database import Database
from gateway.storage.sqlite import SqliteEngine
from gateway.storage.sqlite_file import breaks, check, check_log, connect, translated
from gateway.storage.unit import StorageDamagedError, StorageError, StorageUnavailableError


@pytest.fixture
def path(migrated_sqlite, tmp_path) -> Path:
    return Path(shutil.copy(migrated_sqlite, tmp_path / "gateway.db"))


@pytest.fixture(scope="session")
def log(migrated_sqlite, tmp_path_factory) -> bytes:
    """A log that holds what is in no other place yet."""
    folder = tmp_path_factory.mktemp("log")
    path = Path(shutil.copy(migrated_sqlite, folder / "gateway.db"))
    connection = connect(path)
    connection.execute("INSERT INTO lease VALUES ('acknowledged', '', 0)")
    found = path.with_name("gateway.db-wal").read_bytes()
    connection.close()
    return found


def with_log(path: Path, content: bytes) -> Path:
    path.with_name(f"{path.name}-wal").write_bytes(content)
    return path


def fill(path: Path, rows: int) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            "INSERT INTO lease SELECT 'a lease of some length ' || i, '', 0 FROM n",
            (rows,),
        )
    connection.close()


def test_a_sound_file_passes(path, log):
    check(path)
    check(with_log(path, log))


async def test_a_truncated_file_is_refused_with_what_to_do(path):
    fill(path, 1000)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(StorageDamagedError, match="restore a backup"):
        async with Database(SqliteEngine(path)):
            pass


@pytest.mark.parametrize("place", [0, 16, 100])
def test_a_damaged_header_is_refused(path, place):
    content = bytearray(path.read_bytes())
    content[place : place + 60] = b"\x01" * 60
    path.write_bytes(content)
    with pytest.raises(StorageDamagedError, match="restore a backup"):
        check(path)


def test_a_page_that_is_damaged_is_found_before_it_is_used(path):
    fill(path, 1000)
    content = bytearray(path.read_bytes())
    # Within a page in the midst of the file, which opening does not read.
    place = len(content) // 4096 // 2 * 4096
    content[place : place + 4096] = b"\x0d" + b"\xff" * 4095
    path.write_bytes(content)
    with pytest.raises(StorageDamagedError, match="the database file is damaged"):
        check(path)


def test_a_large_file_is_looked_over_for_a_while_only(path, monkeypatch):
    fill(path, 5000)
    monkeypatch.setattr(sqlite_file, "_CHECK_STEPS", 100)
    monkeypatch.setattr(sqlite_file, "_SMALL", 0)
    check(path, seconds=0.0)


@pytest.mark.parametrize("interrupted", [True, False], ids=["interrupted", "looked through"])
def test_only_what_is_found_in_that_time_is_damage(path, monkeypatch, interrupted):
    """SQLite says of pages it was kept from looking at that they are damaged."""

    class Slow(sqlite3.Connection):
        stopped = threading.Event()

        def interrupt(self):
            self.stopped.set()

        def execute(self, sql, *values):
            if "quick_check" not in sql:
                return super().execute(sql, *values)
            if interrupted:
                self.stopped.wait(20)
            return super().execute("SELECT 'Page 7 is never used'")

    monkeypatch.setattr(sqlite_file, "_SMALL", 0 if interrupted else 1 << 30)
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Slow))
    with contextlib.nullcontext() if interrupted else pytest.raises(StorageDamagedError, match="is damaged"):
        check(path, seconds=0.0)


def test_a_folder_that_is_not_there_is_an_outage(tmp_path):
    with pytest.raises(StorageUnavailableError, match="unable to open"):
        check(tmp_path / "nowhere" / "gateway.db")


def test_where_no_log_can_be_the_file_is_refused():
    with pytest.raises(StorageError, match="move it to a disk of this machine"):
        connect(Path(":memory:"))


def test_a_log_that_was_just_begun_passes(path):
    for content in (b"", b"\x37\x7f", bytes(4096)):
        check_log(with_log(path, content))


def test_a_file_without_a_log_passes(path):
    check_log(path)


@given(st.integers(0, 31), st.integers(1, 255))
def test_a_damaged_header_of_a_log_is_never_taken_for_one(tmp_path_factory, log, place, change):
    """SQLite itself would pass over it, and over what was acknowledged."""
    damaged = bytearray(log)
    damaged[place] ^= change
    path = with_log(tmp_path_factory.getbasetemp() / "gateway.db", bytes(damaged))
    with pytest.raises(StorageDamagedError, match=r"gateway\.db-wal is damaged, .* move the log away"):
        check_log(path)


def error(kind: type[sqlite3.Error], code: int) -> sqlite3.Error:
    made = kind("as SQLite says it")
    made.sqlite_errorcode = code
    return made


@pytest.mark.parametrize(
    ("raised", "kind", "anew"),
    [
        (error(sqlite3.OperationalError, sqlite3.SQLITE_BUSY), StorageUnavailableError, False),
        (error(sqlite3.OperationalError, sqlite3.SQLITE_FULL), StorageUnavailableError, False),
        (error(sqlite3.OperationalError, sqlite3.SQLITE_IOERR_FSYNC), StorageUnavailableError, True),
        (error(sqlite3.OperationalError, sqlite3.SQLITE_READONLY_DBMOVED), StorageUnavailableError, True),
        (error(sqlite3.OperationalError, sqlite3.SQLITE_CANTOPEN), StorageUnavailableError, True),
        (error(sqlite3.OperationalError, sqlite3.SQLITE_ERROR), StorageError, False),
        (error(sqlite3.IntegrityError, sqlite3.SQLITE_CONSTRAINT_UNIQUE), StorageError, False),
        (error(sqlite3.DatabaseError, sqlite3.SQLITE_CORRUPT), StorageDamagedError, True),
        (error(sqlite3.DatabaseError, sqlite3.SQLITE_NOTADB), StorageDamagedError, True),
        (sqlite3.ProgrammingError("a wrong number of values"), StorageError, False),
        (MemoryError(), StorageUnavailableError, True),
        (OSError("no"), StorageUnavailableError, True),
    ],
)
def test_an_error_is_told_for_what_it_is(raised, kind, anew):
    assert type(translated(raised)) is kind
    assert breaks(raised) is anew
    assert not breaks(ValueError("a work's own"))
