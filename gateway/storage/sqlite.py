"""SQLite: one file, one writing connection, a few reading threads.

A batch's statements run on the event loop, at some 5 µs a row; what waits for the disk, its commit, runs in a thread.
In a thread each statement would have to win the interpreter's lock back from a busy loop: 32 callers then waited 20 ms
for their batch, most of it for the lock.

``synchronous=FULL`` in WAL mode, because with NORMAL a power cut may lose the last commits (sqlite.org/wal.html);
``BEGIN IMMEDIATE``, because a read that turns into a write fails at once when another process wrote in between;
``secure_delete``, because wiped codes would otherwise stay readable in free pages.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar, cast

from gateway.storage.database import Done
from gateway.storage.statement import Row, Statement
from gateway.storage.unit import Connection, Move, Record, StorageError, StorageUnavailableError, Unit

T = TypeVar("T")

#: Seconds a writer waits for another process's write lock before it gives up with "locked".
BUSY_TIMEOUT = 5.0
_BEGIN = "BEGIN IMMEDIATE"
#: KiB of pages a connection keeps: with SQLite's 2 MiB the ends of the indexes were read again and again.
CACHE = 16 * 1024
#: Reading threads: enough that a long list never holds up a look-up.
READERS = 4


def connect(path: Path, busy_timeout: float = BUSY_TIMEOUT) -> sqlite3.Connection:
    """Open the file with this project's settings. Raises ``sqlite3.Error``."""
    connection = sqlite3.connect(
        path, timeout=busy_timeout, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    connection.row_factory = sqlite3.Row
    _turn_to_wal(connection, busy_timeout)
    for pragma in ("synchronous=FULL", "secure_delete=ON", "temp_store=MEMORY", f"cache_size={-CACHE}"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _turn_to_wal(connection: sqlite3.Connection, busy_timeout: float) -> None:
    # While another process turns the same new file, SQLite says "locked" at once, whatever its timeout.
    given_up = time.monotonic() + busy_timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() >= given_up:
                connection.close()
                raise
            time.sleep(0.01)
        else:
            return


class SqliteEngine:
    """The engine for one machine. ``busy_timeout`` is in seconds."""

    def __init__(self, path: Path, *, busy_timeout: float = BUSY_TIMEOUT) -> None:
        self._path = path
        self._busy_timeout = busy_timeout
        self._writer_thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-writer")
        self._reader_threads = ThreadPoolExecutor(READERS, thread_name_prefix="sqlite-reader")
        self._reader = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._writer: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Connect. Raises ``StorageUnavailableError``."""
        self._writer = await self._in(self._writer_thread, self._connect)
        # On the loop it is tried and not waited for.
        self._writer.execute("PRAGMA busy_timeout=0")

    async def close(self) -> None:
        """Disconnect, once everything under way has ended."""
        for pool in (self._reader_threads, self._writer_thread):
            await asyncio.to_thread(pool.shutdown, wait=True)
        for connection in self._opened:
            connection.close()

    async def commit(self, units: Sequence[Unit]) -> list[Done]:
        """Write all units in one transaction."""
        writer = self._writer
        assert writer is not None, "the engine is not open"
        await self._begin(writer)
        try:
            outcomes = _translated(lambda: _write_all(writer, units))
            await self._in(self._writer_thread, lambda: writer.execute("COMMIT"))
        except BaseException:
            # After a full disk or an I/O error SQLite may have rolled back by itself.
            if writer.in_transaction:
                writer.execute("ROLLBACK")
            raise
        return outcomes

    async def fetch(self, sql: str, values: dict[str, Any]) -> list[Record]:
        """Read committed rows."""
        return await self._in(self._reader_threads, lambda: self._read(sql, values))

    async def _in(self, pool: ThreadPoolExecutor, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, lambda: _translated(call))

    def _connect(self) -> sqlite3.Connection:
        connection = connect(self._path, self._busy_timeout)
        self._opened.append(connection)
        return connection

    def _read(self, sql: str, values: dict[str, Any]) -> list[Record]:
        connection = getattr(self._reader, "connection", None)
        if connection is None:
            connection = self._reader.connection = self._connect()
            connection.execute("PRAGMA query_only=ON")
        return cast("list[Record]", connection.execute(sql, values).fetchall())

    async def _begin(self, writer: sqlite3.Connection) -> None:
        try:
            writer.execute(_BEGIN)
        except sqlite3.OperationalError:
            # Another process writes: wait for it, off the loop.
            await self._in(self._writer_thread, lambda: self._begin_patiently(writer))

    def _begin_patiently(self, writer: sqlite3.Connection) -> None:
        writer.execute(f"PRAGMA busy_timeout={int(self._busy_timeout * 1000)}")
        try:
            writer.execute(_BEGIN)
        finally:
            writer.execute("PRAGMA busy_timeout=0")


def _write_all(writer: sqlite3.Connection, units: Sequence[Unit]) -> list[Done]:
    outcomes: list[Done] = [Done()] * len(units)
    follow: dict[Statement, list[Row]] = {}
    for place, unit in enumerate(units):
        if isinstance(unit, Move):
            outcomes[place] = _write_move(writer, unit, follow)
    for statement, rows in follow.items():
        writer.executemany(statement.sqlite, rows)
    for place, unit in enumerate(units):
        if not isinstance(unit, Move):
            outcomes[place] = _run_work(writer, unit)
    return outcomes


def _write_move(writer: sqlite3.Connection, move: Move, follow: dict[Statement, list[Row]]) -> Done:
    if move.guard is not None and not writer.execute(move.guard[0].sqlite, move.guard[1]).fetchall():
        return Done(value=False)
    for statement, row in move.then:
        follow.setdefault(statement, []).append(row)
    return Done(value=True, notes=move.notes)


def _run_work(writer: sqlite3.Connection, work: Callable[[Connection], Awaitable[Any]]) -> Done:
    connection = _SqliteConnection(writer)
    writer.execute("SAVEPOINT work")
    try:
        value = _drive(work(connection))
    except sqlite3.Error:
        raise
    except Exception as error:  # noqa: BLE001 - it is handed to whoever asked for the work
        # The work itself said no: it is undone, and the others of the batch are not.
        writer.execute("ROLLBACK TO work")
        writer.execute("RELEASE work")
        return Done(error=error)
    writer.execute("RELEASE work")
    return Done(value=value, notes=connection.notes)


def _drive(awaitable: Awaitable[Any]) -> Any:
    """Run a coroutine that never suspends: in this thread, every await of the connection returns at once."""
    coroutine = cast("Coroutine[Any, Any, Any]", awaitable)
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise StorageError("a work awaited something other than its connection")


class _SqliteConnection:
    def __init__(self, writer: sqlite3.Connection) -> None:
        self._writer = writer
        self.notes: list[object] = []

    async def fetch(self, sql: str, /, **values: Any) -> list[Record]:
        return cast("list[Record]", self._writer.execute(sql, values).fetchall())

    async def apply(self, move: Move) -> bool:
        if move.guard is not None and not self._writer.execute(move.guard[0].sqlite, move.guard[1]).fetchall():
            return False
        for statement, row in move.then:
            self._writer.execute(statement.sqlite, row)
        self.notes.extend(move.notes)
        return True


def _translated(call: Callable[[], T]) -> T:
    try:
        return call()
    except (sqlite3.OperationalError, OSError) as error:
        # Locked, full, read-only, I/O error: the machine's trouble, not the statement's. SQLite's texts hold no values.
        raise StorageUnavailableError(f"SQLite: {error}") from None
    except sqlite3.Error as error:
        raise StorageError(f"SQLite: {error}") from None
