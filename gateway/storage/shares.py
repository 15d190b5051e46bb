"""A channel's rate, shared by all nodes: each leases a part of it, and the parts never add up to more."""

from __future__ import annotations

from gateway.storage.database import Database
from gateway.storage.unit import Connection

#: Seconds a share is leased for. Who was not told anew by then sends nothing: another node may have it.
LEASE = 6.0
#: Seconds after which a node renews its share: two renewals may fail before it lapses.
RENEWAL = 2.0

# The row of no node is the channel's lock: nodes reckon one after the other, each with what the one before left. It also
# holds the lowest rate that a live node was configured with: while they differ, a part of each one's own rate would
# leave nothing to the nodes with the lower one for as long as that lasts.
_LOCK = """INSERT INTO share (channel, node, amount, until) VALUES (:channel, '', :rate, :until)
    ON CONFLICT (channel, node) DO UPDATE SET
        amount = CASE WHEN share.until > :now AND share.amount < excluded.amount THEN share.amount
            ELSE excluded.amount END,
        until = CASE WHEN share.until > :now AND share.amount < excluded.amount THEN share.until
            ELSE excluded.until END
    RETURNING amount"""

_FORGET = "DELETE FROM share WHERE channel = :channel AND node <> '' AND until <= :now RETURNING node"

_OTHERS = """SELECT count(*) AS nodes, COALESCE(sum(amount), 0.0) AS taken
    FROM share WHERE channel = :channel AND node <> '' AND node <> :node"""

_TAKE = """INSERT INTO share (channel, node, amount, until) VALUES (:channel, :node, :amount, :until)
    ON CONFLICT (channel, node) DO UPDATE SET amount = excluded.amount, until = excluded.until RETURNING node"""

_GIVE = "DELETE FROM share WHERE channel = :channel AND node = :node RETURNING node"


class Shares:
    """One node's view of the shares. ``node`` is any text of its own but an empty one."""

    def __init__(self, database: Database, node: str) -> None:
        self._database = database
        self._node = node

    async def take(self, channel: str, rate: float, now: float) -> float:
        """Take or renew this node's part of ``rate`` starts per second and return it; it holds ``LEASE`` seconds.

        Where nodes are configured with different rates the lowest holds.
        A node that comes gets what is free, which may be nothing until the others renew: then all have equal parts.
        Raises ``StorageError``.
        """

        async def work(connection: Connection) -> float:
            [lock] = await connection.fetch(_LOCK, channel=channel, rate=rate, now=now, until=now + LEASE)
            least = float(lock["amount"])
            await connection.fetch(_FORGET, channel=channel, now=now)
            [others] = await connection.fetch(_OTHERS, channel=channel, node=self._node)
            amount = max(0.0, min(least / (int(others["nodes"]) + 1), least - float(others["taken"])))
            await connection.fetch(_TAKE, channel=channel, node=self._node, amount=amount, until=now + LEASE)
            return amount

        return await self._database.run(work)

    async def give(self, channel: str) -> None:
        """Give the share back, so that the others need not wait for its end. Raises ``StorageError``."""
        await self._database.run(lambda connection: connection.fetch(_GIVE, channel=channel, node=self._node))
