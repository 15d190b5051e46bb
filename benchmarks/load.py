"""The load: keep-alive connections that POST one verification after the other, each to another person.

A raw HTTP/1.1 client on uvloop, so cheap that it is never what is measured; its own CPU share is told. The program
``python -m benchmarks.load PORT --to email|phone [--key KEY] (--seconds S [--warm-up W] | --count N)`` prints one
line of JSON, a ``Load``. Loads go to 127.0.0.1 only and end by themselves.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import resource
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import cast

import uvloop

from benchmarks.figures import quantile

HOST = "127.0.0.1"
PATH = "/v1/verifications"
#: Connections, each with one request under way.
CONNECTIONS = 32
#: Seconds within which N requests must be answered, or a connection's last one at the end.
PATIENCE = 60.0
#: Seconds before a refused request is followed by another.
PAUSE = 0.02


@dataclass(frozen=True, slots=True)
class Load:
    """What came of one load. Times in seconds."""

    #: Requests answered with 201 within the measured time.
    created: int
    #: Other answers by status, over the whole time.
    refused: dict[str, int]
    seconds: float
    #: Monotonic time of the first request.
    began_at: float
    median: float
    #: The 99th percentile.
    slowest: float
    #: This process's CPU seconds per second.
    busy: float


def recipients(kind: str) -> Iterator[str]:
    """Yield addresses, each another person's: mailboxes of a reserved domain, or German mobile numbers.

    The numbers go round through as many blocks as there are, for a block takes 20 sends an hour.
    """
    for number in itertools.count():
        rest, block = divmod(number, 10_000)
        yield f"+49151{block:04d}{rest:04d}" if kind == "phone" else f"person-{number}@example.org"


class Window:
    """Which answers count, and when to stop."""

    def __init__(self, *, opens_at: float, closes_at: float, count: int | None) -> None:
        self.opens_at = opens_at
        self.closes_at = closes_at
        self._left = count
        self.latencies: list[float] = []
        self.refused: Counter[str] = Counter()

    def admits(self, now: float) -> bool:
        """Whether another request may begin; it is then counted as begun."""
        if now >= self.closes_at or self._left == 0:
            return False
        if self._left is not None:
            self._left -= 1
        return True

    def answered(self, status: bytes, began_at: float, now: float) -> bool:
        """Count an answer; return whether it created something."""
        if status != b"201":
            self.refused[status.decode("latin-1")] += 1
            if self._left is not None:
                self._left += 1
            return False
        if self.opens_at <= now <= self.closes_at:
            self.latencies.append(now - began_at)
        return True


class Caller(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, window: Window, addresses: Iterator[str], key: str) -> None:
        self._window = window
        self._addresses = addresses
        self._head = (
            f"POST {PATH} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {key}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        ).encode()
        self._buffer = b""
        self._began_at = 0.0
        #: Done when the connection has nothing left to do; fails where it broke.
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._next()

    def data_received(self, data: bytes) -> None:
        """Take an answer once it is complete, and ask again."""
        self._buffer += data
        status = answer_status(self._buffer)
        if status is None:
            return
        self._buffer = b""
        if self._window.answered(status, self._began_at, time.monotonic()):
            self._next()
        else:
            asyncio.get_running_loop().call_later(PAUSE, self._next)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Fail, unless this was the end."""
        if not self.done.done():
            self.done.set_exception(ConnectionError("the server closed a connection"))

    def _next(self) -> None:
        now = time.monotonic()
        if self.done.done():
            return
        if not self._window.admits(now):
            self.done.set_result(None)
            self._transport.close()
            return
        body = b'{"to":"%b"}' % next(self._addresses).encode()
        self._began_at = now
        self._transport.write(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))


def answer_status(buffer: bytes) -> bytes | None:
    """Return the status of the one answer in ``buffer``, ``None`` while it is incomplete.

    Raises ``ValueError`` where its length is not told by ``Content-Length``.
    """
    head, found, body = buffer.partition(b"\r\n\r\n")
    if not found:
        return None
    _, told, rest = head.lower().partition(b"\r\ncontent-length:")
    if not told:
        raise ValueError("an answer without Content-Length")
    return head[9:12] if len(body) >= int(rest.partition(b"\r\n")[0]) else None


async def run(port: int, *, to: str, key: str, seconds: float, warm_up: float, count: int | None) -> Load:
    """Put the load on and return what came of it. Raises ``ConnectionError`` or ``TimeoutError``."""
    loop, began_at = asyncio.get_running_loop(), time.monotonic()
    opens_at = began_at + warm_up
    window = Window(opens_at=opens_at, closes_at=opens_at + seconds, count=count)
    addresses, used = recipients(to), _cpu()
    callers: list[Caller] = []
    async with asyncio.timeout(warm_up + seconds + PATIENCE):
        for _ in range(CONNECTIONS):
            _, caller = await loop.create_connection(lambda: Caller(window, addresses, key), HOST, port)
            callers.append(caller)
        await asyncio.gather(*(caller.done for caller in callers))
    ended_at = time.monotonic()
    return Load(
        created=len(window.latencies),
        refused=dict(window.refused),
        seconds=min(window.closes_at, ended_at) - opens_at,
        began_at=began_at,
        median=quantile(window.latencies, 0.5),
        slowest=quantile(window.latencies, 0.99),
        busy=(_cpu() - used) / (ended_at - began_at),
    )


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--to", choices=("email", "phone"), default="email")
    parser.add_argument("--key", default="")
    parser.add_argument("--seconds", type=float, default=PATIENCE)
    parser.add_argument("--warm-up", type=float, default=0.0)
    parser.add_argument("--count", type=int)
    asked = parser.parse_args()
    done = uvloop.run(
        run(asked.port, to=asked.to, key=asked.key, seconds=asked.seconds, warm_up=asked.warm_up, count=asked.count)
    )
    print(json.dumps(asdict(done)), flush=True)


if __name__ == "__main__":
    _main()
