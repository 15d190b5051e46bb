"""Where mail ends: a minimal SMTP server that takes everything and counts.

The program ``python -m benchmarks.sink`` prints its port, then answers lines on its standard input:
``wait N`` once N mails have arrived since the last ``reset``, with the monotonic time of the latest arrival (the
clock all processes of a machine share); ``sample`` with the latest mail in base64; ``reset`` with 0. It ends with
its standard input.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from collections.abc import AsyncIterator
from typing import TextIO, cast

import uvloop

_END = b"\r\n.\r\n"


class Arrivals:
    """What has arrived, and who waits for it."""

    def __init__(self) -> None:
        self.count = 0
        self.latest_at = 0.0
        self.latest = b""
        self._wanted = 0
        self._enough = asyncio.Event()

    def add(self, content: bytes) -> None:
        """Count one mail."""
        self.count += 1
        self.latest_at = time.monotonic()
        self.latest = content
        if self.count >= self._wanted:
            self._enough.set()

    async def wait(self, number: int) -> float:
        """Wait until ``number`` have arrived; return when the latest one did."""
        self._wanted = number
        self._enough.clear()
        if self.count < number:
            await self._enough.wait()
        return self.latest_at

    def reset(self) -> None:
        """Count from 0 again."""
        self.count = 0


class SmtpSession(asyncio.Protocol):
    """One connection: every command is taken at its word (RFC 5321, 2920), nothing is checked or kept."""

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._buffer = b""
        self._in_data = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(b"220 sink ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        """Take commands and contents as far as they are complete."""
        self._buffer += data
        while self._take():
            pass

    def _take(self) -> bool:
        end = _END if self._in_data else b"\r\n"
        # An empty content is its closing line alone.
        if self._in_data and self._buffer.startswith(b".\r\n"):
            taken, self._buffer = b"", self._buffer[3:]
        else:
            taken, found, rest = self._buffer.partition(end)
            if not found:
                return False
            self._buffer = rest
        if self._in_data:
            self._in_data = False
            self._accept(taken + b"\r\n")
        else:
            self._command(taken[:4].upper())
        return True

    def _accept(self, content: bytes) -> None:
        """Count a whole mail and say that it is taken."""
        self._arrivals.add(content)
        self._transport.write(b"250 2.0.0 Ok: queued as 4XbQ1r2TzqzB\r\n")

    def _command(self, verb: bytes) -> None:
        match verb:
            case b"EHLO":
                self._transport.write(b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n")
            case b"DATA":
                self._in_data = True
                self._transport.write(b"354 go on\r\n")
            case b"QUIT":
                self._transport.write(b"221 2.0.0 bye\r\n")
                self._transport.close()
            case _:
                self._transport.write(b"250 2.0.0 Ok\r\n")


async def end_of_input(stream: TextIO) -> None:
    """Wait until a stream ends; what is in it is thrown away."""
    async for _ in lines_of(stream):
        pass


async def lines_of(stream: TextIO) -> AsyncIterator[str]:
    """Yield the lines of a stream as they come."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), stream)
    while line := await reader.readline():
        yield line.decode().strip()


async def serve() -> None:
    """Serve until standard input ends."""
    arrivals = Arrivals()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SmtpSession(arrivals), "127.0.0.1", 0)
    async with server:
        print(server.sockets[0].getsockname()[1], flush=True)
        async for line in lines_of(sys.stdin):
            print(json.dumps(await answered(arrivals, line)), flush=True)


async def answered(arrivals: Arrivals, line: str) -> float | str:
    """Return what a line of standard input asks for: ``wait N``, ``sample``, or ``reset``, which is the default."""
    verb, _, argument = line.partition(" ")
    match verb:
        case "wait":
            return await arrivals.wait(int(argument))
        case "sample":
            # As it was before dots were doubled (RFC 5321 4.5.2).
            return base64.b64encode(arrivals.latest.replace(b"\r\n..", b"\r\n.")).decode()
        case _:
            arrivals.reset()
            return 0.0


if __name__ == "__main__":
    uvloop.run(serve())
