"""PostgreSQL by asyncpg: one writing connection, a few for reading, one for wakes, any number of nodes.

A batch is a handful of set statements over arrays (8 µs a row measured, against 25-31 for one statement a row).
A connection that may be broken is never asked to roll back, for it might not answer: it is ended, which rolls back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import lru_cache, partial
from typing import Any, cast

import asyncpg

from gateway.storage.connecting import FAILURES, Connected, Connector, is_sound, translated
from gateway.storage.database import Done
from gateway.storage.listener import Listener
from gateway.storage.readers import Readers
from gateway.storage.statement import Row, Statement, numbered
from gateway.storage.unit import Connection, Move, Record, StorageUnavailableError, Unit, Write
from gateway.storage.wakes import Wakes

#: Seconds a transaction may take to begin or to be rolled back: nothing is done then, so a server that takes longer
#: hangs, and the sooner that is known the sooner another connection is tried.
BEGIN_TIMEOUT = 3.0
#: Seconds after which a transaction is ended whatever it waits for: the last resort, each statement has its own limit.
TRANSACTION_TIMEOUT = 20.0
#: Seconds after a failed attempt to connect in which no other is made: a busy gateway would make hundreds a second,
#: each of which costs the server a process.
CONNECT_PAUSE = 0.25
#: Seconds a connection may take to say goodbye.
CLOSE_TIMEOUT = 2.0

#: Failures after which the same units may simply be tried again: the other side of a deadlock has won and goes on, and
#: a plan that a migration made obsolete is forgotten.
_PASSING = (asyncpg.DeadlockDetectedError, asyncpg.InvalidCachedStatementError)

#: The values by which ``RETURNING`` names a row.
Key = tuple[Any, ...]

_numbered = lru_cache(maxsize=512)(numbered)


class PostgresqlEngine:
    """The engine for several nodes on one database. ``pause`` is in seconds."""

    def __init__(self, url: str, *, pause: float = CONNECT_PAUSE) -> None:
        self._connector = Connector(url)
        self._pause = pause
        self._writer: Connected | None = None
        self._readers = Readers(self._connector.connect)
        self._listener: Listener | None = None
        self._listening: asyncio.Task[None] | None = None
        #: Until when, in the loop's time, no connection for writing is tried.
        self._patient_until = 0.0

    async def open(self, wakes: Wakes) -> None:
        """Connect. Raises ``StorageUnavailableError``."""
        # Its commits carry nothing but a wake: they wait for no disk.
        self._listener = Listener(partial(self._connector.connect, synchronous_commit="off"), wakes)
        try:
            await self._readers.open()
            self._writer = await self._connector.connect()
            await self._listener.open()
        except BaseException as error:
            await self.close()
            if isinstance(error, FAILURES):
                raise translated(error) from None
            raise
        self._listening = asyncio.create_task(self._listener.run(), name="storage listener")

    async def close(self) -> None:
        """Disconnect."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        elif self._listener is not None:
            self._listener.reconnect()
        if self._writer is not None:
            # A server that does not answer closes nothing; then the connection is simply ended.
            await asyncio.gather(self._writer.close(timeout=CLOSE_TIMEOUT), return_exceptions=True)
        await self._readers.close(CLOSE_TIMEOUT)

    def splits(self, moves: int) -> bool:  # noqa: ARG002 - one connection writes all there is
        """Whether so many moves are better written by themselves: never."""
        return False

    async def commit(self, units: Sequence[Unit]) -> list[Done]:
        """Write all units in one transaction, on a new connection if the last one broke."""
        try:
            try:
                return await self._in_transaction(units)
            except _PASSING:
                return await self._in_transaction(units)
        except FAILURES as error:
            if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
                self._look_elsewhere()
            raise translated(error) from None

    async def _in_transaction(self, units: Sequence[Unit]) -> list[Done]:
        writer = await self._begun()
        # The driver sets itself no limit where it closes an old statement, which a hung server never answers.
        limit = asyncio.get_running_loop().call_later(TRANSACTION_TIMEOUT, writer.terminate)
        try:
            outcomes = await _write_all(writer, units)
            await writer.execute("COMMIT")
        except BaseException as error:
            await _roll_back(writer, error)
            raise
        finally:
            limit.cancel()
        return outcomes

    async def _begun(self) -> Connected:
        """Return the writing connection, a transaction begun on it."""
        if self._writer is not None and not self._writer.is_closed():
            try:
                await self._writer.execute("BEGIN", timeout=BEGIN_TIMEOUT)
            except FAILURES:
                # Nothing was begun, so nothing is done twice.
                self._writer.terminate()
            else:
                return self._writer
        self._writer = await self._reconnected()
        try:
            await self._writer.execute("BEGIN", timeout=BEGIN_TIMEOUT)
        except BaseException:
            self._writer.terminate()
            raise
        return self._writer

    async def _reconnected(self) -> Connected:
        loop = asyncio.get_running_loop()
        if loop.time() < self._patient_until:
            raise StorageUnavailableError("PostgreSQL: no connection, and the last attempt was a moment ago")
        try:
            return await self._connector.connect()
        except FAILURES:
            self._patient_until = loop.time() + self._pause
            raise

    def _look_elsewhere(self) -> None:
        # The server was demoted: the connections that still stand lead to old rows. A new one finds where to write.
        self._patient_until = asyncio.get_running_loop().time() + self._pause
        self._readers.drop()
        if self._listener is not None:
            self._listener.reconnect()

    async def fetch(self, sql: str, values: dict[str, Any]) -> list[Record]:
        """Read committed rows."""
        text, names = _numbered(sql)
        try:
            return cast("list[Record]", await self._readers.fetch(text, [values[name] for name in names]))
        except FAILURES as error:
            raise translated(error) from None

    def tell(self, topics: Collection[str]) -> None:
        """Wake these topics on the other nodes, as soon as that can be done; wait for nothing."""
        if self._listener is not None:
            self._listener.tell(topics)


