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


class Record(Protocol):
    """A row that was read: values by column name."""

    def __getitem__(self, name: str, /) -> Any:
        """Return the column's value."""
        ...


class Move(Value, frozen=True):
    """A guarded write and what follows from it.

    ``guard`` writes a row only if the row is still in the status it leaves (or, without a guard, nothing is
    asked); ``then`` is written in the same transaction, and only if the guard held. ``wakes`` names what is due
    by it: topics of ``Database.wakes``, woken once it is durable, on this node and on the others.
    """

    guard: Write | None
    then: Sequence[Write] = ()
    notes: Sequence[object] = ()
    wakes: Sequence[str] = ()

    @property
    def identity(self) -> tuple[object, ...] | None:
        """What the guard writes. A batch holds a row once: a set statement cannot write it twice."""
        if self.guard is None:
            return None
        statement, row = self.guard
        return (statement, *(row[place] for place in statement.key))


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
        """Write a move; return whether its guard held."""
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


class StorageDamagedError(StorageUnavailableError):
    """The database's own file is damaged: nothing can be read or written until an operator acts."""
