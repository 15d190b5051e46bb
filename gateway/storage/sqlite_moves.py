"""Writing moves into SQLite, in whichever process: plain values in, what each guard wrote out.

Nothing of this package is imported here, for the process that writes beside us has no use for it (``sqlite_child``).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

#: What names a statement: the statement itself, or its number where the other process was told it.
S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)

_Row = Sequence[Any]

# Python asks every value that is not exactly a number or a string whether it adapts itself, and makes an exception to
# learn that it does not: 0.25 µs for a NULL and 0.45 for bytes, some 60 of them an accept. Answered at once, half of it.
sqlite3.register_adapter(bytes, bytes)
sqlite3.register_adapter(type(None), {None: None}.get)


class PlainGuard(Protocol[S_co]):
    """A guarded write that others follow."""

    @property
    def statement(self) -> S_co:
        """What is written."""
        ...

    @property
    def row(self) -> _Row:
        """Its values."""
        ...

    @property
    def undo(self) -> tuple[S_co, _Row]:
        """What takes it back."""
        ...


class PlainMove(Protocol[S_co]):
    """A guarded write and what follows from it."""

    @property
    def first(self) -> Sequence[PlainGuard[S_co]]:
        """Guards that are asked before the last one."""
        ...

    @property
    def guard(self) -> tuple[S_co, _Row] | None:
        """The last guard; without it, nothing is asked."""
        ...

    @property
    def then(self) -> Sequence[tuple[S_co, _Row]]:
        """What is written if all of them held."""
        ...


def write_moves(connection: sqlite3.Connection, moves: Sequence[PlainMove[S]], text: Callable[[S], str]) -> list[Any]:
    """Write moves in the transaction that is open; ``text`` returns a statement's SQL.

    Returns for each the row that its last guard returned, ``True`` where it returns none or there is none, ``None``
    where a guard did not hold.
    Raises ``sqlite3.Error``.
    """
    held = []
    follow: dict[S, list[_Row]] = {}
    for move in moves:
        row = write_guards(connection, move, text)
        held.append(row)
        if row:
            for statement, values in move.then:
                follow.setdefault(statement, []).append(values)
    for statement, rows in follow.items():
        connection.executemany(text(statement), rows)
    return held


def write_guards(connection: sqlite3.Connection, move: PlainMove[S], text: Callable[[S], str]) -> Any:
    """Write a move's guards; return what ``write_moves`` does of each."""
    if move.guard is None:
        return True
    for place, item in enumerate(move.first):
        if not _written(connection.execute(text(item.statement), item.row)):
            _undo(connection, move.first[:place], text)
            return None
    statement, row = move.guard
    if found := _written(connection.execute(text(statement), row)):
        return found
    _undo(connection, move.first, text)
    return None


def _written(cursor: sqlite3.Cursor) -> Any:
    """Return the row that a guard returned, ``True`` where it returns none, ``None`` if it wrote nothing."""
    if cursor.description is None:
        return True if cursor.rowcount else None
    return next(iter(cursor.fetchall()), None)


def _undo(connection: sqlite3.Connection, held: Sequence[PlainGuard[S]], text: Callable[[S], str]) -> None:
    for item in reversed(held):
        statement, row = item.undo
        connection.execute(text(statement), row)
