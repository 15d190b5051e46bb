"""A wire between the gateway and a PostgreSQL server, which a test makes silent: TCP stands, nothing comes through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


class Wire:
    """Forwards connections on a port of this machine to the server of a URL."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = Path(parse_qs(parts.query)["host"][0]) / ".s.PGSQL.5432"
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._refusing = False
        self.writers: set[asyncio.StreamWriter] = set()
        #: How many connections were made.
        self.accepted = 0
        self._more = asyncio.Condition()
        self.port = 0

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def cut(self, *, new_ones: bool = True) -> None:
        """Let nothing through any more that is connected now; new connections come through, or do not."""
        self._flowing.clear()
        self._flowing = asyncio.Event()
        if new_ones:
            self._flowing.set()

    def refuse(self) -> None:
        """End what is connected, and everything that connects from now on."""
        self._refusing = True
        for writer in self.writers:
            writer.transport.abort()

    def mend(self) -> None:
        """Let new connections through again."""
        self._refusing = False
        self._flowing.set()

    async def reached(self, number: int) -> None:
        """Wait until so many connections were made."""
        async with self._more:
            await self._more.wait_for(lambda: self.accepted >= number)

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with self._more:
            self.accepted += 1
            self._more.notify_all()
        try:
            if not self._refusing:
                await self._join(reader, writer, self._flowing)
        finally:
            writer.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flowing: asyncio.Event) -> None:
        await flowing.wait()
        there_reader, there_writer = await asyncio.open_unix_connection(str(self._socket))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, there_writer, flowing))
                group.create_task(self._pump(there_reader, writer, flowing))
        except* OSError:
            pass
        finally:
            there_writer.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, flowing: asyncio.Event) -> None:
        while data := await source.read(65536):
            await flowing.wait()
            target.write(data)
            await target.drain()
        target.close()


@asynccontextmanager
async def wired(url: str) -> AsyncIterator[Wire]:
    """Run a wire to the server of ``url``, which listens on a socket file."""
    wire = Wire(url)
    tasks: set[asyncio.Task[None]] = set()

    def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire.writers.add(writer)
        tasks.add(asyncio.create_task(wire.forward(reader, writer)))

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    wire.port = server.sockets[0].getsockname()[1]
    try:
        yield wire
    finally:
        wire.refuse()
        for task in tasks:
            task.cancel()
        # Before the end of the server: what it is about to accept then, nobody closes.
        await _settled()
        server.close()
        await asyncio.gather(*(writer.wait_closed() for writer in wire.writers), return_exceptions=True)


async def _settled() -> None:
    # A connection that is being accepted, or asked to cancel a statement, needs a few turns of the loop.
    for _ in range(10):
        await asyncio.sleep(0)
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others, timeout=1.0)
    await asyncio.sleep(0)
