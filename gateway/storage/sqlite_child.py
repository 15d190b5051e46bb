"""The process that writes beside a busy gateway: ``python -m gateway.storage.sqlite_child``.

It reads batches of moves from its standard input, writes each in one transaction and answers on its standard output what
the guards wrote, once that is on the disk. It decides nothing, knows no secret and keeps nothing; it ends when its input does, so it
never outlives who started it. It imports SQLite and msgspec alone: 15 MiB and 50 ms.

A frame is four bytes of length (big-endian) and MessagePack. The first one is ``Opening``, each other one a ``Batch``;
each is answered by an ``Answer``.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from typing import IO, Any

import msgspec

from gateway.storage.sqlite_answers import Answers
from gateway.storage.sqlite_checkpoints import Checkpoints
from gateway.storage.sqlite_moves import write_moves

#: Bytes of a frame's length.
HEADER = 4
#: What this process ends with where a sync failed: its commits stand in the log, and may not be on the disk.
UNSYNCED = 3

_encode = msgspec.msgpack.Encoder().encode


class Opening(msgspec.Struct, array_like=True):
    """The file, and how it is opened."""

    path: str
    #: Seconds to wait for another process's transaction.
    busy_timeout: float
    settings: list[str]


class Guard(msgspec.Struct, array_like=True):
    """A guarded write that others follow. Statements are named by their number."""

    statement: int
    row: list[Any]
    undo: tuple[int, list[Any]]


class Move(msgspec.Struct, array_like=True):
    """A guarded write and what follows from it."""

    first: list[Guard]
    guard: tuple[int, list[Any]] | None
    then: list[tuple[int, list[Any]]]


class Batch(msgspec.Struct, array_like=True):
    """Moves for one transaction, and the statements that were not told before, numbered on."""

    statements: list[str]
    moves: list[Move]


class Fault(msgspec.Struct, array_like=True):
    """Why nothing of a batch was kept."""

    #: The exception's name, of ``sqlite3`` or of Python's own.
    kind: str
    #: What it says: SQLite's words, or the system's, in which no value is; empty of any other.
    text: str
    #: SQLite's extended result code, or the system's error number; ``None`` where there is none.
    code: int | None


class Answer(msgspec.Struct, array_like=True):
    """What the guards wrote: a row by column name, ``True`` where there was none, ``None`` where one did not hold."""

    held: list[Any]
    fault: Fault | None = None


class Writer:
    """A connection that writes batches. ``opening`` tells the file. Raises ``sqlite3.Error``."""

    def __init__(self, opening: Opening) -> None:
        self._connection = _opened(opening)
        self._checkpoints = Checkpoints(partial(_opened, opening))
        self._checkpoints.start()
        self._statements: list[str] = []

    def write(self, batch: Batch) -> list[Any]:
        """Write a batch in one transaction; return what its guards wrote, or raise and keep nothing of it."""
        self._statements += batch.statements
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            held = write_moves(connection, batch.moves, self._statements.__getitem__)
            connection.execute("COMMIT")
        except BaseException as error:
            # After a full disk or an I/O error SQLite may have rolled back by itself.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._checkpoints.failed(connection, error)
            raise
        return held

    def tidy(self) -> None:
        """Do what nobody waits for but the next batch."""
        self._checkpoints.wrote(self._connection)

    def close(self) -> None:
        """Disconnect."""
        self._checkpoints.close()
        self._connection.close()


def main(source: IO[bytes], sink: IO[bytes], end: Callable[[], object]) -> None:
    """Write what comes until nothing more does.

    ``end`` ends the process where it is not known whether what it wrote is kept. Raises what decoding a frame does.
    """
    if (frame := _read(source)) is None:
        return
    opening = msgspec.msgpack.decode(frame, type=Opening)
    with ExitStack() as ends:
        writer, fault = _begun(opening)
        if writer is not None:
            ends.callback(writer.close)
        # Closed first: with the last connection SQLite takes the log away.
        answers = ends.enter_context(closing(Answers(sink, f"{opening.path}-wal", end)))
        answers.tell(_framed(Answer([], fault)), written=False)
        if writer is not None:
            _write_all(source, writer, answers)


def _begun(opening: Opening) -> tuple[Writer | None, Fault | None]:
    try:
        return Writer(opening), None
    except sqlite3.Error as error:
        return None, fault_of(error)


def _write_all(source: IO[bytes], writer: Writer, answers: Answers) -> None:
    decode = msgspec.msgpack.Decoder(Batch).decode
    while (frame := _read(source)) is not None:
        # Outside: without the statements that an unreadable frame told, the numbers of the next ones mean others. Then
        # this process ends.
        batch = decode(frame)
        try:
            answer = Answer(writer.write(batch))
        except Exception as error:  # noqa: BLE001 - a value SQLite cannot hold, say: its batch fails, this process goes on
            answer = Answer([], fault_of(error))
        answers.tell(_framed(answer), written=answer.fault is None)
        writer.tidy()


def _framed(answer: Answer) -> bytes:
    told = _encode(answer)
    return len(told).to_bytes(HEADER, "big") + told


def _read(source: IO[bytes]) -> bytes | None:
    header = source.read(HEADER)
    length = int.from_bytes(header, "big")
    frame = source.read(length) if len(header) == HEADER else b""
    # Who started us is gone, perhaps in the middle of a frame: nobody waits for an answer.
    return frame if frame and len(frame) == length else None


def _opened(opening: Opening) -> sqlite3.Connection:
    connection = sqlite3.connect(
        opening.path, timeout=opening.busy_timeout, isolation_level=None, cached_statements=256
    )
    connection.row_factory = _by_name
    for setting in opening.settings:
        connection.execute(f"PRAGMA {setting}").fetchall()
    return connection


def _by_name(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> dict[str, Any]:
    return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}


def fault_of(error: BaseException) -> Fault:
    """Return an exception as it is told."""
    code = error.errno if isinstance(error, OSError) else getattr(error, "sqlite_errorcode", None)
    text = error.strerror if isinstance(error, OSError) else ""
    if isinstance(error, sqlite3.Error):
        # What others say may hold a value.
        text = str(error)
    return Fault(type(error).__name__, text or "", code)


def run() -> None:
    """Be the program."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # A terminal and a service manager tell every process of a group; ours ends when who writes through it has.
        signal.signal(number, signal.SIG_IGN)
    main(sys.stdin.buffer, sys.stdout.buffer, partial(os._exit, UNSYNCED))


if __name__ == "__main__":
    run()
