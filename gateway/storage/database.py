"""One ``Database``: writes are gathered and committed together, reads go beside them.

Whatever waits when the writer is free becomes one transaction with one fsync; while it commits, the next batch
gathers. So a busy gateway pays for an fsync per batch and an idle one waits for nobody. A unit that fails, fails
alone: the batch is rolled back and each unit is tried by itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

from gateway.storage.unit import (
    Connection,
    Move,
    Record,
    StorageContendedError,
    StorageError,
    StorageUnavailableError,
    Unit,
    Write,
)
from gateway.storage.wakes import Wakes
from gateway.value import Value

T = TypeVar("T")

#: What is written alongside a move, from its notes.
Alongside = Callable[[Sequence[object]], Sequence[Write]]

_log = logging.getLogger(__name__)

#: Units in one transaction at most: bounds the time a single commit can hold everybody up (measured 20 µs a row).
MAX_BATCH = 500
#: Seconds for trying the units of a failed batch one by one, before the rest fails too: each may wait for a lock.
ALONE = 10.0
#: Seconds after which a failed commit has kept everybody waiting long enough: who waits behind it fails with it.
LONG = 1.0


class Done(Value, frozen=True):
    """How one unit of a batch went: its value or the exception it raised itself, its notes and its wakes."""

    value: Any = None
    error: BaseException | None = None
    notes: Sequence[object] = ()
    wakes: Sequence[str] = ()


class Engine(Protocol):
    """What SQLite and PostgreSQL each bring."""

    async def open(self, wakes: Wakes) -> None:
        """Connect; what other nodes tell of reaches ``wakes``. Raises ``StorageError``."""
        ...

    async def close(self) -> None:
        """Disconnect."""
        ...

    def splits(self, moves: int) -> bool:
        """Whether so many moves of a batch are better committed by themselves than with its works."""
        ...

    async def commit(self, units: Sequence[Unit]) -> list[Done]:
        """Write all units in one durable transaction.

        Raises ``StorageError`` if that failed as a whole; then nothing of it was kept.
        """
        ...

    async def fetch(self, sql: str, values: dict[str, Any]) -> list[Record]:
        """Read committed rows."""
        ...

    def tell(self, topics: Collection[str]) -> None:
        """Wake these topics on the other nodes, as soon as that can be done; wait for nothing."""
        ...


@dataclass(slots=True, eq=False)
class _Waiting:
    unit: Unit
    done: asyncio.Future[Any]


class Database:
    """The store. Open it with ``async with``.

    ``on_commit`` is given the notes of each batch, in order, after it is durable. ``alongside`` is given the notes of
    a move before it is tried, and what it returns is written in the same transaction if the guard held (then
    ``alongside_wakes`` are woken as well); it must change nothing, and what it raises undoes the move.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        on_commit: Callable[[Sequence[object]], None] = lambda _: None,
        alongside: Alongside | None = None,
        alongside_wakes: Sequence[str] = (),
    ) -> None:
        self._engine = engine
        self._on_commit = on_commit
        self._alongside = alongside
        self._alongside_wakes = tuple(alongside_wakes)
        self._waiting: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._closing = False
        #: Kept: to ask for the running loop is a system call each time.
        self._loop: asyncio.AbstractEventLoop | None = None
        #: Who is told on this node of what became due, here or on another node.
        self.wakes = Wakes()

    async def __aenter__(self) -> Self:
        await self._engine.open(self.wakes)
        self._loop = asyncio.get_running_loop()
        self._writer = asyncio.create_task(self._write_batches(), name="storage writer")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing = True
        self._wake.set()
        if self._writer is not None:
            await self._writer
        await self._engine.close()

    @property
    def waiting(self) -> int:
        """How many units wait for the next batch."""
        return len(self._waiting)

    async def write(self, move: Move) -> bool:
        """Write a move durably and return whether its guards held. Raises ``StorageError``."""
        return bool(await self.submit(move))

    def submit(self, move: Move) -> asyncio.Future[Any]:
        """Hand in a move for the next batch; what is returned is done once it is durable, and true if its guards held.

        Raises ``StorageError`` while the database is closing; else the future does.
        """
        if self._alongside is not None:
            move = self._accompanied(move)
        return self._submit(move)

    async def claim(self, move: Move) -> Record | None:
        """Write a move durably and return the row its last guard wrote; ``None`` where a guard did not hold.

        A guard whose statement returns nothing but its key returns no row that can be read: it is true, and no more.
        Raises ``StorageError``.
        """
        assert move.guard is not None, "without a guard there is no row to return"
        row: Record | None = await self.submit(move)
        return row

    async def run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run a work in a transaction and return its value once that is durable.

        Raises ``StorageError`` or what the work raised.
        """
        if self._alongside is not None:
            work = self._accompanied_work(work)
        value: T = await self._submit(work)
        return value

    async def fetch(self, sql: str, /, **values: Any) -> list[Record]:
        """Read committed rows with ``:name`` values, beside the writer. Raises ``StorageError``."""
        return await self._engine.fetch(sql, values)

    def _accompanied(self, move: Move) -> Move:
        assert self._alongside is not None
        writes = self._alongside(move.notes) if move.notes else ()
        if not writes:
            return move
        wakes = (*move.wakes, *self._alongside_wakes)
        return Move(move.guard, (*move.then, *writes), move.notes, wakes, move.first)

    def _accompanied_work(self, work: Callable[[Connection], Awaitable[T]]) -> Callable[[Connection], Awaitable[T]]:
        return lambda connection: work(_Accompanied(connection, self._accompanied))

    def _submit(self, unit: Unit) -> asyncio.Future[Any]:
        if self._closing:
            raise StorageUnavailableError("the database is closing")
        assert self._loop is not None, "the database is not open"
        done: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append(_Waiting(unit, done))
        self._wake.set()
        return done

    async def _write_batches(self) -> None:
        busy = False
        while not (self._closing and not self._waiting):
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
                continue
            if busy and not self._engine.splits(len(self._waiting)):
                # What is ready on the loop may write as well: one turn of it makes a batch nearly twice as long. Not where
                # another process writes, which would wait for it: then callers and it would work in turns.
                await asyncio.sleep(0)
            batch = self._gather()
            busy = len(batch) > 1
            for part in self._parts(batch):
                await self._write_batch(part)

    def _gather(self) -> list[_Waiting]:
        """Take what waits, less what would write a row of this batch twice: that is for the next."""
        batch: list[_Waiting] = []
        later: list[_Waiting] = []
        seen: set[tuple[object, ...]] = set()
        while self._waiting and len(batch) < MAX_BATCH:
            item = self._waiting.popleft()
            identities = item.unit.identities if isinstance(item.unit, Move) else ()
            if identities and not seen.isdisjoint(identities):
                later.append(item)
                continue
            seen.update(identities)
            batch.append(item)
        self._waiting.extendleft(reversed(later))
        return batch

    def _parts(self, batch: list[_Waiting]) -> list[list[_Waiting]]:
        """Return a batch as what is committed together: all of it, or its moves and then its works."""
        moves = [item for item in batch if isinstance(item.unit, Move)]
        if len(moves) == len(batch) or not self._engine.splits(len(moves)):
            return [batch]
        return [moves, [item for item in batch if not isinstance(item.unit, Move)]]

    async def _write_batch(self, batch: list[_Waiting]) -> None:
        assert self._loop is not None
        begun = self._loop.time()
        error = await self._commit(batch)
        if error is None:
            return
        if not _is_gone(error) and len(batch) > 1:
            _log.warning("a batch of %d writes failed (%s); each is tried alone", len(batch), error)
            await self._write_each(batch, begun)
            return
        _fail(batch, error)
        if _is_gone(error) and self._loop.time() - begun >= LONG:
            # They have waited as long: each batch of them would wait for the same lock, disk or server again.
            _fail(self._waiting, error)
            self._waiting.clear()

    async def _write_each(self, batch: list[_Waiting], begun: float) -> None:
        assert self._loop is not None
        for place, item in enumerate(batch):
            error = await self._commit([item])
            if error is None:
                continue
            if _is_gone(error):
                _fail(batch[place:], error)
                return
            _fail([item], error)
            if self._loop.time() - begun >= ALONE:
                _fail(batch[place + 1 :], StorageContendedError("other transactions were in the way for too long"))
                return

    async def _commit(self, batch: list[_Waiting]) -> StorageError | None:
        """Write a batch and settle it; where that fails, settle nothing and return why."""
        try:
            outcomes = await self._engine.commit([item.unit for item in batch])
        except StorageError as error:
            return error
        except Exception as error:  # noqa: BLE001 - a fault of ours must leave nobody waiting, nor end the writer
            # By its type alone: its text may hold a value.
            return StorageError(f"{type(error).__name__} in the storage writer")
        except BaseException:
            _fail(batch, StorageUnavailableError("the storage writer was stopped"))
            raise
        self._hand_on([note for done in outcomes for note in done.notes])
        topics = {topic for done in outcomes if done.wakes for topic in done.wakes}
        if topics:
            self._awaken(topics)
        for item, done in zip(batch, outcomes, strict=True):
            _settle(item, done)
        return None

    def _hand_on(self, notes: Sequence[object]) -> None:
        if not notes:
            return
        try:
            self._on_commit(notes)
        except Exception as error:  # noqa: BLE001 - what is committed stays acknowledged, whatever a log does
            _log.error("handing on %d committed events failed: %s", len(notes), type(error).__name__)

    def _awaken(self, topics: Collection[str]) -> None:
        self._engine.tell(topics)
        for topic in topics:
            self.wakes.wake(topic)


class _Accompanied:
    """A connection whose moves are written with what belongs alongside them."""

    def __init__(self, connection: Connection, accompanied: Callable[[Move], Move]) -> None:
        self._accompanied = accompanied
        self._connection = connection
        self.fetch = connection.fetch

    async def apply(self, move: Move) -> bool:
        return await self._connection.apply(self._accompanied(move))

    async def claim(self, move: Move) -> Record | None:
        return await self._connection.claim(self._accompanied(move))


def _is_gone(error: StorageError) -> bool:
    return isinstance(error, StorageUnavailableError) and not isinstance(error, StorageContendedError)


def _fail(items: Iterable[_Waiting], error: StorageError) -> None:
    for item in items:
        _settle(item, Done(error=error))


def _settle(item: _Waiting, done: Done) -> None:
    if item.done.done():  # the caller went away; what was written stays written
        return
    if done.error is not None:
        item.done.set_exception(done.error)
    else:
        item.done.set_result(done.value)
