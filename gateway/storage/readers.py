"""The connections a PostgreSQL database is read by: a few, each used by one look-up at a time.

The driver's own pool would reset a connection after every look-up, which costs a round trip, and would wait for a
server that hangs without an end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from gateway.storage.connecting import STATEMENT_TIMEOUT, Connected, is_lost, is_sound

#: Connections for reading.
READERS = 4


class Readers:
    """Up to ``size`` connections, made when they are needed. ``connect`` makes one."""

    def __init__(self, connect: Callable[[], Awaitable[Connected]], size: int = READERS) -> None:
        self._connect = connect
        self._slots = asyncio.Semaphore(size)
        self._idle: list[Connected] = []
        #: How often ``drop`` was called: what was taken before is not used again.
        self._dropped = 0

    async def open(self) -> None:
        """Make the first connection. Raises one of ``FAILURES``."""
        self._idle.append(await self._connect())

    async def close(self, seconds: float) -> None:
        """End every connection, once nothing is read any more: politely, and after ``seconds`` in any case."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(connection.close(timeout=seconds) for connection in idle), return_exceptions=True)

    def drop(self) -> None:
        """End every connection, the busy ones after their look-up: the server is not the one to ask any more."""
        self._dropped += 1
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.terminate()

    async def fetch(self, sql: str, arguments: Sequence[Any]) -> list[Any]:
        """Read rows. Raises one of ``FAILURES``."""
        if self._slots.locked():
            async with asyncio.timeout(STATEMENT_TIMEOUT):
                await self._slots.acquire()
        else:
            await self._slots.acquire()
        try:
            try:
                return await self._read(sql, arguments)
            except Exception as error:
                if not is_lost(error):
                    raise
            # An idle connection that the server has ended is found out by its next use, and the others with it;
            # reading twice is harmless.
            self.drop()
            return await self._read(sql, arguments)
        finally:
            self._slots.release()

    async def _read(self, sql: str, arguments: Sequence[Any]) -> list[Any]:
        dropped = self._dropped
        connection = self._taken() or await self._connect()
        try:
            found = await connection.fetch(sql, *arguments)
        except BaseException as error:
            self._put_back(connection, sound=is_sound(connection, error) and dropped == self._dropped)
            raise
        self._put_back(connection, sound=dropped == self._dropped)
        return found

    def _taken(self) -> Connected | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return None

    def _put_back(self, connection: Connected, *, sound: bool) -> None:
        if sound:
            self._idle.append(connection)
        else:
            connection.terminate()
