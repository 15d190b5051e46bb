"""One ``Database``: writes are gathered and committed together, reads go beside them.

Whatever waits when the writer is free becomes one transaction with one fsync; while it commits, the next batch
gathers. So a busy gateway pays for an fsync per batch and an idle one waits for nobody. A unit that fails, fails
alone: the batch is rolled back and each unit is tried by itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
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
)
from gateway.value import Value

T = TypeVar("T")

_log = logging.getLogger(__name__)

#: Units in one transaction at most: bounds the time a single commit can hold everybody up (measured 20 µs a row).
MAX_BATCH = 500


class Done(Value, frozen=True):
    """How one unit of a batch went: its value or the exception it raised itself, and its notes."""

    value: Any = None
    error: BaseException | None = None
    notes: Sequence[object] = ()


class Engine(Protocol):
    """What SQLite and PostgreSQL each bring."""

    async def open(self) -> None:
        """Connect. Raises ``StorageUnavailableError``."""
        ...

    async def close(self) -> None:
        """Disconnect."""
        ...

    async def commit(self, units: Sequence[Unit]) -> list[Done]:
        """Write all units in one durable transaction.

        Raises ``StorageError`` if that failed as a whole; then nothing of it was kept.
        """
        ...

    async def fetch(self, sql: str, values: dict[str, Any]) -> list[Record]:
        """Read committed rows."""
        ...


@dataclass(slots=True, eq=False)
class _Waiting:
    unit: Unit
    done: asyncio.Future[Any]


class Database:
    """The store. Open it with ``async with``.

    ``on_commit`` is given the notes of each batch, in order, after it is durable.
    """

    def __init__(self, engine: Engine, *, on_commit: Callable[[Sequence[object]], None] = lambda _: None) -> None:
        self._engine = engine
        self._on_commit = on_commit
        self._waiting: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._closing = False
        #: Kept: to ask for the running loop is a system call each time.
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Self:
        await self._engine.open()
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
        """Write a move durably and return whether its guard held. Raises ``StorageError``."""
        return bool(await self._submit(move))

    async def run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run a work in a transaction and return its value once that is durable.

        Raises ``StorageError`` or what the work raised.
        """
        value: T = await self._submit(work)
        return value

    async def fetch(self, sql: str, /, **values: Any) -> list[Record]:
        """Read committed rows with ``:name`` values, beside the writer. Raises ``StorageError``."""
        return await self._engine.fetch(sql, values)

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
            if busy:
                # What is ready on the loop may write as well: one turn of it makes a batch nearly twice as long.
                await asyncio.sleep(0)
            batch = self._gather()
            busy = len(batch) > 1
            await self._write_batch(batch)

    def _gather(self) -> list[_Waiting]:
        """Take what waits, less what would write a row of this batch twice: that is for the next."""
        batch: list[_Waiting] = []
        later: list[_Waiting] = []
        seen: set[tuple[object, ...]] = set()
        while self._waiting and len(batch) < MAX_BATCH:
            item = self._waiting.popleft()
            identity = item.unit.identity if isinstance(item.unit, Move) else None
            if identity is not None and identity in seen:
                later.append(item)
                continue
            if identity is not None:
                seen.add(identity)
            batch.append(item)
        self._waiting.extendleft(reversed(later))
        return batch

    async def _write_batch(self, batch: list[_Waiting]) -> None:
        try:
            outcomes = await self._engine.commit([item.unit for item in batch])
        except Exception as error:  # noqa: BLE001 - a fault of ours must leave nobody waiting, nor end the writer
            await self._write_failed(batch, error)
            return
        except BaseException:
            for item in batch:
                _settle(item, Done(error=StorageUnavailableError("the storage writer was stopped")))
            raise
        self._hand_on([note for done in outcomes for note in done.notes])
        for item, done in zip(batch, outcomes, strict=True):
            _settle(item, done)

    async def _write_failed(self, batch: list[_Waiting], error: Exception) -> None:
        if not isinstance(error, StorageError):
            # By its type alone: its text may hold a value.
            error = StorageError(f"{type(error).__name__} in the storage writer")
        gone = isinstance(error, StorageUnavailableError) and not isinstance(error, StorageContendedError)
        if gone or len(batch) == 1:
            # Tried one by one, each unit would wait for the same lock, disk or server again.
            for item in batch:
                _settle(item, Done(error=error))
            return
        _log.warning("a batch of %d writes failed (%s); each is tried alone", len(batch), error)
        for item in batch:
            await self._write_batch([item])

    def _hand_on(self, notes: Sequence[object]) -> None:
        if not notes:
            return
        try:
            self._on_commit(notes)
        except Exception as error:  # noqa: BLE001 - what is committed stays acknowledged, whatever a log does
            _log.error("handing on %d committed events failed: %s", len(notes), type(error).__name__)


def _settle(item: _Waiting, done: Done) -> None:
    if item.done.done():  # the caller went away; what was written stays written
        return
    if done.error is not None:
        item.done.set_exception(done.error)
    else:
        item.done.set_result(done.value)
