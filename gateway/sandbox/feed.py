"""What browsers hear of as it happens: server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).

A browser gets a snapshot of everything first and every change after it, so that a reload loses nothing. One that
reads too slowly is let go; it comes back by itself and gets a new snapshot.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from gateway.events.event import Event

#: Items that wait for one browser at most.
QUEUE = 1_000
#: Seconds of silence after which a comment is sent, so that nobody on the way takes the stream for dead.
COMMENT_AFTER = 15.0
#: Events a new browser is shown.
EVENTS = 500

Item = Mapping[str, object]


@dataclass(slots=True, eq=False)
class _Reader:
    """One browser: what waits for it, and how it is let go."""

    drop: Callable[[], None]
    queue: asyncio.Queue[bytes] = field(default_factory=lambda: asyncio.Queue(QUEUE))


class Feed:
    """Hands every item on to everybody who listens. It belongs to one event loop."""

    def __init__(self, *, comment_after: float = COMMENT_AFTER) -> None:
        #: The newest events of the gateway, oldest first.
        self.events: deque[Event] = deque(maxlen=EVENTS)
        #: How an event is shown.
        self.portray: Callable[[Event], Item] = lambda event: {"kind": "event", "event": {"name": event.name.value}}
        self._comment_after = comment_after
        self._readers: set[_Reader] = set()

    def hear(self, notes: Sequence[object]) -> None:
        """Take in what was committed: this is the database's ``on_commit``."""
        for note in notes:
            if isinstance(note, Event):
                self.events.append(note)
                self.publish(self.portray, note)

    def publish(self, make: Callable[..., Item], *arguments: object) -> None:
        """Tell everybody what ``make`` returns for ``arguments``; it is not asked where nobody listens."""
        if not self._readers:
            return
        line = _line(make(*arguments))
        for reader in list(self._readers):
            try:
                reader.queue.put_nowait(line)
            except asyncio.QueueFull:
                self._readers.discard(reader)
                reader.drop()

    async def stream(self, snapshot: Callable[[], Item], drop: Callable[[], None]) -> AsyncGenerator[bytes, None]:
        """Yield the snapshot, then each item, and comments in between, until closed.

        ``drop`` is called once where the reader is too slow.
        """
        reader = _Reader(drop)
        self._readers.add(reader)
        try:
            yield _line(snapshot())
            while True:
                yield await self._next(reader)
        finally:
            self._readers.discard(reader)

    async def _next(self, reader: _Reader) -> bytes:
        try:
            async with asyncio.timeout(self._comment_after):
                return await reader.queue.get()
        except TimeoutError:
            return b":\n\n"


def _line(item: Item) -> bytes:
    return b"data: " + msgspec.json.encode(item) + b"\n\n"
