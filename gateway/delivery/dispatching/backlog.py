"""The backlog: how much of what is due nobody has in memory, counted where a node cannot take it all."""

from __future__ import annotations

from typing import Final, Protocol

from gateway.storage.unit import Fetch

#: Messages counted at most. An index is read for it: what is longer than this is as good as endless.
MOST: Final = 20_000

_DUE = """SELECT count(*) AS number FROM (SELECT id FROM message WHERE status = 'queued' AND channel = :channel
    AND service = :service AND due_at <= :now LIMIT CAST(:most AS bigint)) AS due"""

#: Who sends by the channel just now. There are no more rows under way than the nodes have slots.
_SENDERS = """SELECT count(DISTINCT lease) AS number FROM message
    WHERE status = 'sending' AND due_at > :now AND channel = :channel"""


class Backlog(Protocol):
    """Counts what is due in the database."""

    async def due(self, channel: str, service: str, now: float, /) -> int:
        """Return how many messages are due and held by nobody. Raises ``StorageError``."""
        ...

    async def senders(self, channel: str, now: float, /) -> int:
        """Return how many nodes send by the channel. Raises ``StorageError``."""
        ...


class Counted:
    """The backlog by counting: ``fetch`` is the database's."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    async def due(self, channel: str, service: str, now: float, /) -> int:
        """Return how many messages are due and held by nobody, up to ``MOST``. Raises ``StorageError``."""
        found = await self._fetch(_DUE, channel=channel, service=service, now=now, most=MOST)
        return int(found[0]["number"])

    async def senders(self, channel: str, now: float, /) -> int:
        """Return how many nodes have a send of the channel under way. Raises ``StorageError``."""
        found = await self._fetch(_SENDERS, channel=channel, now=now)
        return int(found[0]["number"])


class Uncounted:
    """No backlog is known: for a node that keeps everything in memory."""

    async def due(self, channel: str, service: str, now: float, /) -> int:  # noqa: ARG002 - the signature of others
        """Return 0."""
        return 0

    async def senders(self, channel: str, now: float, /) -> int:  # noqa: ARG002 - the same
        """Return 1."""
        return 1
