"""SQLite: one file, one writing connection, a few reading threads.

A batch's statements run on the event loop, at some 5 µs a row; what waits for the disk, its commit, runs in a thread, but
for that of a lone unit on a disk that has been quick (``sqlite_quick``).
In a thread each statement would have to win the interpreter's lock back from a busy loop: 32 callers then waited 20 ms
for their batch, most of it for the lock.

``synchronous=FULL`` in WAL mode, because with NORMAL a power cut may lose the last commits (sqlite.org/wal.html);
the process beside this one has NORMAL and syncs the log itself before it answers (``sqlite_answers``);
``BEGIN IMMEDIATE``, because a read that turns into a write fails at once when another process wrote in between;
``secure_delete``, because wiped codes would otherwise stay readable in free pages.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar, cast

from gateway.storage.absence import Absence
from gateway.storage.engine import Done
from gateway.storage.sqlite_beside import Beside, Flight
from gateway.storage.sqlite_checkpoints import Checkpoints
from gateway.storage.sqlite_file import BUSY_TIMEOUT, breaks, check, connect, translated
from gateway.storage.sqlite_moves import write_guards, write_moves
from gateway.storage.sqlite_quick import Quick
from gateway.storage.unit import Connection, Move, Record, StorageError, StorageUnavailableError, Unit
from gateway.storage.wakes import Wakes

__all__ = ["SqliteEngine", "connect"]

T = TypeVar("T")

_BEGIN = "BEGIN IMMEDIATE"
_SQL = attrgetter("sqlite")
#: Reading threads: enough that a long list never holds up a look-up.
READERS = 4
#: What may go wrong between us and the file. SQLite's want of memory comes as Python's own.
_FAILURES = (sqlite3.Error, OSError, MemoryError)


class SqliteEngine:
    """The engine for one machine. ``busy_timeout`` is in seconds.

    ``beside``: long batches are written by a process of its own. ``absence``: whether the file is away.
    """

    def __init__(
        self,
        path: Path,
        *,
        busy_timeout: float = BUSY_TIMEOUT,
        beside: bool = False,
        absence: Absence | None = None,
    ) -> None:
        self._path = path
        self._busy_timeout = busy_timeout
        #: Who writes long batches, if anybody does.
        self.beside = Beside(path, busy_timeout, absence=absence) if beside else None
        self._writer_thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-writer")
        self._reader_threads = ThreadPoolExecutor(READERS, thread_name_prefix="sqlite-reader")
        self._checkpoints = Checkpoints(partial(connect, path, busy_timeout))
        self._quick = Quick()
        self._reader = threading.local()
        self._opened: list[sqlite3.Connection] = []
        #: ``None`` from when it broke until it could be opened anew.
        self._writer: sqlite3.Connection | None = None
        #: What looks for single rows on the loop; ``None`` until it is needed, and after it broke.
        self._looker: sqlite3.Connection | None = None

    async def open(self, wakes: Wakes) -> None:  # noqa: ARG002 - nobody shares a file whom this engine could hear
        """Connect, having looked over the file. Raises ``StorageError``, and of a damaged file says what to do."""
        self._writer = await self._in(self._writer_thread, self._first_writer)
        # Before memory may run out (see there): a thread more would be started by whoever writes or by the event loop.
        self._checkpoints.start()
        await _all_started(self._reader_threads)

    async def close(self) -> None:
        """Disconnect, once everything under way has ended."""
        if self.beside is not None:
            await self.beside.close()
        for pool in (self._reader_threads, self._writer_thread):
            await asyncio.to_thread(pool.shutdown, wait=True)
        await asyncio.to_thread(self._checkpoints.close)
        for connection in self._opened:
            connection.close()

    def splits(self, moves: int) -> bool:
        """Whether so many moves are better written by themselves: the other process can write nothing else."""
        return self.beside is not None and self.beside.takes(moves)

    def begin(self, moves: Sequence[Move]) -> Coroutine[Any, Any, list[Done]]:
        """Have the other process write moves in one transaction, after those that it was given before."""
        assert self.beside is not None, "ask whether it splits"
        try:
            flight = self.beside.send(moves)
        except Exception as error:  # noqa: BLE001 - a value that no message holds: whoever asked for this batch is told
            return _raising(error)
        return self._landed(moves, flight)

    async def commit(self, units: Sequence[Unit]) -> list[Done]:
        """Write all units in one transaction, on a new connection if the last one broke."""
        if self.beside is not None and self.beside.unsynced:
            await self._in(self._writer_thread, self._copy_log)
            self.beside.unsynced = False
        if self._writer is None:
            self._writer = await self._in(self._writer_thread, self._new_writer)
        writer = self._writer
        try:
            await self._begin(writer)
            outcomes = _write_all(writer, units)
            if len(units) == 1 and self._quick.expected and not self._checkpoints.due(writer):
                self._quick.commit(writer)
                self._checkpoints.committed()
            else:
                await asyncio.get_running_loop().run_in_executor(self._writer_thread, self._end_transaction, writer)
        except BaseException as error:
            # In the thread of the commit, and so after it, whoever was stopped meanwhile.
            await self._in(self._writer_thread, partial(self._roll_back, writer, error))
            if isinstance(error, _FAILURES):
                raise translated(error) from None
            raise
        return outcomes

    async def fetch(self, sql: str, values: dict[str, Any]) -> list[Record]:
        """Read committed rows."""
        return await self._in(self._reader_threads, lambda: self._read(sql, values))

    async def look(self, sql: str, values: dict[str, Any]) -> list[Record]:
        """Read a few committed rows by their keys, on the event loop as the writer's statements are.

        A thread costs five times what it then reads: of a check's instructions 8 %. It is for what cannot be read at once.
        """
        try:
            looker = self._looker
            if looker is None:
                looker = await self._in(self._writer_thread, self._new_looker)
            return cast("list[Record]", looker.execute(sql, values).fetchall())
        except _FAILURES as error:
            if breaks(error) and self._looker is not None:
                broken, self._looker = self._looker, None
                self._end(broken)
            return await self.fetch(sql, values)

    def tell(self, topics: Collection[str]) -> None:
        """Tell nobody: a file is one node's, and another process on it looks from time to time."""

    async def _landed(self, moves: Sequence[Move], flight: Flight) -> list[Done]:
        assert self.beside is not None, "it was handed over"
        return _done(moves, await self.beside.landed(flight))

    async def _in(self, pool: ThreadPoolExecutor, call: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, call)
        except _FAILURES as error:
            raise translated(error) from None

    def _connect(self) -> sqlite3.Connection:
        connection = connect(self._path, self._busy_timeout)
        self._opened.append(connection)
        return connection

    def _first_writer(self) -> sqlite3.Connection:
        check(self._path)
        return self._new_writer()

    def _copy_log(self) -> None:
        """Put on the disk what stands in the log, all of it. Raises ``StorageUnavailableError`` where that fails."""
        with closing(connect(self._path, self._busy_timeout)) as connection:
            [busy, pages, copied] = connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
        if busy or pages != copied:
            raise StorageUnavailableError("SQLite: what was written last could not be put on the disk yet")

    def _new_writer(self) -> sqlite3.Connection:
        writer = self._connect()
        # On the loop it is tried and not waited for.
        writer.execute("PRAGMA busy_timeout=0")
        return writer

    def _new_reader(self) -> sqlite3.Connection:
        reader = self._connect()
        reader.execute("PRAGMA query_only=ON")
        return reader

    def _new_looker(self) -> sqlite3.Connection:
        # In the writer's thread, one after the other: of two who look at once, the second finds the first one's.
        if self._looker is None:
            looker = self._new_reader()
            looker.execute("PRAGMA busy_timeout=0")
            self._looker = looker
        return self._looker

    def _anew(self, broken: sqlite3.Connection, make: Callable[[], sqlite3.Connection]) -> sqlite3.Connection:
        """Return what takes a broken connection's place, or itself where nothing can be opened now.

        It is closed last: with the last connection SQLite removes the log, and on a full disk could make no other.
        """
        try:
            made = make()
        except (*_FAILURES, StorageError):
            return broken
        self._end(broken)
        return made

    def _end(self, connection: sqlite3.Connection) -> None:
        self._opened.remove(connection)
        connection.close()

    def _read(self, sql: str, values: dict[str, Any]) -> list[Record]:
        connection = getattr(self._reader, "connection", None)
        if connection is None:
            connection = self._reader.connection = self._new_reader()
        try:
            return cast("list[Record]", connection.execute(sql, values).fetchall())
        except _FAILURES as error:
            if breaks(error):
                self._reader.connection = self._anew(connection, self._new_reader)
            raise

    async def _begin(self, writer: sqlite3.Connection) -> None:
        try:
            writer.execute(_BEGIN)
        except sqlite3.OperationalError:
            # Another process writes: wait for it, off the loop.
            await asyncio.get_running_loop().run_in_executor(self._writer_thread, lambda: self._begin_patiently(writer))

    def _begin_patiently(self, writer: sqlite3.Connection) -> None:
        writer.execute(f"PRAGMA busy_timeout={int(self._busy_timeout * 1000)}")
        try:
            writer.execute(_BEGIN)
        finally:
            writer.execute("PRAGMA busy_timeout=0")

    def _end_transaction(self, writer: sqlite3.Connection) -> None:
        self._quick.commit(writer)
        self._checkpoints.wrote(writer)

    def _roll_back(self, writer: sqlite3.Connection, error: BaseException) -> None:
        """Leave a writer without a transaction, or none: one that is stuck in its transaction would fail for ever."""
        try:
            # After a full disk or an I/O error SQLite may have rolled back by itself.
            if writer.in_transaction:
                writer.execute("ROLLBACK")
            stuck = writer.in_transaction
        except _FAILURES:
            stuck = True
        if stuck:
            self._writer = None
            self._end(writer)
        elif breaks(error):
            self._writer = self._anew(writer, self._new_writer)
        else:
            self._checkpoints.failed(writer, error)


