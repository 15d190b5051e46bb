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
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.storage.sqlite_child import HEADER, Answer, Fault
from gateway.storage.sqlite_file import SETTINGS, translated
from gateway.storage.statement import Statement
from gateway.storage.unit import Move, StorageError, StorageUnavailableError

_log = logging.getLogger(__name__)

#: Moves in a batch from which on they are handed over, which costs this process some 75 µs a batch and 4 a move, by a
#: profile under load; to write them here costs 60 to 70 a move.
ENOUGH: Final = 8
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


class Beside:
    """Hands long batches to a process that is started at the first of them. ``busy_timeout`` is in seconds."""

    def __init__(self, path: Path, busy_timeout: float, *, timeout: float = TIMEOUT) -> None:
        self._path = path
        self._busy_timeout = busy_timeout
        #: Seconds a batch may take, and seconds without a process after one ended.
        self.timeout, self.pause = timeout, PAUSE
        self._process: Process | None = None
        self._starting: asyncio.Task[None] | None = None
        #: Until when, in the loop's time, none is started.
        self.patient_until = 0.0
        self._numbers: dict[Statement, int] = {}
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Answer).decode

    @property
    def process(self) -> int | None:
        """The number of the process that writes, if one does."""
        return None if self._process is None else self._process.pid

    def takes(self, moves: int) -> bool:
        """Whether so many moves are to be handed over now. The first time that they would be, a process is started."""
        if moves < ENOUGH:
            return False
        if self._process is not None and self._process.returncode is not None:
            # It ended while nothing was written.
            self._process = None
        if self._process is None and self._starting is None and asyncio.get_running_loop().time() >= self.patient_until:
            self._starting = asyncio.create_task(self._start(), name="storage beside")
        return self._process is not None

    async def started(self) -> bool:
        """Wait for a process that is being started; return whether one writes."""
        if self._starting is not None:
            await asyncio.gather(self._starting, return_exceptions=True)
        return self._process is not None

    async def write(self, moves: Sequence[Move]) -> list[Any]:
        """Write moves in one durable transaction; return what ``write_moves`` does.

        Raises ``StorageError``; then nothing was kept, unless the process ended meanwhile.
        """
        assert self._process is not None, "ask whether it takes them"
        frame = self._framed(moves)
        try:
            answer = await self._exchange(self._process, frame)
        except BaseException:
            # Stopped, or stuck: with the process its transaction ends.
            await self._drop()
            raise
        if answer.fault is None:
            return answer.held
        error = raised(answer.fault)
        if isinstance(error, StorageError):
            raise error
        if not isinstance(error, sqlite3.IntegrityError):
            # Locked, full, exchanged, or stuck in its transaction: only a new connection finds out which is over.
            await self._drop()
        raise translated(error) from None

    async def close(self) -> None:
        """End the process, once what it writes is written."""
        await self.started()
        if self._process is not None:
            process, self._process = self._process, None
            assert process.stdin is not None, "its input is ours"
            process.stdin.close()
            try:
                async with asyncio.timeout(min(CLOSE_TIMEOUT, self.timeout)):
                    await process.wait()
            except TimeoutError:
                # It was stopped, and would hold up our own end. Nothing is under way that anybody waits for.
                await _end(process)

    async def _start(self) -> None:
        process = None
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, *PROGRAM, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environment(os.environ)
            )
            opened = await self._exchange(process, self._encode([str(self._path), self._busy_timeout, SETTINGS]))
            _raise_fault(opened)
        except (OSError, sqlite3.Error, StorageError) as error:
            # Nothing is lost by it but speed.
            _log.warning("no process to write beside this one could be started: %s", error)
            self.patient_until = asyncio.get_running_loop().time() + LONG_PAUSE
            await _end(process)
        except BaseException:
            await _end(process)
            raise
        else:
            self._numbers = {}
            self._process = process
            _log.info("a process of its own (%d) writes long batches from now on", process.pid)
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

    async def _exchange(self, process: Process, frame: bytes) -> Answer:
        assert process.stdin is not None, "its input is ours"
        assert process.stdout is not None, "its output is ours"
        try:
            async with asyncio.timeout(self.timeout):
                process.stdin.write(len(frame).to_bytes(HEADER, "big") + frame)
                length = int.from_bytes(await process.stdout.readexactly(HEADER), "big")
                return self._decode(await process.stdout.readexactly(length))
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            raise StorageUnavailableError(ENDED) from None

    async def _drop(self) -> None:
        # Under a fault that lasts, starting one after the other would take the core that the answers need.
        self.patient_until = asyncio.get_running_loop().time() + self.pause
        process, self._process = self._process, None
        await _end(process)


async def _end(process: Process | None) -> None:
    """End a process that is stuck, gone or not wanted any more."""
    if process is None:
        return
    if process.returncode is None:
        process.kill()
    # It holds the database's lock until it is gone.
    await asyncio.shield(process.wait())


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
