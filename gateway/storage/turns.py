"""Whose turn it is: from when a recipient may be written to again, whichever node writes."""

from __future__ import annotations

from gateway.storage.database import Database
from gateway.storage.unit import Connection, Record

#: Seconds a turn is remembered after its time, longer than any gap between two sends to one recipient.
KEPT = 60.0
#: Turns forgotten in one transaction: never so many that a send waits for it.
BATCH = 500

_TAKE = """INSERT INTO turn (channel, hash, at) VALUES (:channel, :hash, :now)
    ON CONFLICT (channel, hash) DO UPDATE
    SET at = CASE WHEN turn.at + :gap > excluded.at THEN turn.at + :gap ELSE excluded.at END RETURNING at"""

# Asked again outside: on PostgreSQL one that was taken anew while this waited for its row is none of those any more.
_FORGET = """DELETE FROM turn WHERE at < :before AND (channel, hash) IN
    (SELECT channel, hash FROM turn WHERE at < :before ORDER BY at LIMIT :batch) RETURNING channel"""


class Turns:
    """The turns of every recipient, in the database that nodes share."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, channel: str, hash: bytes, gap: float, now: float) -> float:  # noqa: A002 - the column's name
        """Take the recipient's next turn and return from when the caller may send.

        Turns of one recipient are ``gap`` seconds apart, in the order they were asked for. One that is taken and not
        used delays the recipient's next by ``gap`` and nobody else. Raises ``StorageError``.
        """

        async def work(connection: Connection) -> float:
            [record] = await connection.fetch(_TAKE, channel=channel, hash=hash, gap=gap, now=now)
            return float(record["at"])

        return await self._database.run(work)

    async def forget(self, now: float) -> int:
        """Forget turns that hold up nobody any more and return how many: a batch of them, or 0 where none is left.

        Raises ``StorageError``.
        """
        before = now - KEPT

        async def work(connection: Connection) -> list[Record]:
            return await connection.fetch(_FORGET, before=before, batch=BATCH)

        return len(await self._database.run(work))