async def _all_started(pool: ThreadPoolExecutor) -> None:
    """Have the readers' pool start its threads, as far as the machine has them: each waits until the last one is there."""
    together = threading.Barrier(READERS)
    loop, waiting = asyncio.get_running_loop(), list[asyncio.Future[int]]()
    try:
        waiting.extend(loop.run_in_executor(pool, together.wait) for _ in range(READERS))
    except RuntimeError:
        together.abort()
    await asyncio.gather(*waiting, return_exceptions=True)


def _write_all(writer: sqlite3.Connection, units: Sequence[Unit]) -> list[Done]:
    moves = [unit for unit in units if isinstance(unit, Move)]
    # Moves first: a work sees what they wrote.
    written = iter(_done(moves, write_moves(writer, moves, _SQL)))
    return [next(written) if isinstance(unit, Move) else _run_work(writer, unit) for unit in units]


async def _raising(error: Exception) -> list[Done]:
    raise error


def _done(moves: Sequence[Move], held: Sequence[Any]) -> list[Done]:
    return [
        Done(value=row, notes=move.notes, wakes=move.wakes) if row else Done()
        for move, row in zip(moves, held, strict=True)
    ]


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
    return Done(value=value, notes=connection.notes, wakes=connection.wakes)


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
        self.wakes: list[str] = []

    async def fetch(self, sql: str, /, **values: Any) -> list[Record]:
        return cast("list[Record]", self._writer.execute(sql, values).fetchall())

    async def apply(self, move: Move) -> bool:
        return bool(self._write(move))

    async def claim(self, move: Move) -> Record | None:
        return cast("Record | None", self._write(move))

    def _write(self, move: Move) -> Any:
        held = write_guards(self._writer, move, _SQL)
        if held:
            for statement, row in move.then:
                self._writer.execute(statement.sqlite, row)
            self.notes.extend(move.notes)
            self.wakes.extend(move.wakes)
        return held
