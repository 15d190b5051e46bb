"""Connections that are kept for the next request: so many at once, the last one used first, none that has ended."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from channels.exchange import Connection
from channels.http_errors import ConnectError
from channels.reaching import Origin, Road

#: Seconds an idle connection is kept. Longer than most servers do, a request would meet a closed connection.
KEEPALIVE: Final = 30.0


class Pool:
    """The connections of one client: ``most`` in use at once, over all servers, and no more than that idle."""

    def __init__(self, road: Road, most: int, max_body: int, *, keepalive: float = KEEPALIVE) -> None:
        """``max_body`` is in bytes, ``keepalive`` in seconds."""
        self._road = road
        self._most = most
        self._max_body = max_body
        self._keepalive = keepalive
        self._loop = asyncio.get_running_loop()
        #: How many more may be in use, and who waits for one, who came first at the front.
        self._free = most
        self._waiting: deque[asyncio.Future[None]] = deque()
        #: Those in use, and the idle ones by where they lead, the last one used at the end.
        self._used: set[Connection] = set()
        self._idle: dict[Origin, list[Connection]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def kept(self, origin: Origin) -> Connection | None:
        """Return an idle connection to a server on which a request may be written now, if there is one and nobody waits.

        Whoever gets one gives it ``back``.
        """
        if not self._free or self._closed:
            return None
        connection = self._last(origin)
        if connection is not None:
            self._free -= 1
            self._used.add(connection)
        return connection

    async def made(self, origin: Origin, seconds: float) -> Connection:
        """Return a connection to a server within ``seconds``, a new one unless one comes back. Raises ``ConnectError``."""
        try:
            async with asyncio.timeout(seconds) as limit:
                await self._slot()
                try:
                    connection = self._last(origin) or await self._road.connected(origin, self._connection)
                except BaseException:
                    self._release()
                    raise
        except TimeoutError:
            if not limit.expired():
                raise
            raise ConnectError("ConnectionTimeoutError", timed_out=True) from None
        self._used.add(connection)
        if self._closed:
            connection.discard()
        return connection

    def back(self, origin: Origin, connection: Connection) -> None:
        """Take back a connection, for the next request where it is good for one."""
        self._used.discard(connection)
        if not connection.kept:
            connection.discard()
        elif self._closed or sum(map(len, self._idle.values())) >= self._most:
            connection.close()
        else:
            connection.idle_since = self._loop.time()
            self._idle.setdefault(origin, []).append(connection)
            if self._timer is None:
                self._timer = self._loop.call_later(self._keepalive, self._sweep)
        self._release()

    async def close(self) -> None:
        """Close every connection; what is under way on one is lost."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        idle = [connection for connections in self._idle.values() for connection in connections]
        self._idle.clear()
        for connection in idle:
            connection.close()
        for connection in list(self._used):
            connection.discard()
        # The transports close at the loop's next turns.
        await asyncio.sleep(0)

    def _connection(self) -> Connection:
        return Connection(self._max_body)

    def _last(self, origin: Origin) -> Connection | None:
        """Take the idle connection that was used last, and is still good."""
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            if connection.ready():
                return connection
        return None

    async def _slot(self) -> None:
        """Wait until one more connection may be in use, in the order of coming."""
        if self._free:
            self._free -= 1
            return
        waiter = self._loop.create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                # It had just become this one's: it is the next one's.
                self._release()
            raise

    def _release(self) -> None:
        """Let the next one have a place."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._free += 1

    def _sweep(self) -> None:
        """Close what has been idle for too long; come again for the rest."""
        self._timer = None
        now, oldest = self._loop.time(), None
        for origin, connections in list(self._idle.items()):
            # Those that were used last are at the end.
            fresh = [one for one in connections if one.idle_since > now - self._keepalive and one.kept]
            for connection in connections:
                if connection not in fresh:
                    connection.close()
            self._idle[origin] = fresh
            if fresh:
                oldest = min(fresh[0].idle_since, oldest or fresh[0].idle_since)
            else:
                del self._idle[origin]
        if oldest is not None:
            self._timer = self._loop.call_at(oldest + self._keepalive, self._sweep)
