"""A mail server that is slow: it takes so many seconds to say that it has taken a mail, and knows who got one when.

The program ``python -m benchmarks.slow_sink SECONDS`` prints its port, then answers each line on its standard input
with what has come so far: a JSON object of monotonic seconds by address. It ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvloop

from benchmarks.children import Child, program
from benchmarks.served import PATIENCE
from benchmarks.sink import Arrivals, SmtpSession, lines_of

_TO = b"to:"


class Times(Arrivals):
    """Arrivals by their recipients."""

    def __init__(self) -> None:
        super().__init__()
        #: When each address got its first mail, in monotonic seconds.
        self.at: dict[str, float] = {}

    def add(self, content: bytes) -> None:
        """Count one mail, taken at this moment. Raises ``ValueError`` where it names no recipient."""
        super().add(content)
        self.at.setdefault(recipient(content), time.monotonic())


class SlowSession(SmtpSession):
    """One connection that answers a mail's content late."""

    def __init__(self, arrivals: Arrivals, seconds: float) -> None:
        super().__init__(arrivals)
        self._seconds = seconds

    def _accept(self, content: bytes) -> None:
        asyncio.get_running_loop().call_later(self._seconds, super()._accept, content)


def recipient(content: bytes) -> str:
    """Return the one address of a mail's ``To`` (RFC 5322 3.6.3). Raises ``ValueError`` where it has none."""
    for line in content.partition(b"\r\n\r\n")[0].split(b"\r\n"):
        if line[: len(_TO)].lower() == _TO:
            return line[len(_TO) :].decode("ascii").strip().strip("<>")
    raise ValueError("a mail without a recipient")


class SlowSink:
    """The program as its parent sees it."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self.port = int(child.line(PATIENCE))

    def told(self) -> dict[str, float]:
        """Return when each address got its mail, in monotonic seconds. Raises ``ChildError``."""
        self._child.tell("told")
        found: dict[str, float] = json.loads(self._child.line(PATIENCE))
        return found


@contextmanager
def slow_sink(folder: Path, seconds: float) -> Iterator[SlowSink]:
    """Run a sink that takes so many seconds a mail."""
    with Child("slow-sink", program("slow_sink", seconds), folder) as child:
        yield SlowSink(child)


async def serve(seconds: float) -> None:
    """Serve until standard input ends."""
    times = Times()
    server = await asyncio.get_running_loop().create_server(lambda: SlowSession(times, seconds), "127.0.0.1", 0)
    async with server:
        print(server.sockets[0].getsockname()[1], flush=True)
        async for _ in lines_of(sys.stdin):
            print(json.dumps(times.at), flush=True)


if __name__ == "__main__":
    uvloop.run(serve(float(sys.argv[1])))
