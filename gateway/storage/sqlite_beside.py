"""Writing beside a busy gateway: its batches go to a process of their own, on another core.

Under load a quarter of the time of the one core that Python uses went into SQLite's statements. A thread is no way out:
for each of them it would have to win the interpreter's lock back. So long batches of moves are handed to
``sqlite_child``; short ones are written here, where nothing is waited for but the disk.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from gateway.storage.absence import Absence
from gateway.storage.sqlite_child import UNSYNCED, Answer, Fault
from gateway.storage.sqlite_file import SETTINGS, translated
from gateway.storage.sqlite_pipe import Pipe
from gateway.storage.statement import Statement
from gateway.storage.unit import Move, StorageError, StorageInterruptedError

_log = logging.getLogger(__name__)

#: Moves in a batch from which on they are handed over, which costs this process some 75 µs a batch and 4 a move, by a
#: profile under load; to write them here costs 60 to 70 a move.
ENOUGH: Final = 8
#: Seconds after a long batch was written there for which short ones are handed over too. Written here, the first of 32
#: callers held up the rest: while this process writes, no other batch can be begun, and then all of them came in one.
BUSY: Final = 0.02
#: Seconds a batch may take, of which it may wait ``busy_timeout`` for another process: the last resort against one that
#: was stopped.
TIMEOUT: Final = 20.0
#: Seconds a process may take to end when its input does.
CLOSE_TIMEOUT: Final = 5.0
#: Seconds after a process ended or failed, and after one could not be started, in which no other is.
PAUSE: Final = 1.0
LONG_PAUSE: Final = 60.0

#: The program, as Python is told it: not to import what lies in the working directory (``-P``).
PROGRAM: Sequence[str] = ("-P", "-m", "gateway.storage.sqlite_child")
#: KiB of pages it keeps: 70,000 accepts in a row were as many with 4 MiB as with 16 (5,658 and 5,656 a second).
CACHE: Final = 4 * 1024
#: What is set there on top: its commits do not wait for the disk, for it does so itself before it answers
#: (``sqlite_answers``). A checkpoint still does, and nothing is ever torn (sqlite.org/pragma.html#pragma_synchronous).
THERE: Final = (f"cache_size={-CACHE}", "synchronous=NORMAL")
#: What this project's own variables begin with: secrets may be among them, and the other process needs none.
_OURS: Final = "OTP_GATEWAY_"
#: Where this package lies, which the other process is told: it is not in every installation where Python looks.
_HOME: Final = str(Path(__file__).parents[2])
#: What is told of a batch during which the process ended.
ENDED: Final = "SQLite: the process that writes beside this one ended; whether its last batch was kept is not known"


def environment(ours: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that the other process is given: ``ours`` less this project's, for it knows no secret."""
    given = {name: value for name, value in ours.items() if not name.startswith(_OURS)}
    given["PYTHONPATH"] = os.pathsep.join(filter(None, (_HOME, given.get("PYTHONPATH"))))
    return given


def several_cores() -> bool:
    """Whether there is a core to write on beside the one that Python uses."""
    return len(os.sched_getaffinity(0)) > 1 if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1) > 1


class Flight(NamedTuple):
    """A batch on its way."""

    pipe: Pipe
    answer: asyncio.Future[Answer | None]


