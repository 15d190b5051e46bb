"""Blocking: who blocks the bot cannot be written to, until they let it in again."""

from __future__ import annotations

from gateway.clock import Clock
from gateway.conversation import chats
from gateway.conversation import statements as sql
from gateway.conversation.turn import Turn
from gateway.events.event import EventName, event, recorded
from gateway.storage.database import Database
from gateway.storage.sealing import Hasher
from gateway.storage.unit import Connection, Record


async def block(connection: Connection, chat_hash: bytes, now: float) -> None:
    """Mark a chat, and all it is linked to, as blocked."""
    moved = await connection.fetch(sql.BLOCK_CHAT, chat_hash=chat_hash)
    await chats.block(connection, chat_hash, now)
    await _tell(connection, EventName.SUBSCRIBER_BLOCKED, moved, now)


async def unblock(turn: Turn) -> None:
    """Mark the chat, and all it is linked to, as one that can be written to: its person let the bot in, or wrote."""
    moved = await turn.connection.fetch(sql.UNBLOCK_CHAT, chat_hash=turn.chat_hash)
    if turn.known is not None and turn.known["blocked_at"] is not None:
        await chats.unblock(turn.connection, turn.chat_hash)
    await _tell(turn.connection, EventName.SUBSCRIBER_LINKED, moved, turn.now)


async def _tell(connection: Connection, name: EventName, moved: list[Record], now: float) -> None:
    events = [event(name, now, record["service"]) for record in moved]
    await connection.apply(recorded(None, [], events))


class Blocking:
    """Remembers which chats cannot be written to, by what sending to them says."""

    def __init__(self, database: Database, hasher: Hasher, clock: Clock) -> None:
        self._database = database
        self._hasher = hasher
        self._clock = clock

    async def mark(self, connection: Connection, address: str, now: float, /) -> None:
        """Mark the chat at ``address``, and all it is linked to, as blocked, within a transaction of the caller's."""
        await block(connection, self._hasher.hash(chats.CHAT, address), now)

    async def blocked(self, address: str) -> None:
        """Do the same in a transaction of its own. Raises ``StorageError``."""
        await self._database.run(lambda connection: self.mark(connection, address, self._clock.now()))
