"""One ``Database``: writes are gathered and committed together, reads go beside them.

Whatever waits when the writer is free becomes one transaction with one fsync; while it commits, the next batch
gathers. So a busy gateway pays for an fsync per batch and an idle one waits for nobody. A unit that is heavy is written
alone (``line``). A unit that fails, fails alone: the batch is rolled back and each unit is tried by itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from gateway.storage.absence import Absence
from gateway.storage.engine import Done, Engine
from gateway.storage.line import Line, Waiting
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

T = TypeVar("T")

#: What is written alongside a move, from its notes.
Alongside = Callable[[Sequence[object]], Sequence[Write]]

_log = logging.getLogger(__name__)

_STOPPED = "the storage writer was stopped"

#: Moves that wait from which on they are written at once, beside a batch that is under way, where the engine can.
#: Otherwise 32 callers wait for one batch and then the writer for 32 callers, in turns, and of two cores one idles
#: (decision 28 has the figures).
AT_ONCE = 16
#: Batches under way at once: one that is written, one that is there when it is, and two that wait for a slow disk: with
#: 4 ms longer a sync, 256 callers were answered 0.78 times as often by two, 0.97 times by four.
UNDER_WAY = 4
#: Seconds for trying the units of a failed batch one by one, before the rest fails too: each may wait for a lock.
ALONE = 10.0
#: Seconds after which a failed commit has kept everybody waiting long enough: who waits behind it fails with it.
LONG = 1.0


@dataclass(slots=True, eq=False)
class _Begun:
    batch: list[Waiting]
    outcomes: Coroutine[Any, Any, list[Done]]
    #: When, in the loop's time.
    at: float


class Database:
    """The store. Open it with ``async with``.

    ``on_commit`` is given the notes of each batch, in order, after it is durable. ``alongside`` is given the notes of
    a move before it is tried, and what it returns is written in the same transaction if the guard held (then
    ``alongside_wakes`` are woken as well); it must change nothing, and what it raises undoes the move. ``absence`` is told
    how each use of the database went; without one nobody logs that it is away.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        on_commit: Callable[[Sequence[object]], None] = lambda _: None,
        alongside: Alongside | None = None,
        alongside_wakes: Sequence[str] = (),
        absence: Absence | None = None,
    ) -> None:
        self._engine = engine
        self._on_commit = on_commit
        self._alongside = alongside
        self._alongside_wakes = tuple(alongside_wakes)
        self._absence = absence
        self._line = Line()
        #: What is written by the engine while others gather, in order; not while a batch is committed here.
        self._begun: deque[_Begun] = deque()
        self._committing = False
        #: Whether the last batch was of more than one.
        self._busy = False
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
        return len(self._line)

    @property
    def away(self) -> bool:
        """Whether it is known to be away; without an ``absence`` nobody knows."""
        return self._absence is not None and self._absence.away

    async def write(self, move: Move, *, weight: int = 1) -> bool:
        """Write a move durably and return whether its guards held; for ``weight`` see ``run``. Raises ``StorageError``."""
        return bool(await self.submit(move, weight=weight))

    def submit(self, move: Move, *, weight: int = 1) -> asyncio.Future[Any]:
        """Hand in a move for the next batch; what is returned is done once it is durable, and true if its guards held.

        Raises ``StorageError`` while the database is closing; else the future does.
        """
        if self._alongside is not None:
            move = self._accompanied(move)
        return self._submit(move, weight)

    async def claim(self, move: Move) -> Record | None:
        """Write a move durably and return the row its last guard wrote; ``None`` where a guard did not hold.

        A guard whose statement returns nothing but its key returns no row that can be read: it is true, and no more.
        Raises ``StorageError``.
        """
        assert move.guard is not None, "without a guard there is no row to return"
        row: Record | None = await self.submit(move)
        return row

    async def run(self, work: Callable[[Connection], Awaitable[T]], *, weight: int = 1) -> T:
        """Run a work in a transaction and return its value once that is durable.

        ``weight`` tells how many usual works, of some five statements each, it does as much as: one that does the same for
        each of many rows tells how many there are. Raises ``StorageError`` or what the work raised.
        """
        if self._alongside is not None:
            work = self._accompanied_work(work)
        value: T = await self._submit(work, weight)
        return value

    async def fetch(self, sql: str, /, **values: Any) -> list[Record]:
        """Read committed rows with ``:name`` values, beside the writer. Raises ``StorageError``."""
        reading = self._engine.fetch(sql, values)
        return await (reading if self._absence is None else self._absence.watched("read", reading))

    async def look(self, sql: str, /, **values: Any) -> list[Record]:
        """Read a few committed rows that are found by their keys, the cheapest way there is. Raises ``StorageError``."""
        reading = self._engine.look(sql, values)
        return await (reading if self._absence is None else self._absence.watched("read", reading))

    def _accompanied(self, move: Move) -> Move:
        assert self._alongside is not None
        writes = self._alongside(move.notes) if move.notes else ()
        if not writes:
            return move
        wakes = (*move.wakes, *self._alongside_wakes)
        return Move(move.guard, (*move.then, *writes), move.notes, wakes, move.first, move.apart)

    def _accompanied_work(self, work: Callable[[Connection], Awaitable[T]]) -> Callable[[Connection], Awaitable[T]]:
        return lambda connection: work(_Accompanied(connection, self._accompanied))

    def _submit(self, unit: Unit, weight: int) -> asyncio.Future[Any]:
        if self._closing:
            raise StorageUnavailableError("the database is closing")
        assert self._loop is not None, "the database is not open"
        done: asyncio.Future[Any] = self._loop.create_future()
        line = self._line
        line.add(Waiting(unit, done, weight))
        if len(line.light) >= AT_ONCE and len(self._begun) < UNDER_WAY:
            self._begin_at_once()
        self._wake.set()
        return done

    def _begin_at_once(self) -> None:
        assert self._loop is not None
        line = self._line
        # A work that waits is next: moves would come before it for as long as they came.
        if line.works or self._committing or (line.heavy and line.heavy_is_next(self._loop.time())):
            return
        if self._engine.splits(len(line.light)):
            self._begin(line.gather())

    def _begin(self, batch: list[Waiting]) -> None:
        assert self._loop is not None
        moves = [item.unit for item in batch if isinstance(item.unit, Move)]
        self._begun.append(_Begun(batch, self._engine.begin(moves), self._loop.time()))

    async def _write_batches(self) -> None:
        assert self._loop is not None
        line = self._line
        try:
            while line.light or line.heavy or self._begun or not self._closing:
                if self._begun:
                    await self._end_first()
                    if len(line.light) >= AT_ONCE:
                        self._begin_at_once()
                elif line.heavy and line.heavy_is_next(self._loop.time()):
                    await self._write_heavy()
                elif line.light:
                    await self._write_next()
                else:
                    self._wake.clear()
                    await self._wake.wait()
        except BaseException:
            for begun in self._begun:
                begun.outcomes.close()
                _fail(begun.batch, StorageUnavailableError(_STOPPED))
            raise

    async def _write_next(self) -> None:
        """Write what waits: what the engine splits off is begun, and its works follow once it has ended."""
        if self._busy and not self._engine.splits(len(self._line.light)):
            # What is ready on the loop may write as well: one turn of it makes a batch nearly twice as long. Not where
            # another process writes, which would wait for it: then callers and it would work in turns.
            await asyncio.sleep(0)
            if self._begun:
                return
        batch = self._line.gather()
        self._busy = len(batch) > 1
        moves = [item for item in batch if isinstance(item.unit, Move)]
        if not self._engine.splits(len(moves)):
            await self._write_here(batch)
            return
        self._begin(moves)
        if len(moves) < len(batch):
            self._committing = True
            await self._end_first()
            await self._write_here([item for item in batch if not isinstance(item.unit, Move)])

    async def _write_heavy(self) -> None:
        assert self._loop is not None
        began = self._loop.time()
        await self._write_here([self._line.take_heavy()])
        self._line.rest(began, self._loop.time())

    async def _write_here(self, batch: list[Waiting]) -> None:
        assert self._loop is not None
        self._committing = True
        await self._write_batch(batch, self._engine.commit([item.unit for item in batch]), self._loop.time())
        self._committing = False

    async def _end_first(self) -> None:
        begun = self._begun[0]
        try:
            await self._write_batch(begun.batch, begun.outcomes, begun.at)
        finally:
            self._begun.popleft()

    async def _write_batch(self, batch: list[Waiting], outcomes: Coroutine[Any, Any, list[Done]], begun: float) -> None:
        assert self._loop is not None
        error = await self._commit(batch, outcomes)
        if error is None:
            return
        if not _is_gone(error) and len(batch) > 1:
            # Whoever was in the way is no fault: several nodes write.
            level = logging.INFO if isinstance(error, StorageContendedError) else logging.WARNING
            _log.log(level, "a batch of %d writes failed (%s); each is tried alone", len(batch), error)
            committing, self._committing = self._committing, True
            await self._write_each(batch, begun)
            self._committing = committing
            return
        _fail(batch, error)
        if _is_gone(error) and self._loop.time() - begun >= LONG:
            # They have waited as long: each batch of them would wait for the same lock, disk or server again.
            _fail(self._line.clear(), error)

    async def _write_each(self, batch: list[Waiting], begun: float) -> None:
        assert self._loop is not None
        for place, item in enumerate(batch):
            error = await self._commit([item], self._engine.commit([item.unit]))
            if error is None:
                continue
            if _is_gone(error):
                _fail(batch[place:], error)
                return
            _fail([item], error)
            if self._loop.time() - begun >= ALONE:
                _fail(batch[place + 1 :], StorageContendedError("other transactions were in the way for too long"))
                return

    async def _commit(self, batch: list[Waiting], writing: Coroutine[Any, Any, list[Done]]) -> StorageError | None:
        """Wait until a batch is written and settle it; where that fails, settle nothing and return why."""
        try:
            outcomes = await (writing if self._absence is None else self._absence.watched("written", writing))
        except StorageError as error:
            return error
        except Exception as error:  # noqa: BLE001 - a fault of ours must leave nobody waiting, nor end the writer
            # By its type alone: its text may hold a value.
            return StorageError(f"{type(error).__name__} in the storage writer")
        except BaseException:
            _fail(batch, StorageUnavailableError(_STOPPED))
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


def _fail(items: Iterable[Waiting], error: StorageError) -> None:
    for item in items:
        _settle(item, Done(error=error))


def _settle(item: Waiting, done: Done) -> None:
    if item.done.done():  # the caller went away; what was written stays written
        return
    if done.error is not None:
        item.done.set_exception(done.error)
    else:
        item.done.set_result(done.value)
