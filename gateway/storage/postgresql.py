"""PostgreSQL by asyncpg: one writing connection, a few for reading, one for wakes, any number of nodes.

A batch is a handful of set statements (8 µs a row measured, against 25-31 for one statement a row). One that
is begun waits for the one before it and follows at once: batches are written in the order in which they were handed in.
A connection that may be broken is never asked to roll back, for it might not answer: it is ended, which rolls back.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Collection, Coroutine, Sequence
from functools import partial
from typing import Any, cast

import asyncpg

from gateway.storage.absence import Absence
from gateway.storage.connecting import FAILURES, Connected, Connector, is_sound, translated
from gateway.storage.engine import Done
from gateway.storage.listener import Listener
from gateway.storage.postgresql_batch import AS_IT_IS, BRIEFLY, PATIENTLY, as_numbered, write_all
from gateway.storage.postgresql_rows import Shapes
from gateway.storage.readers import Readers
from gateway.storage.unit import Move, Record, StorageUnavailableError, Unit
from gateway.storage.wakes import Wakes

#: Seconds a transaction may take to begin or to be rolled back: nothing is done then, so a server that takes longer
#: hangs, and the sooner that is known the sooner another connection is tried.
BEGIN_TIMEOUT = 3.0
#: Seconds after which a transaction is ended whatever it waits for: the last resort, each statement has its own limit.
TRANSACTION_TIMEOUT = 20.0
#: Seconds after a failed attempt to connect in which no other is made: a busy gateway would make hundreds a second,
#: each of which costs the server a process.
CONNECT_PAUSE = 0.25
#: Seconds between a lost deadlock, or a wait that was given up, and the next try: once to twice as many.
GIVE_WAY = 0.03
#: Times that a transaction waits for each row but briefly, and gives up: two that wait for each other crosswise are apart
#: after that, where the server would look after a second, in which neither node writes. Then one unit waits as long as it takes.
BRIEF_TRIES = 3
#: Seconds a connection may take to say goodbye.
CLOSE_TIMEOUT = 2.0

#: Moves from which on a batch is begun by itself. Fewer are gathered: each batch costs an fsync and three round trips.
ENOUGH = 16
#: Seconds that plans of the statements in moves are used for. To plan them for each batch was two fifths of the server's
#: part (of 16 accepts each took it 127 µs, and 77 without); one kept for good is for a table as small as it was then.
#: After as long a pause they are not used either.
PLANS_KEPT = 1.0

#: Failures after which the same units may simply be tried again: who was in the way goes on, by a deadlock or without one,
#: and a plan that a migration made obsolete is forgotten.
_PASSING = (asyncpg.DeadlockDetectedError, asyncpg.LockNotAvailableError, asyncpg.InvalidCachedStatementError)


class PostgresqlEngine:
    """The engine for several nodes on one database. ``pause`` is in seconds; ``jitter`` returns from 0 to 1.

    ``absence``: whether the server is away.
    """

    def __init__(
        self,
        url: str,
        *,
        pause: float = CONNECT_PAUSE,
        jitter: Callable[[], float] = random.random,
        absence: Absence | None = None,
    ) -> None:
        self._connector = Connector(url)
        self._pause = pause
        self._jitter = jitter
        self._absence = absence
        self._writer: Connected | None = None
        self._shapes = Shapes()
        self._readers = Readers(self._connector.connect)
        self._listener: Listener | None = None
        self._listening: asyncio.Task[None] | None = None
        #: Until when, in the loop's time, no connection for writing is tried.
        self._patient_until = 0.0
        #: When the last transaction began, and until when the writer's plans are used, in the loop's time.
        self._began_at = self._planned_until = -math.inf
        #: Held by the batch that is written; how many wait for it, and what writes those that were begun.
        self._turn = asyncio.Lock()
        self._queued = 0
        self._flights: set[asyncio.Task[list[Done]]] = set()

    async def open(self, wakes: Wakes) -> None:
        """Connect. Raises ``StorageUnavailableError``."""
        # Its commits carry nothing but a wake: they wait for no disk.
        connect = partial(self._connector.connect, synchronous_commit="off")
        self._listener = Listener(connect, wakes, absence=self._absence)
        try:
            await self._readers.open()
            self._writer = await self._connect()
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
        for flight in (flights := list(self._flights)):
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
        if self._writer is not None:
            # A server that does not answer closes nothing; then the connection is simply ended.
            await asyncio.gather(self._writer.close(timeout=CLOSE_TIMEOUT), return_exceptions=True)
        await self._readers.close(CLOSE_TIMEOUT)

    def splits(self, moves: int) -> bool:
        """Whether so many moves are better begun by themselves: the gateway goes on while the server writes them."""
        return moves >= ENOUGH

    def begin(self, moves: Sequence[Move]) -> Coroutine[Any, Any, list[Done]]:
        """Begin to write moves in a transaction after the one that is under way."""
        flight = asyncio.create_task(self.commit(moves), name="storage flight")
        self._flights.add(flight)
        flight.add_done_callback(self._flights.discard)
        return _landed(flight)

    async def commit(self, units: Sequence[Unit]) -> list[Done]:
        """Write all units in one transaction, on a new connection if the last one broke."""
        self._queued += 1
        try:
            await self._turn.acquire()
        finally:
            self._queued -= 1
        try:
            return await self._committed(units)
        finally:
            self._turn.release()

    async def _committed(self, units: Sequence[Unit]) -> list[Done]:
        try:
            for _ in range(BRIEF_TRIES):
                try:
                    return await self._in_transaction(units, briefly=True)
                except _PASSING as error:
                    if len(units) > 1 and isinstance(error, asyncpg.LockNotAvailableError):
                        # Each is tried alone, and only the one that was in the way of another waits for it.
                        raise
                    # The server wakes the one that has won; who came again before it would have that one lose. Two that gave
                    # up at once come again at different times.
                    await asyncio.sleep(GIVE_WAY * (1 + self._jitter()))
            return await self._in_transaction(units, briefly=len(units) > 1)
        except FAILURES as error:
            if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
                self._look_elsewhere()
            raise translated(error) from None

    async def _in_transaction(self, units: Sequence[Unit], *, briefly: bool) -> list[Done]:
        writer = await self._begun(briefly=briefly)
        # The driver sets itself no limit where it closes an old statement, which a hung server never answers.
        limit = asyncio.get_running_loop().call_later(TRANSACTION_TIMEOUT, writer.terminate)
        try:
            outcomes = await write_all(writer, units, self._shapes)
            # The next transaction begins with the end of this one, where somebody waits for it: a round trip less.
            await writer.execute(f"{self._planned('COMMIT AND CHAIN')}; {BRIEFLY}" if self._queued else "COMMIT")
        except BaseException as error:
            await _roll_back(writer, error)
            raise
        finally:
            limit.cancel()
        return outcomes

    async def _begun(self, *, briefly: bool) -> Connected:
        """Return the writing connection, a transaction begun on it that waits ``briefly`` for each row."""
        if self._writer is not None and not self._writer.is_closed():
            chained = self._writer.is_in_transaction()
            if chained and briefly:
                return self._writer
            try:
                begin = PATIENTLY if chained else self._beginning(briefly=briefly)
                await self._writer.execute(begin, timeout=BEGIN_TIMEOUT)
            except FAILURES:
                # Nothing was begun, so nothing is done twice.
                self._writer.terminate()
            else:
                return self._writer
        self._writer = await self._reconnected()
        try:
            await self._writer.execute(self._beginning(briefly=briefly), timeout=BEGIN_TIMEOUT)
        except BaseException:
            self._writer.terminate()
            raise
        return self._writer

    def _beginning(self, *, briefly: bool) -> str:
        begin = self._planned("BEGIN")
        return f"{begin}; {BRIEFLY}" if briefly else begin

    def _planned(self, command: str) -> str:
        """Return a command that begins a transaction, and has what comes in it planned anew where it is time."""
        now = asyncio.get_running_loop().time()
        idle, self._began_at = now - self._began_at >= PLANS_KEPT, now
        if idle:
            # For this one alone: to forget all plans would have their statements parsed again as well.
            return f"{command}; {AS_IT_IS}"
        if now < self._planned_until:
            return command
        self._planned_until = now + PLANS_KEPT
        return f"DISCARD PLANS; {command}"

    async def _connect(self) -> Connected:
        # For moves: a work sets it back, for what it looks for is better planned by how much there is of it.
        return await self._connector.connect(plan_cache_mode="force_generic_plan")

    async def _reconnected(self) -> Connected:
        loop = asyncio.get_running_loop()
        if loop.time() < self._patient_until:
            raise StorageUnavailableError("PostgreSQL: no connection, and the last attempt was a moment ago")
        try:
            return await self._connect()
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
        text, names = as_numbered(sql)
        try:
            return cast("list[Record]", await self._readers.fetch(text, [values[name] for name in names]))
        except FAILURES as error:
            raise translated(error) from None

    async def look(self, sql: str, values: dict[str, Any]) -> list[Record]:
        """Read a few committed rows."""
        return await self.fetch(sql, values)

    def tell(self, topics: Collection[str]) -> None:
        """Wake these topics on the other nodes, as soon as that can be done; wait for nothing."""
        if self._listener is not None:
            self._listener.tell(topics)


async def _landed(flight: asyncio.Task[list[Done]]) -> list[Done]:
    return await flight


async def _roll_back(writer: Connected, error: BaseException) -> None:
    if is_sound(writer, error):
        try:
            await writer.execute("ROLLBACK", timeout=BEGIN_TIMEOUT)
        except FAILURES:
            writer.terminate()
    else:
        writer.terminate()
