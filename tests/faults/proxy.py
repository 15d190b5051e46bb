"""A TCP proxy that misbehaves: it delays, swallows, cuts and refuses, where a machine has no netem."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Self


class Proxy:
    """Passes bytes between its ``port`` and a server. Open it with ``async with``; its fields may change at any time.

    It stands in for a bad network: both ends see what they would see of one.
    """

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._target = (host, port)
        self.host, self.port = "127.0.0.1", 0
        #: Seconds each chunk is held up, either way.
        self.delay = 0.0
        #: Whether connections are accepted and bytes read, and nothing is passed on: a black hole behind a firewall.
        self.swallow = False
        #: Whether new connections are cut at once.
        self.refuse = False
        #: Called with each chunk that comes from the server, before it is passed on; ``True`` cuts the connection.
        self.on_answer: Callable[[bytes], bool] = lambda _: False
        #: Connections accepted.
        self.connections = 0
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        """Its URL, for HTTP."""
        return f"http://{self.host}:{self.port}"

    def cut(self) -> None:
        """Reset every connection."""
        for writer in self._open.copy():
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer)
        try:
            if not self.refuse:
                await self._join(reader, writer)
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.swallow:
            await self._swallow(reader)
            return
        with contextlib.suppress(OSError):
            there, back = await asyncio.open_connection(*self._target)
            self._open.add(back)
            pumps = [
                asyncio.create_task(self._pump(reader, back, lambda _: False)),
                asyncio.create_task(self._pump(there, writer, self._cuts)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
                self._open.discard(back)
                back.transport.abort()

    def _cuts(self, chunk: bytes) -> bool:
        # Looked up for each chunk: a trial may set it while the connection is open.
        return self.on_answer(chunk)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cuts: Callable[[bytes], bool]
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(65_536):
                if self.delay:
                    await asyncio.sleep(self.delay)
                if cuts(chunk):
                    return
                if self.swallow:
                    continue
                writer.write(chunk)
                await writer.drain()

    async def _swallow(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while await reader.read(65_536):
                continue