async def _roll_back(writer: Connected, error: BaseException) -> None:
    if is_sound(writer, error):
        try:
            await writer.execute("ROLLBACK", timeout=BEGIN_TIMEOUT)
        except FAILURES:
            writer.terminate()
    else:
        writer.terminate()


async def _write_all(writer: Connected, units: Sequence[Unit]) -> list[Done]:
    outcomes: list[Done] = [Done()] * len(units)
    moves = {place: unit for place, unit in enumerate(units) if isinstance(unit, Move)}
    held = await _held(writer, moves)
    follow: dict[Statement, list[Row]] = {}
    for place, move in moves.items():
        if place in held:
            outcomes[place] = Done(value=held[place], notes=move.notes, wakes=move.wakes)
            for statement, row in move.then:
                follow.setdefault(statement, []).append(row)
    for statement, rows in follow.items():
        await _execute(writer, statement, rows)
    for place, unit in enumerate(units):
        if not isinstance(unit, Move):
            outcomes[place] = await _run_work(writer, unit)
    return outcomes


async def _held(writer: Connected, moves: dict[int, Move]) -> dict[int, Any]:
    """Write every guard, and return what the moves whose guards held are answered, by their places.

    The first guards of all moves go before the second ones, and so on: of each kind one statement. So a statement
    sees what others committed while the ones before it waited for their rows.
    """
    standing = {place: move.guards for place, move in moves.items()}
    held: dict[int, Any] = {place: True for place, guards in standing.items() if not guards}
    fallen: list[tuple[int, int]] = []
    turn = 0
    while asked := {place: guards[turn] for place, guards in standing.items() if turn < len(guards)}:
        found = await _asked(writer, asked)
        for place in asked:
            if place not in found:
                fallen.append((place, turn))
                held.pop(place, None)
                del standing[place]
        held.update(found)
        turn += 1
    await _undo(writer, [(moves[place], turn) for place, turn in fallen])
    return held


async def _asked(writer: Connected, guards: dict[int, Write]) -> dict[int, Any]:
    """Write guards, one statement a kind, and return the rows they wrote by their places."""
    kinds: dict[Statement, dict[Key, tuple[int, Row]]] = {}
    for place, (statement, row) in guards.items():
        kinds.setdefault(statement, {})[tuple(row[at] for at in statement.key)] = place, row
    found = {}
    for statement, rows in kinds.items():
        # In the order of their keys, so that two nodes never wait for each other's rows crosswise.
        written = await _execute(writer, statement, [rows[key][1] for key in sorted(rows)])
        width = len(statement.key)
        for record in written:
            found[rows[tuple(record)[:width]][0]] = record
    return found


async def _undo(writer: Connected, fallen: Sequence[tuple[Move, int]]) -> None:
    """Take back what the guards wrote that held before the one that did not: the ``turn``-th of its move."""
    kinds: dict[Statement, list[Row]] = {}
    for move, turn in fallen:
        for item in move.first[:turn]:
            statement, row = item.undo
            kinds.setdefault(statement, []).append(row)
    for statement, rows in kinds.items():
        await _execute(writer, statement, rows)


async def _execute(writer: Connected, statement: Statement, rows: Sequence[Row]) -> list[Any]:
    return await writer.fetch(statement.postgresql, *zip(*rows, strict=True))


async def _run_work(writer: Connected, work: Callable[[Connection], Awaitable[Any]]) -> Done:
    connection = _PostgresqlConnection(writer)
    await writer.execute("SAVEPOINT work")
    try:
        value = await work(connection)
    except (*FAILURES, asyncio.CancelledError):
        raise
    except Exception as error:  # noqa: BLE001 - it is handed to whoever asked for the work
        # The work itself said no: its savepoint is undone, and the others of the batch are not.
        await writer.execute("ROLLBACK TO work; RELEASE work")
        return Done(error=error)
    await writer.execute("RELEASE work")
    return Done(value=value, notes=connection.notes, wakes=connection.wakes)


class _PostgresqlConnection:
    def __init__(self, writer: Connected) -> None:
        self._writer = writer
        self.notes: list[object] = []
        self.wakes: list[str] = []

    async def fetch(self, sql: str, /, **values: Any) -> list[Record]:
        text, names = _numbered(sql)
        return cast("list[Record]", await self._writer.fetch(text, *(values[name] for name in names)))

    async def apply(self, move: Move) -> bool:
        return bool(await self._write(move))

    async def claim(self, move: Move) -> Record | None:
        return cast("Record | None", await self._write(move))

    async def _write(self, move: Move) -> Any:
        held = (await _held(self._writer, {0: move})).get(0)
        if held:
            for statement, row in move.then:
                await _execute(self._writer, statement, [row])
            self.notes.extend(move.notes)
            self.wakes.extend(move.wakes)
        return held
