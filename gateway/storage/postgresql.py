"""PostgreSQL by asyncpg: one writing connection, a small pool for reading, any number of nodes.

A batch is a handful of set statements over arrays (8 µs a row measured, against 25-31 for one statement a row).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from typing import Any, cast

import asyncpg

from gateway.storage.database import Done
from gateway.storage.statement import Row, Statement, numbered
from gateway.storage.unit import (
    Connection,
    Move,
    Record,
    StorageContendedError,
    StorageError,
    StorageUnavailableError,
    Unit,
)

#: Seconds a statement may take, and a lock may be waited for, before the unit fails.
STATEMENT_TIMEOUT = 10.0
#: Seconds a connection may take to be made.
CONNECT_TIMEOUT = 5.0
#: Connections for reading, each used by one look-up at a time.
READERS = 4

_UNAVAILABLE = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    # The driver lost track of a connection that broke under it.
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.CannotConnectNowError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    TimeoutError,
    OSError,
)

#: The driver's own words for a connection that is no more.
_LOST = (asyncpg.InterfaceError, asyncpg.InternalClientError)

_CONTENDED = (asyncpg.QueryCanceledError, asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)

#: The values by which ``RETURNING`` names a row.
Key = tuple[Any, ...]

_numbered = lru_cache(maxsize=512)(numbered)


class PostgresqlEngine:
    """The engine for several nodes on one database."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._writer: asyncpg.Connection[Any] | None = None
        self._readers: asyncpg.Pool[Any] | None = None

    async def open(self) -> None:
        """Connect. Raises ``StorageUnavailableError``."""
        try:
            self._readers = await asyncpg.create_pool(
                self._url, min_size=1, max_size=READERS, timeout=CONNECT_TIMEOUT, command_timeout=STATEMENT_TIMEOUT
            )
            self._writer = await self._connect()
        except (asyncpg.PostgresError, *_UNAVAILABLE) as error:
            if self._readers is not None:
                self._readers.terminate()
            raise translated(error) from None

    async def close(self) -> None:
        """Disconnect."""
        if self._writer is not None and not self._writer.is_closed():
            await self._writer.close()
        if self._readers is not None:
            await self._readers.close()

    async def commit(self, units: Sequence[Unit]) -> list[Done]:
        """Write all units in one transaction, on a new connection if the last one broke."""
        try:
            try:
                return await self._in_transaction(units)
            except asyncpg.DeadlockDetectedError:
                # The other side has won and goes on: the second time the way is free.
                return await self._in_transaction(units)
        except (asyncpg.PostgresError, *_UNAVAILABLE) as error:
            if isinstance(error, asyncpg.InternalClientError) and self._writer is not None:
                # Whatever its state is, the next batch must not find out.
                self._writer.terminate()
            raise translated(error) from None

    async def _in_transaction(self, units: Sequence[Unit]) -> list[Done]:
        if self._writer is None or self._writer.is_closed():
            self._writer = await self._connect()
        async with self._writer.transaction():
            return await _write_all(self._writer, units)

    async def fetch(self, sql: str, values: dict[str, Any]) -> list[Record]:
        """Read committed rows."""
        text, names = _numbered(sql)
        arguments = [values[name] for name in names]
        try:
            try:
                return await self._read(text, arguments)
            except (asyncpg.PostgresConnectionError, asyncpg.AdminShutdownError, *_LOST):
                # An idle connection that the server has ended is found out by its next use; reading twice is harmless.
                return await self._read(text, arguments)
        except (asyncpg.PostgresError, *_UNAVAILABLE) as error:
            raise translated(error) from None

    async def _read(self, text: str, arguments: Sequence[Any]) -> list[Record]:
        assert self._readers is not None, "the engine is not open"
        return cast("list[Record]", await self._readers.fetch(text, *arguments))

    async def _connect(self) -> asyncpg.Connection[Any]:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            return await asyncpg.connect(
                self._url,
                command_timeout=STATEMENT_TIMEOUT,
                server_settings={"application_name": "otp-gateway", "lock_timeout": f"{STATEMENT_TIMEOUT / 2:g}s"},
            )


def translated(error: BaseException) -> StorageError:
    """Return what a driver's error means here, its text without values."""
    kind = StorageError
    if isinstance(error, _CONTENDED):
        kind = StorageContendedError
    elif isinstance(error, _UNAVAILABLE):
        kind = StorageUnavailableError
    # PostgreSQL's DETAIL holds values of the row: the kind of error and its SQLSTATE are enough.
    return kind(f"PostgreSQL: {type(error).__name__} {getattr(error, 'sqlstate', None) or ''}".rstrip())


async def _write_all(writer: asyncpg.Connection[Any], units: Sequence[Unit]) -> list[Done]:
    outcomes: list[Done] = [Done()] * len(units)
    moves = {place: unit for place, unit in enumerate(units) if isinstance(unit, Move)}
    held = await _held(writer, moves)
    follow: dict[Statement, list[Row]] = {}
    for place, move in moves.items():
        if place in held:
            outcomes[place] = Done(value=True, notes=move.notes)
            for statement, row in move.then:
                follow.setdefault(statement, []).append(row)
        else:
            outcomes[place] = Done(value=False)
    for statement, rows in follow.items():
        await _execute(writer, statement, rows)
    for place, unit in enumerate(units):
        if not isinstance(unit, Move):
            outcomes[place] = await _run_work(writer, unit)
    return outcomes


async def _held(writer: asyncpg.Connection[Any], moves: dict[int, Move]) -> set[int]:
    """Write every guard, one statement a kind, and return the places of the moves whose guard held."""
    held = set()
    kinds: dict[Statement, dict[Key, tuple[int, Row]]] = {}
    for place, move in moves.items():
        if move.guard is None:
            held.add(place)
            continue
        statement, row = move.guard
        kinds.setdefault(statement, {})[tuple(row[at] for at in statement.key)] = place, row
    for statement, guards in kinds.items():
        # In the order of their keys, so that two nodes never wait for each other's rows crosswise.
        rows = [guards[key][1] for key in sorted(guards)]
        held.update(guards[tuple(record)][0] for record in await _execute(writer, statement, rows))
    return held


async def _execute(writer: asyncpg.Connection[Any], statement: Statement, rows: Sequence[Row]) -> list[Any]:
    return await writer.fetch(statement.postgresql, *zip(*rows, strict=True))


async def _run_work(writer: asyncpg.Connection[Any], work: Callable[[Connection], Awaitable[Any]]) -> Done:
    connection = _PostgresqlConnection(writer)
    try:
        async with writer.transaction():
            value = await work(connection)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, asyncio.CancelledError):
        raise
    except Exception as error:  # noqa: BLE001 - it is handed to whoever asked for the work
        # The work itself said no: its savepoint is undone, and the others of the batch are not.
        return Done(error=error)
    return Done(value=value, notes=connection.notes)


class _PostgresqlConnection:
    def __init__(self, writer: asyncpg.Connection[Any]) -> None:
        self._writer = writer
        self.notes: list[object] = []

    async def fetch(self, sql: str, /, **values: Any) -> list[Record]:
        text, names = _numbered(sql)
        return cast("list[Record]", await self._writer.fetch(text, *(values[name] for name in names)))

    async def apply(self, move: Move) -> bool:
        if move.guard is not None and not await _execute(self._writer, move.guard[0], [move.guard[1]]):
            return False
        for statement, row in move.then:
            await _execute(self._writer, statement, [row])
        self.notes.extend(move.notes)
        return True
