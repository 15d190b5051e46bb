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


class Blocking:
    """Remembers which chats the bot that hands out links cannot write to, by what it hears and what sending says.

    ``bot`` is its channel's name, ``None`` where there is no bot. A chat has one address at every bot, and its person opens
    and blocks each by itself: of what another one meets nothing is remembered, or it would end the codes of this one.
    """

    def __init__(self, database: Database, hasher: Hasher, clock: Clock, bot: str | None) -> None:
        self._database = database
        self._hasher = hasher
        self._clock = clock
        self._bot = bot

    async def mark(self, connection: Connection, channel: str, address: str, now: float, /) -> None:
        """Mark the chat at ``address``, and all it is linked to, as blocked, within a transaction of the caller's."""
        if channel == self._bot:
            await _block(connection, self._hasher.hash(chats.CHAT, address), now)

    async def blocked(self, channel: str, address: str) -> None:
        """Do the same in a transaction of its own. Raises ``StorageError``."""
        await self._database.run(lambda connection: self.mark(connection, channel, address, self._clock.now()))

    async def block(self, turn: Turn) -> None:
        """Do the same for the chat of a turn: its person blocked the bot they are in."""
        if turn.channel == self._bot:
            await _block(turn.connection, turn.chat_hash, turn.now)

    async def unblock(self, turn: Turn) -> None:
        """Mark the chat, and all it is linked to, as one that can be written to: its person let the bot in, or wrote."""
        if turn.channel != self._bot:
            return
        moved = await turn.connection.fetch(sql.UNBLOCK_CHAT, chat_hash=turn.chat_hash)
        if turn.known is not None and turn.known["blocked_at"] is not None:
            await chats.unblock(turn.connection, turn.chat_hash)
        await _tell(turn.connection, EventName.SUBSCRIBER_LINKED, moved, turn.now)


async def _block(connection: Connection, chat_hash: bytes, now: float) -> None:
    moved = await connection.fetch(sql.BLOCK_CHAT, chat_hash=chat_hash)
    await chats.block(connection, chat_hash, now)
    await _tell(connection, EventName.SUBSCRIBER_BLOCKED, moved, now)


async def _tell(connection: Connection, name: EventName, moved: list[Record], now: float) -> None:
    events = [event(name, now, record["service"]) for record in moved]
    await connection.apply(recorded(None, [], events))
