"""Pauses: how long a provider asked us to wait. Every node obeys, also one that starts in the meantime."""

from __future__ import annotations

from gateway.storage import models
from gateway.storage.database import Database
from gateway.storage.statement import insert_into
from gateway.storage.unit import Move

# A pause is made longer and never shorter: of two answers the stricter one holds.
_PUT = insert_into(
    models.Pause,
    conflict="ON CONFLICT (channel) DO UPDATE SET until = excluded.until WHERE pause.until < excluded.until",
    key=("channel",),
)


def topic(channel: str) -> str:
    """Return what is woken when a channel's pause was made longer."""
    return f"pause.{channel}"


class Pauses:
    """The pauses of the channels."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, channel: str, until: float, now: float) -> None:
        """Have no node send by the channel before ``until``, and wake them all. Raises ``StorageError``."""
        if until > now:
            await self._database.write(Move((_PUT, (channel, until)), wakes=(topic(channel),)))

    async def until(self, channel: str) -> float:
        """Return until when nobody may send, as seconds since the Unix epoch; 0 if never told. Raises ``StorageError``.

        Read it at start and whenever ``topic(channel)`` is woken.
        """
        found = await self._database.fetch("SELECT until FROM pause WHERE channel = :channel", channel=channel)
        return float(found[0]["until"]) if found else 0.0
