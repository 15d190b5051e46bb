"""Leases on what only one node may do at a time: poll a bot, sweep."""

from __future__ import annotations

from gateway.storage.database import Database
from gateway.storage.unit import Connection, Record

_TAKE = """INSERT INTO lease (name, node, until) VALUES (:name, :node, :until)
    ON CONFLICT (name) DO UPDATE SET node = excluded.node, until = excluded.until
    WHERE lease.node = excluded.node OR lease.until <= :now RETURNING name"""

_GIVE = "DELETE FROM lease WHERE name = :name AND node = :node RETURNING name"


class Leases:
    """One node's view of the leases."""

    def __init__(self, database: Database, node: str) -> None:
        self._database = database
        self._node = node

    async def take(self, name: str, now: float, seconds: float) -> bool:
        """Take or prolong a lease; return whether this node now holds it. Raises ``StorageError``."""

        async def work(connection: Connection) -> list[Record]:
            return await connection.fetch(_TAKE, name=name, node=self._node, until=now + seconds, now=now)

        return bool(await self._database.run(work))

    async def give(self, name: str) -> None:
        """Give a lease back, so that another node need not wait for its end. Raises ``StorageError``."""
        await self._database.run(lambda connection: connection.fetch(_GIVE, name=name, node=self._node))
