"""The load: keep-alive connections that POST one verification after the other, each to another person.

A raw HTTP/1.1 client on uvloop, so cheap that it is never what is measured; its own CPU share is told. The program
``python -m benchmarks.load PORT --to email|phone|telegram [--key KEY] (--seconds S [--warm-up W] | --count N)`` prints
one line of JSON, a ``Load``. ``--connections N`` are kept open, 32 by default; ``--first N`` begins with another person, ``--asked FILE`` writes down when each person
that was answered 201 had been asked for. Loads go to 127.0.0.1 only and end by themselves.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import uvloop

from benchmarks.bare_loop import cpu
from benchmarks.figures import quantile

HOST = "127.0.0.1"
PATH = "/v1/verifications"
#: Connections, each with one request under way.
CONNECTIONS = 32
#: Seconds within which N requests must be answered, or a connection's last one at the end.
PATIENCE = 60.0
#: Seconds before a refused request is followed by another.
PAUSE = 0.02
#: The kinds of addresses a load asks for.
KINDS = ("email", "phone", "telegram")

#: A request's path and its body.
Asking = tuple[bytes, bytes]
#: Given the body of a request that was answered as expected, the whole answer, and when it began (monotonic seconds).
Keep = Callable[[bytes, bytes, float], None]


@dataclass(frozen=True, slots=True)
class Load:
    """What came of one load. Times in seconds."""

    #: Requests answered as expected (201) within the measured time.
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


def recipients(kind: str, first: int = 0) -> Iterator[str]:
    """Yield addresses from a person's number on, each another person's.

    They are mailboxes of a reserved domain, a service's own references, or German mobile numbers. These go round
    through as many blocks as there are, for a block takes 20 sends an hour.
    """
    for number in itertools.count(first):
        rest, block = divmod(number, 10_000)
        if kind == "phone":
            yield f"+49151{block:04d}{rest:04d}"
        else:
            yield f"person-{number}@example.org" if kind == "email" else f"person-{number}"


def starts(kind: str, first: int = 0) -> Iterator[Asking]:
    """Yield the requests that start a verification, each for another person."""
    path = PATH.encode()
    for address in recipients(kind, first):
        to = f'"{address}"' if kind in {"email", "phone"} else f'{{"{kind}":"{address}"}}'
        yield path, f'{{"to":{to}}}'.encode()


class Window:
    """Which answers count, and when to stop. ``expected`` is the status of those that do."""

    def __init__(self, *, opens_at: float, closes_at: float, count: int | None, expected: bytes = b"201") -> None:
        self.opens_at = opens_at
        self.closes_at = closes_at
        self._left = count
        self._expected = expected
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
        """Count an answer; return whether it was the expected one."""
        if status != self._expected:
            self.refused[status.decode("latin-1")] += 1
            if self._left is not None:
                self._left += 1
            return False
        if self.opens_at <= now <= self.closes_at:
            self.latencies.append(now - began_at)
        return True


class Caller(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, window: Window, requests: Iterator[Asking], key: str, keep: Keep | None = None) -> None:
        self._window = window
        self._requests = requests
        self._keep = keep
        self._head = (
            f" HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {key}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        ).encode()
        self._buffer = self._body = b""
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
        answer, self._buffer = self._buffer, b""
        if self._window.answered(status, self._began_at, time.monotonic()):
            if self._keep is not None:
                self._keep(self._body, answer, self._began_at)
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
        asking = next(self._requests, None) if self._window.admits(now) else None
        if asking is None:
            self.done.set_result(None)
            self._transport.close()
            return
        path, body = asking
        self._body, self._began_at = body, now
        self._transport.write(b"POST %b%b%d\r\n\r\n%b" % (path, self._head, len(body), body))


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


async def run(
    port: int,
    *,
    to: str,
    key: str,
    seconds: float,
    warm_up: float,
    count: int | None,
    first: int = 0,
    connections: int = CONNECTIONS,
    keep: Keep | None = None,
) -> Load:
    """Start verifications and return what came of it. Raises ``ConnectionError`` or ``TimeoutError``."""
    opens_at = time.monotonic() + warm_up
    window = Window(opens_at=opens_at, closes_at=opens_at + seconds, count=count)
    return await put_on(port, window, starts(to, first), key=key, keep=keep, connections=connections)


async def put_on(
    port: int,
    window: Window,
    requests: Iterator[Asking],
    *,
    key: str,
    keep: Keep | None = None,
    connections: int = CONNECTIONS,
) -> Load:
    """Put a load of any requests on and return what came of it. Raises ``ConnectionError`` or ``TimeoutError``."""
    loop, began_at, used = asyncio.get_running_loop(), time.monotonic(), cpu()
    callers: list[Caller] = []
    async with asyncio.timeout(window.closes_at - began_at + PATIENCE):
        for _ in range(connections):
            _, caller = await loop.create_connection(lambda: Caller(window, requests, key, keep), HOST, port)
            callers.append(caller)
        await asyncio.gather(*(caller.done for caller in callers))
    ended_at = time.monotonic()
    return Load(
        created=len(window.latencies),
        refused=dict(window.refused),
        seconds=min(window.closes_at, ended_at) - window.opens_at,
        began_at=began_at,
        median=quantile(window.latencies, 0.5),
        slowest=quantile(window.latencies, 0.99),
        busy=(cpu() - used) / (ended_at - began_at),
    )


def address_of(body: bytes) -> str:
    """Return the address that a body of ``starts`` is for."""
    to = json.loads(body)["to"]
    return str(to if isinstance(to, str) else next(iter(to.values())))


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--to", choices=KINDS, default="email")
    parser.add_argument("--key", default="")
    parser.add_argument("--seconds", type=float, default=PATIENCE)
    parser.add_argument("--warm-up", type=float, default=0.0)
    parser.add_argument("--count", type=int)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    parser.add_argument("--asked", type=Path)
    given = vars(parser.parse_args())
    path: Path | None = given.pop("asked")
    began: dict[str, float] = {}

    def keep(body: bytes, _answer: bytes, began_at: float) -> None:
        began[address_of(body)] = began_at

    done = uvloop.run(run(given.pop("port"), **given, keep=None if path is None else keep))
    if path is not None:
        path.write_text(json.dumps(began), "utf-8")
    print(json.dumps(asdict(done)), flush=True)


if __name__ == "__main__":
    _main()
