"""The load on any of the programs: each request of a list once, over keep-alive connections where the server has them.

The program ``python -m benchmarks.peers.asking PORT FILE`` reads an ``Errand`` from a file of JSON, asks, and prints one
line of JSON, an ``Asked``. With ``--answers FILE`` it writes down the answers' bodies by their request's place. Loads go
to 127.0.0.1 only and end by themselves.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import httptools
import uvloop

HOST = "127.0.0.1"
#: Connections, where a server does not do better with others.
CONNECTIONS = 32
#: The status by which a server that has too much to do says "not now" (RFC 9110 15.6.4).
_REFUSED = 503
#: Seconds before a request that was refused is asked again.
_PAUSE = 0.02
#: Characters shown of an answer that was wrong.
_SHOWN = 300


@dataclass(frozen=True, slots=True)
class Errand:
    """What is asked, and for how long."""

    #: Of every request; a key may be among them.
    headers: Mapping[str, str] = field(repr=False)
    #: Path and body of each, all POSTs of JSON.
    requests: Sequence[tuple[str, str]] = field(repr=False)
    #: The status of a right answer, and a text it holds (spaces are left out on both sides).
    status: int
    holds: str
    #: Seconds before answers count, and for which they do. What is under way at the end is given up.
    warm_up: float
    seconds: float
    #: Each with one request under way.
    connections: int = CONNECTIONS

    def write(self, path: Path) -> None:
        """Write it to a file that only its owner reads."""
        path.touch(0o600)
        path.write_text(json.dumps(asdict(self)), "utf-8")


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of it. Times in seconds."""

    #: Right answers while they counted.
    right: int
    #: Right answers over the whole time.
    all_right: int
    #: Answers that said "not now", over the whole time; their requests were asked again.
    refused: int
    #: Other answers by status, over the whole time.
    wrong: Mapping[str, int]
    #: The beginning of the first of them.
    shown: str
    #: How long answers counted: to the end, or until the last answer where the requests were used up before.
    seconds: float


class Score:
    """Hands out requests and counts answers."""

    def __init__(self, errand: Errand, opens_at: float) -> None:
        self._errand = errand
        self._holds = errand.holds.replace(" ", "").encode()
        self._next = 0
        self._open = len(errand.requests)
        self.opens_at = opens_at
        self.closes_at = opens_at + errand.seconds
        self.right = 0
        self.all_right = 0
        self.refused = 0
        self.wrong: Counter[str] = Counter()
        self.shown = ""
        self.latest_at = opens_at
        self.answers: dict[int, str] = {}
        #: Set once every request is answered.
        self.used_up = asyncio.Event()

    def take(self) -> int | None:
        """Return the place of the next request, ``None`` where all are handed out."""
        if self._next == len(self._errand.requests):
            return None
        self._next += 1
        return self._next - 1

    def answered(self, place: int, status: int, body: bytes, now: float) -> bool:
        """Count an answer; return whether the request is done with."""
        if status == _REFUSED:
            self.refused += 1
            return False
        self.latest_at = now
        if status == self._errand.status and self._holds in body.replace(b" ", b""):
            self.all_right += 1
            self.right += self.opens_at <= now <= self.closes_at
            self.answers[place] = body.decode()
        else:
            self.wrong[str(status)] += 1
            self.shown = self.shown or body.decode("utf-8", "replace")[:_SHOWN]
        self._open -= 1
        if not self._open:
            self.used_up.set()
        return True

    @property
    def seconds(self) -> float:
        """How long answers counted, once it is over."""
        return (self.latest_at if self.used_up.is_set() else self.closes_at) - self.opens_at


class Asker(asyncio.Protocol):
    """One connection. ``httptools`` calls the ``on_`` methods while an answer is read."""

    def __init__(self, score: Score, heads: Sequence[bytes]) -> None:
        self._score = score
        self._heads = heads
        self._place: int | None = None
        self._parser: Any = None
        self._body: list[bytes] = []
        #: Done when the connection ended: with the place of the request it left open, ``None`` where it left none.
        self.ended: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    def begin(self, place: int) -> None:
        """Ask for one thing."""
        self._place, self._body = place, []
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(self._heads[place])

    def close(self) -> None:
        """Give the connection up."""
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for ``begin``."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Read on."""
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Give back what was not answered."""
        if not self.ended.done():
            self.ended.set_result(self._place)

    def on_body(self, part: bytes) -> None:
        """Keep a part of the answer."""
        self._body.append(part)

    def on_message_complete(self) -> None:
        """Count the answer and ask on, unless the server wants to close the connection."""
        place, status = self._place, self._parser.get_status_code()
        assert place is not None, "an answer to nothing"
        done = self._score.answered(place, status, b"".join(self._body), time.monotonic())
        self._place = None if done else place
        if not self._parser.should_keep_alive():
            self._transport.close()
        elif not done:
            asyncio.get_running_loop().call_later(_PAUSE, self.begin, place)
        elif (following := self._score.take()) is not None:
            self.begin(following)
        else:
            self._transport.close()


async def run(port: int, errand: Errand) -> tuple[Asked, Mapping[int, str]]:
    """Ask, until everything is answered or the time is over; return what came of it, and the right answers.

    Raises ``ConnectionError`` where the server is gone.
    """
    began_at = time.monotonic()
    score = Score(errand, began_at + errand.warm_up)
    heads = [rendered(errand.headers, path, body) for path, body in errand.requests]
    lines = [asyncio.create_task(_keep_asking(port, score, heads)) for _ in range(errand.connections)]
    over = asyncio.create_task(score.used_up.wait())
    await asyncio.wait([over, *lines], timeout=score.closes_at - began_at, return_when=asyncio.FIRST_EXCEPTION)
    for task in (over, *lines):
        task.cancel()
    for outcome in await asyncio.gather(*lines, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome
    asked = Asked(
        right=score.right,
        all_right=score.all_right,
        refused=score.refused,
        wrong=dict(score.wrong),
        shown=score.shown,
        seconds=score.seconds,
    )
    return asked, score.answers


async def _keep_asking(port: int, score: Score, heads: Sequence[bytes]) -> None:
    """Ask over one connection after the other until nothing is left."""
    loop, place = asyncio.get_running_loop(), score.take()
    while place is not None:
        _, asker = await loop.create_connection(lambda: Asker(score, heads), HOST, port)
        try:
            asker.begin(place)
            # A request that a closing server did not answer is asked again.
            place = await asker.ended
        finally:
            asker.close()
        place = score.take() if place is None else place


def rendered(headers: Mapping[str, str], path: str, body: str) -> bytes:
    """Return the bytes of a request."""
    content = body.encode()
    lines = [f"POST {path} HTTP/1.1", f"Host: {HOST}", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, f"Content-Length: {len(content)}", "", ""]).encode() + content


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("errand", type=Path)
    parser.add_argument("--answers", type=Path)
    given = parser.parse_args()
    asked, answers = uvloop.run(run(given.port, Errand(**json.loads(given.errand.read_text("utf-8")))))
    if given.answers is not None:
        given.answers.write_text(json.dumps(answers), "utf-8")
    print(json.dumps(asdict(asked)), flush=True)


if __name__ == "__main__":
    _main()
