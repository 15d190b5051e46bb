"""Units of work: what the database is asked to write, whole or not at all.

A ``Move`` is a value, and many moves of one kind are written by one statement. A *work* is a function of a
``Connection``, for what must read before it decides. Both may leave *notes* (events to be logged), which are
handed on only once the unit is committed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

from gateway.errors import GatewayError
from gateway.storage.statement import Row, Statement
from gateway.value import Value

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

#: One statement and one row for it.
Write = tuple[Statement, Row]
#: A statement and the key of a row that it writes.
Identity = tuple[object, ...]


class Record(Protocol):
    """A row that was read: values by column name."""

    def __getitem__(self, name: str, /) -> Any:
        """Return the column's value."""
        ...


class Guard(Value, frozen=True):
    """A guarded write that others follow: where one of those does not hold, ``undo`` takes it back."""

    statement: Statement
    row: Row
    undo: Write


class Move(Value, frozen=True):
    """A guarded write and what follows from it.

    ``guard`` writes a row only if the row is still in the status it leaves (or, without a guard, nothing is
    asked); ``then`` is written in the same transaction, and only if the guard held. ``first`` are guards that are
    asked before it, in order: all of them must hold, and where one does not, those before it are undone, so that a
    move leaves all of its trace or none. ``apart`` names guards of others, by statement and key, that must not be asked in
    the same batch: they read what is only written with ``then``, and that comes after every guard. ``wakes`` names what is due by it: topics of ``Database.wakes``, woken once
    it is durable, on this node and on the others.
    """

    guard: Write | None
    then: Sequence[Write] = ()
    notes: Sequence[object] = ()
    wakes: Sequence[str] = ()
    first: Sequence[Guard] = ()
    apart: Sequence[Identity] = ()

    @property
    def identities(self) -> list[Identity]:
        """What the guards write, and what is kept apart. A batch holds each once: a set statement cannot write it twice."""
        if self.guard is None:
            return []
        if not self.first:
            return [_identity(*self.guard), *self.apart]
        return [*(_identity(statement, row) for statement, row in self.guards), *self.apart]

    @property
    def guards(self) -> list[Write]:
        """Every guard, in the order they are asked."""
        asked = [(item.statement, item.row) for item in self.first]
        return asked if self.guard is None else [*asked, self.guard]


def _identity(statement: Statement, row: Row) -> Identity:
    return (statement, *[row[place] for place in statement.key])


class Fetch(Protocol):
    """Reads rows: beside the writer (``Database.fetch``) or within a transaction (``Connection.fetch``)."""

    def __call__(self, sql: str, /, **values: Any) -> Awaitable[list[Record]]:
        """Run one statement with ``:name`` values and return its rows."""
        ...


class Connection(Protocol):
    """A transaction in progress, given to a work."""

    async def fetch(self, sql: str, /, **values: Any) -> list[Record]:
        """Run one statement with ``:name`` values and return its rows."""
        ...

    async def apply(self, move: Move) -> bool:
        """Write a move; return whether its guards held."""
        ...

    async def claim(self, move: Move) -> Record | None:
        """Write a move; return the row its last guard wrote, or ``None`` where one did not hold."""
        ...


class Work(Protocol[T_co]):
    """A unit that reads before it decides. It may run twice, so it changes nothing outside the connection.

    An exception rolls back this work alone and reaches whoever asked for it.
    """

    def __call__(self, connection: Connection, /) -> Awaitable[T_co]:
        """Do the work."""
        ...


Unit = Move | Callable[[Connection], Awaitable[Any]]


class StorageError(GatewayError):
    """The database refused a statement: a fault of ours. Its text names the error's kind and no value."""


class StorageUnavailableError(StorageError):
    """The database cannot be written or read now: full, locked, gone.

    Nothing of the unit was kept, unless the connection broke while it was being committed: then nobody knows.
    """


class StorageContendedError(StorageUnavailableError):
    """Another transaction was in the way of one of the units; the database itself is well."""


class StorageInterruptedError(StorageUnavailableError):
    """Who wrote the unit ended amid it; the database itself may be well, and the next use of it shows."""


class StorageDamagedError(StorageUnavailableError):
    """The database's own file is damaged: nothing can be read or written until an operator acts."""
