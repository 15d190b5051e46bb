"""Where mail ends, told apart by its Message-ID: what comes twice is seen, and when how much had come.

The program ``python -m benchmarks.scale.sink`` prints its port, then answers lines on its standard input with JSON:
``wait N`` once N different mails are there, with a ``Seen``; ``told`` at once with the same. It ends with its
standard input.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import uvloop

from benchmarks.children import Child, program
from benchmarks.served import PATIENCE
from benchmarks.sink import Arrivals, SmtpSession, lines_of

#: Mails between two marks.
STEP = 500
_HEADER = b"message-id:"


@dataclass(frozen=True, slots=True)
class Seen:
    """What has come. Times are monotonic seconds, of the clock all processes of a machine share."""

    #: Different mails.
    distinct: int
    #: Mails that were there already.
    doubled: int
    first_at: float
    #: When the latest different mail came.
    latest_at: float
    #: When each ``STEP``-th different mail came.
    marks: tuple[float, ...]


class Counted(Arrivals):
    """Arrivals of which each counts once."""

    def __init__(self) -> None:
        super().__init__()
        self.doubled = 0
        self._ids: set[bytes] = set()
        self._first_at = 0.0
        self._marks: list[float] = []

    def add(self, content: bytes) -> None:
        """Count one mail, where it is not there yet. Raises ``ValueError`` where it has no Message-ID."""
        found = message_id(content)
        if found in self._ids:
            self.doubled += 1
            return
        self._ids.add(found)
        super().add(content)
        if self.count == 1:
            self._first_at = self.latest_at
        if self.count % STEP == 0:
            self._marks.append(self.latest_at)

    @property
    def seen(self) -> Seen:
        """What has come so far."""
        return Seen(self.count, self.doubled, self._first_at, self.latest_at, tuple(self._marks))


def message_id(content: bytes) -> bytes:
    """Return a mail's Message-ID (RFC 5322 3.6.4). Raises ``ValueError`` where it has none."""
    for line in content.partition(b"\r\n\r\n")[0].split(b"\r\n"):
        if line[: len(_HEADER)].lower() == _HEADER:
            return line[len(_HEADER) :].strip()
    raise ValueError("a mail without Message-ID")


class Sink:
    """The program as its parent sees it."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self.port = int(child.line(PATIENCE))

    def wait(self, count: int, within: float) -> Seen:
        """Return what has come once ``count`` different mails have. Raises ``ChildError``."""
        return self._asked(f"wait {count}", within)

    def told(self) -> Seen:
        """Return what has come so far."""
        return self._asked("told", PATIENCE)

    def _asked(self, line: str, within: float) -> Seen:
        self._child.tell(line)
        found = json.loads(self._child.line(within))
        return Seen(**{**found, "marks": tuple(found["marks"])})


@contextmanager
def sink(folder: Path) -> Iterator[Sink]:
    """Run a sink."""
    with Child("scale-sink", program("scale.sink"), folder) as child:
        yield Sink(child)


async def serve() -> None:
    """Serve until standard input ends."""
    arrivals = Counted()
    server = await asyncio.get_running_loop().create_server(lambda: SmtpSession(arrivals), "127.0.0.1", 0)
    async with server:
        print(server.sockets[0].getsockname()[1], flush=True)
        async for line in lines_of(sys.stdin):
            verb, _, number = line.partition(" ")
            if verb == "wait":
                await arrivals.wait(int(number))
            print(json.dumps(asdict(arrivals.seen)), flush=True)


def span(seen: Seen, share: float, *, at_end: bool) -> float:
    """Return the mails per second of the first, or the last, ``share`` (0 to 1) of all that came.

    Raises ``ValueError`` where there are fewer than two marks in it.
    """
    marks = [*seen.marks]
    number = int(len(marks) * share)
    part = marks[-number:] if at_end else marks[:number]
    if number < 2:
        raise ValueError("too few mails for a rate of a part")
    return (len(part) - 1) * STEP / (part[-1] - part[0])


if __name__ == "__main__":
    uvloop.run(serve())
