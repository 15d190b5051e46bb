"""What SQLite and PostgreSQL each bring to the one ``Database``."""

from __future__ import annotations

from collections.abc import Collection, Coroutine, Sequence
from typing import Any, Protocol

from gateway.storage.unit import Move, Record, Unit
from gateway.storage.wakes import Wakes
from gateway.value import Value


class Done(Value, frozen=True):
    """How one unit of a batch went: its value or the exception it raised itself, its notes and its wakes."""

    value: Any = None
    error: BaseException | None = None
    notes: Sequence[object] = ()
    wakes: Sequence[str] = ()


class Engine(Protocol):
    """Writes units and reads rows."""

    async def open(self, wakes: Wakes) -> None:
        """Connect; what other nodes tell of reaches ``wakes``. Raises ``StorageError``."""
        ...

    async def close(self) -> None:
        """Disconnect."""
        ...

    def splits(self, moves: int) -> bool:
        """Whether so many moves of a batch are better begun by themselves than committed with its works."""
        ...

    def begin(self, moves: Sequence[Move]) -> Coroutine[Any, Any, list[Done]]:
        """Begin to write moves in a durable transaction after the one that is under way; it is awaited later.

        Asked only where it ``splits``. What is returned raises what ``commit`` does.
        """
        ...

    def commit(self, units: Sequence[Unit]) -> Coroutine[Any, Any, list[Done]]:
        """Write all units in one durable transaction.

        Raises ``StorageError`` if that failed as a whole; then nothing of it was kept.
        """
        ...

    async def fetch(self, sql: str, values: dict[str, Any]) -> list[Record]:
        """Read committed rows."""
        ...

    async def look(self, sql: str, values: dict[str, Any]) -> list[Record]:
        """Read a few committed rows that are found by their keys."""
        ...

    def tell(self, topics: Collection[str]) -> None:
        """Wake these topics on the other nodes, as soon as that can be done; wait for nothing."""
        ...
