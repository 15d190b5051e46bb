"""Which sealing keys the running nodes know: each tells so, by the ids, in a lease of its own.

A blob that is sealed by a key one of them does not know is lost to that node. So before a new key seals anything,
whoever would use it looks here whether every node has it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.clock import Clock
from gateway.errors import loudness
from gateway.rhythm import every
from gateway.storage.database import Database
from gateway.storage.statement import Statement
from gateway.storage.unit import Connection, Move, StorageError

_log = logging.getLogger(__name__)

#: Seconds between two tellings.
EVERY: Final = 20.0
#: Seconds a node counts as running after the latest: it may have missed one.
LIVES: Final = 60.0

_PREFIX: Final = "ring/"
#: What the names of those begin with that seal and are no nodes: nobody else lives by their time.
SEND: Final = "send/"
#: Sorts after every name that begins with the prefix.
_BEHIND: Final = "ring0"

_TELL = Statement(
    "lease.tell_ring",
    {"name": "text", "ids": "text", "until": "double precision"},
    """INSERT INTO lease (name, node, until) SELECT name, ids, until FROM r WHERE true
    ON CONFLICT (name) DO UPDATE SET node = excluded.node, until = excluded.until""",
)
#: Those of nodes that are gone. A lease's primary key is its name.
_FORGET = "DELETE FROM lease WHERE name >= :first AND name < :behind AND until <= :now RETURNING name"
_GIVE = "DELETE FROM lease WHERE name = :name RETURNING name"
_LIVE = """SELECT name, node FROM lease WHERE name >= :first AND name < :behind AND until > :now ORDER BY name"""


@dataclass(frozen=True, slots=True)
class Ring:
    """The keys one running node knows."""

    #: The node's name among the nodes.
    node: str
    #: Ids, the sealing key's first.
    ids: tuple[str, ...]


class Rings:
    """The rings of all nodes, seen from one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def tell(self, node: str, ids: Sequence[str], now: float) -> None:
        """Tell which keys a node has, and forget the nodes that are gone. Raises ``StorageError``."""

        async def work(connection: Connection) -> None:
            await connection.fetch(_FORGET, first=_PREFIX, behind=_BEHIND, now=now)
            await connection.apply(Move(None, [(_TELL, (f"{_PREFIX}{node}", ",".join(ids), now + LIVES))]))

        await self._database.run(work)

    async def telling(self, node: str, ids: Sequence[str], clock: Clock) -> None:
        """Tell which keys a node has until canceled; then take it back, for the node stops."""
        try:
            await every(EVERY, lambda: self.tell(node, ids, clock.now()))
        finally:
            try:
                await self.leave(node)
            except StorageError as error:
                _log.log(loudness(error), "the keys of this node are still told of: %s; that ends by itself", error)

    async def leave(self, node: str) -> None:
        """Take back what a node has told: it stops. Raises ``StorageError``."""
        await self._database.run(lambda connection: connection.fetch(_GIVE, name=f"{_PREFIX}{node}"))

    async def live(self, now: float) -> list[Ring]:
        """Return what the running nodes know. Raises ``StorageError``."""
        found = await self._database.fetch(_LIVE, first=_PREFIX, behind=_BEHIND, now=now)
        return [Ring(item["name"].removeprefix(_PREFIX), tuple(item["node"].split(","))) for item in found]
