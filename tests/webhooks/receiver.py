"""A receiver of webhooks on this machine: it records what it gets and answers as it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Request:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


def answer(status: str = "200 OK", *headers: str, body: bytes = b"") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]).encode() + b"\r\n\r\n" + body


#: What a request is answered with; ``None`` is nothing, for as long as the sender waits.
Answers = Callable[[Request], bytes | None]


class Receiver:
    """Answers ``answers(request)``."""

    def __init__(self) -> None:
        self.answers: Answers = lambda _: answer()
        self.requests: list[Request] = []
        self.connections = 0
        self.url = ""
        self.port = 0
        #: The names that TLS connections asked for.
        self.names: list[str | None] = []
        self._came = asyncio.Condition()
        self._serving: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def came(self, number: int) -> None:
        """Wait until that many requests have come."""
        async with self._came:
            await self._came.wait_for(lambda: len(self.requests) >= number)

    def hang_up(self) -> None:
        """Break off every connection."""
        for writer in self._writers:
            writer.transport.abort()

    async def close(self) -> None:
        self.hang_up()
        await asyncio.gather(*self._serving)

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        work = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(work)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                request = await _read(reader)
                async with self._came:
                    self.requests.append(request)
                    self._came.notify_all()
                told = self.answers(request)
                if told is None:
                    await reader.read()
                    break
                writer.write(told)
                await writer.drain()
        self._writers.discard(writer)
        writer.close()


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(head[0].split()[1], headers, body)


@contextlib.asynccontextmanager
async def receiving(tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """Run a receiver on this machine."""
    receiver = Receiver()
    if tls is not None:
        tls.sni_callback = lambda _, name, __: receiver.names.append(name)
    server = await asyncio.start_server(receiver.accept, "127.0.0.1", 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    receiver.url = f"{'https' if tls else 'http'}://127.0.0.1:{receiver.port}/hook"
    try:
        yield receiver
    finally:
        server.close()
        await receiver.close()
