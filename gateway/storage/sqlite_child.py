"""The process that writes beside a busy gateway: ``python -m gateway.storage.sqlite_child``.

It reads batches of moves from its standard input, writes each in one durable transaction and answers on its standard
output what the guards wrote. It decides nothing, knows no secret and keeps nothing; it ends when its input does, so it
never outlives who started it. It imports SQLite and msgspec alone: 15 MiB and 50 ms.

A frame is four bytes of length (big-endian) and MessagePack. The first one is ``Opening``, each other one a ``Batch``;
each is answered by an ``Answer``.
"""

from __future__ import annotations

import signal
import sqlite3
import sys
from typing import IO, Any

import msgspec

from gateway.storage.sqlite_moves import write_moves

#: Bytes of a frame's length.
HEADER = 4


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


def main(source: IO[bytes], sink: IO[bytes]) -> None:
    """Write what comes until nothing more does."""
    connection: sqlite3.Connection | None = None
    statements: list[str] = []
    decode = msgspec.msgpack.Decoder(Batch).decode
    encode = msgspec.msgpack.Encoder().encode
    while (frame := _read(source)) is not None:
        held: list[Any] = []
        try:
            if connection is None:
                connection = _opened(msgspec.msgpack.decode(frame, type=Opening))
            else:
                batch = decode(frame)
                statements += batch.statements
                held = _written(connection, batch.moves, statements)
            answer = Answer(held)
        except Exception as error:  # noqa: BLE001 - a value SQLite cannot hold, say: its batch fails, this process goes on
            answer = Answer([], fault_of(error))
        told = encode(answer)
        sink.write(len(told).to_bytes(HEADER, "big") + told)
        sink.flush()


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


def _written(connection: sqlite3.Connection, moves: list[Move], statements: list[str]) -> list[Any]:
    try:
        connection.execute("BEGIN IMMEDIATE")
        held = write_moves(connection, moves, statements.__getitem__)
        connection.execute("COMMIT")
    except BaseException:
        # After a full disk or an I/O error SQLite may have rolled back by itself.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return held


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
    main(sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    run()
