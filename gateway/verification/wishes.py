"""What people have said in the chat since a route was written: asked before each later send of its code."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gateway.delivery.payload import Stop
from gateway.delivery.person import IsTheirs, Locked, Unwanted
from gateway.storage.sealing import Hasher
from gateway.storage.unit import Connection
from gateway.verification import statements as sql


class Wishes:
    """People's wishes, asked within a transaction of the caller's.

    ``chats`` are the channels whose addresses are chats with a bot; without any, nobody can refuse in one.
    """

    def __init__(self, hasher: Hasher, chats: Collection[str], locked: Locked, is_theirs: IsTheirs) -> None:
        self._hasher = hasher
        self._chats = chats
        self._locked = locked
        self._is_theirs = is_theirs

    async def against(
        self, connection: Connection, service: str, stops: Sequence[Stop], step: int, now: float
    ) -> Unwanted | None:
        """Return why a service's code is not to go to a step of its route, ``None`` where nothing was said against it."""
        if not self._chats:
            return None
        # Whoever is known by any of the addresses that were given: a lock is asked for all of them at the start, too.
        known_by = {each for stop in stops for each in (stop.hash, *stop.also)}
        hashes = sorted(map(bytes.fromhex, known_by))
        if await self._locked(connection.fetch, hashes, now, service):
            return Unwanted.LOCKED
        stop = stops[step]
        if stop.channel not in self._chats or stop.address is None:
            return None
        chat_hash = self._hasher.hash("chat", stop.address)
        if not await self._is_theirs(connection.fetch, chat_hash, bytes.fromhex(stop.hash), service):
            # The route was written at the start. Since then they may have moved to another chat, or have said stop.
            return Unwanted.MOVED
        return Unwanted.MUTED if await connection.fetch(sql.MUTED, chat_hash=chat_hash, service=service) else None