class Beside:
    """Hands long batches to a process that is started at the first of them. ``busy_timeout`` is in seconds.

    While ``absence`` says that the database is away, nothing is told of processes that cannot open it.
    """

    def __init__(
        self, path: Path, busy_timeout: float, *, timeout: float = TIMEOUT, absence: Absence | None = None
    ) -> None:
        # Its log lies beside the file that is meant.
        self._path = path.resolve()
        self._busy_timeout = busy_timeout
        self._absence = absence
        #: Whether a sync failed there: what it committed last stands in the log and may not be on the disk. Whatever is
        #: written behind it would be lost with it, however well that is synced; so nothing is before the log is copied.
        self.unsynced = False
        #: Seconds a batch may take, seconds without a process after one ended, and seconds for which any batch is handed
        #: over after one was.
        self.timeout, self.pause, self.busy = timeout, PAUSE, BUSY
        self._pipe: Pipe | None = None
        self._starting: asyncio.Task[None] | None = None
        #: Until when, in the loop's time, none is started.
        self.patient_until = 0.0
        #: Until when, in the loop's time, short batches are handed over too.
        self._busy_until = 0.0
        self._numbers: dict[Statement, int] = {}
        self._encode = msgspec.msgpack.Encoder().encode

    @property
    def process(self) -> int | None:
        """The number of the process that writes, if one does."""
        return None if self._pipe is None else self._pipe.pid

    @property
    def under_way(self) -> int:
        """How many batches it was given and has not written."""
        return 0 if self._pipe is None else self._pipe.asked

    def takes(self, moves: int) -> bool:
        """Whether so many moves are to be handed over now. The first time that they would be, a process is started."""
        if moves < ENOUGH and not (moves and asyncio.get_running_loop().time() < self._busy_until):
            return False
        if self.unsynced:
            return False
        if self._pipe is not None and not self._pipe.alive:
            # It ended while nothing was written.
            self._pipe = None
        if self._pipe is None and self._starting is None and asyncio.get_running_loop().time() >= self.patient_until:
            self._starting = asyncio.create_task(self._start(), name="storage beside")
        return self._pipe is not None

    async def started(self) -> bool:
        """Wait for a process that is being started; return whether one writes."""
        if self._starting is not None:
            await asyncio.gather(self._starting, return_exceptions=True)
        return self._pipe is not None

    def send(self, moves: Sequence[Move]) -> Flight:
        """Hand moves over, to be written in one durable transaction after those that were handed over before.

        Raises what MessagePack does of a value that it cannot hold.
        """
        assert self._pipe is not None, "ask whether it takes them"
        return Flight(self._pipe, self._pipe.send(self._framed(moves)))

    async def landed(self, flight: Flight) -> list[Any]:
        """Wait until moves that were handed over are written; return what ``write_moves`` does.

        Raises ``StorageError``; then nothing was kept, unless the process ended meanwhile.
        """
        answer = await self._answered(flight)
        if len(answer.held) >= ENOUGH:
            # Not after a short one, else it would never end: at 50 batches a second and more each puts off the end.
            self._busy_until = asyncio.get_running_loop().time() + self.busy
        error = None if answer.fault is None else raised(answer.fault)
        if error is not None and not isinstance(error, sqlite3.IntegrityError | StorageError):
            # Locked, full, exchanged, or stuck in its transaction: only a new connection finds out which is over.
            self._forget(flight.pipe)
        if flight.pipe is not self._pipe and not flight.pipe.asked:
            await flight.pipe.kill()
        if error is None:
            return answer.held
        if isinstance(error, StorageError):
            raise error
        raise translated(error) from None

    async def close(self) -> None:
        """End the process, once what it writes is written."""
        await self.started()
        if self._pipe is not None:
            pipe, self._pipe = self._pipe, None
            pipe.finish()
            try:
                async with asyncio.timeout(min(CLOSE_TIMEOUT, self.timeout)):
                    await pipe.ended()
            except TimeoutError:
                # It was stopped, and would hold up our own end. Nothing is under way that anybody waits for.
                await pipe.kill()

    async def _start(self) -> None:
        pipe = None
        try:
            pipe = await Pipe.start((sys.executable, *PROGRAM), environment(os.environ))
            opening = pipe.send(self._encode([str(self._path), self._busy_timeout, [*SETTINGS, *THERE]]))
            _raise_fault(await self._answered(Flight(pipe, opening)))
        except (OSError, sqlite3.Error, StorageError) as error:
            # Nothing is lost by it but speed.
            level = logging.DEBUG if self._absence is not None and self._absence.away else logging.WARNING
            _log.log(level, "no process to write beside this one could be started: %s", error)
            self.patient_until = asyncio.get_running_loop().time() + LONG_PAUSE
            if pipe is not None:
                await pipe.kill()
        except BaseException:
            if pipe is not None:
                await pipe.kill()
            raise
        else:
            self._numbers = {}
            self._pipe = pipe
            _log.info("a process of its own (%d) writes long batches from now on", pipe.pid)
        finally:
            self._starting = None

    def _framed(self, moves: Sequence[Move]) -> bytes:
        numbers, told = self._numbers, len(self._numbers)

        def number(statement: Statement) -> int:
            return numbers.setdefault(statement, len(numbers))

        plain = [
            (
                [(number(item.statement), item.row, (number(item.undo[0]), item.undo[1])) for item in move.first],
                None if move.guard is None else (number(move.guard[0]), move.guard[1]),
                [(number(statement), row) for statement, row in move.then],
            )
            for move in moves
        ]
        fresh = list(numbers)[told:]
        try:
            return self._encode(([statement.sqlite for statement in fresh], plain))
        except Exception:
            # A value that MessagePack cannot hold. What was not told has no number yet.
            for statement in fresh:
                del numbers[statement]
            raise

    async def _answered(self, flight: Flight) -> Answer:
        pipe, answer = flight
        try:
            if not answer.done():
                async with asyncio.timeout(self.timeout):
                    await answer
        except BaseException as error:
            # Stopped, or stuck: with the process its transaction ends.
            await self._end(pipe)
            if isinstance(error, TimeoutError):
                raise StorageInterruptedError(ENDED) from None
            raise
        if (found := answer.result()) is not None:
            return found
        await self._end(pipe)
        raise StorageInterruptedError(ENDED)

    async def _end(self, pipe: Pipe) -> None:
        self._forget(pipe)
        # Ended by us it may have waited for a disk that hung, whose sync then failed and nobody could be told.
        hung = pipe.alive
        await pipe.kill()
        self.unsynced |= hung or pipe.ended_with == UNSYNCED

    def _forget(self, pipe: Pipe) -> None:
        """Give a process nothing more to write."""
        # Under a fault that lasts, starting one after the other would take the core that the answers need.
        self.patient_until = asyncio.get_running_loop().time() + self.pause
        if pipe is self._pipe:
            self._pipe = None


def _raise_fault(answer: Answer) -> None:
    if answer.fault is not None:
        raise raised(answer.fault)


def raised(fault: Fault) -> BaseException:
    """Return the exception that the other process had."""
    if fault.kind == "MemoryError":
        return MemoryError(fault.text)
    if (kind := getattr(sqlite3, fault.kind, None)) is None:
        # Without a number it is no fault of the system: then a value is not SQLite's, and each move is tried alone.
        return StorageError(f"SQLite: {fault.kind}") if fault.code is None else OSError(fault.code, fault.text)
    error: sqlite3.Error = kind(fault.text)
    if fault.code is not None:
        error.sqlite_errorcode = fault.code
    return error
