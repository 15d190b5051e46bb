"""A lane: what one channel may do at once and per second, and the messages of this node that wait for it.

Each channel has a lane of its own, so a dead or slow one holds up nobody else (a bulkhead).
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Awaitable, Callable

from channels.base import Channel
from gateway.clock import Clock
from gateway.delivery.message import Message

#: Messages of one channel that a node holds in memory; further ones stay in the database, unleased.
BUFFER = 2000
#: Messages held at which more are fetched, where there are more.
LOW = 100

Sleep = Callable[[float], Awaitable[object]]


class Lane:
    """One channel's buffer, pace and pauses."""

    def __init__(self, channel: Channel, clock: Clock, sleep: Sleep = asyncio.sleep) -> None:
        self.channel = channel
        self._clock = clock
        self._sleep = sleep
        self._buffer: deque[Message] = deque()
        self._filled = asyncio.Event()
        #: Ids of what is buffered or under way: a message claimed twice by this node is held once.
        self._held: set[str] = set()
        #: How many of those under way wait for their turn to start.
        self._pacing = 0
        self._next_start = 0.0
        self._paused_until = 0.0
        self._due: list[float] = []
        #: Set when the lane should look for due messages before its time.
        self.wake = asyncio.Event()
        #: Whether the database may hold more that is due than was taken: it is asked again as soon as there is room.
        self.behind = False

    @property
    def room(self) -> int:
        """How many more messages the buffer takes."""
        return BUFFER - len(self._buffer)

    @property
    def waiting(self) -> int:
        """How many messages wait: buffered, or taken and not yet allowed to start."""
        return len(self._buffer) + self._pacing

    @property
    def held(self) -> int:
        """How many messages are buffered or under way."""
        return len(self._held)

    @property
    def held_ids(self) -> frozenset[str]:
        """The ids of what is buffered or under way."""
        return frozenset(self._held)

    def put(self, message: Message) -> None:
        """Buffer a message that this node has leased."""
        if message.id in self._held:
            return
        self._held.add(message.id)
        self._buffer.append(message)
        self._filled.set()

    async def take(self) -> Message:
        """Wait for the next message."""
        while not self._buffer:
            self._filled.clear()
            await self._filled.wait()
        return self._buffer.popleft()

    def done(self, message: Message) -> None:
        """Let go of a message that is settled."""
        self._held.discard(message.id)
        if self.behind and len(self._held) <= LOW:
            self.wake.set()

    def drain(self) -> list[Message]:
        """Empty the buffer and return what was in it."""
        left = list(self._buffer)
        self._buffer.clear()
        self._held.difference_update(message.id for message in left)
        return left

    def pause(self, seconds: float) -> None:
        """Start nothing for that long: the provider asked for it."""
        self._paused_until = max(self._paused_until, self._clock.monotonic() + seconds)

    @property
    def paused_for(self) -> float:
        """Seconds the pause still lasts; 0 when there is none."""
        return max(0.0, self._paused_until - self._clock.monotonic())

    async def pace(self) -> None:
        """Wait until the pause is over and the channel's rate allows another start."""
        now = self._clock.monotonic()
        start = max(now, self._paused_until)
        rate = self.channel.settings.rate
        if rate:
            start = max(start, self._next_start)
            self._next_start = start + 1.0 / rate
        if start > now:
            self._pacing += 1
            try:
                await self._sleep(start - now)
            finally:
                self._pacing -= 1

    def expect(self, due_at: float) -> None:
        """Remember that a message of this channel is due then, so that it is not found a poll later."""
        heapq.heappush(self._due, due_at)

    def until_next(self, poll: float) -> float:
        """Return the seconds until the lane should look again: the next expected message, at most ``poll``."""
        now = self._clock.now()
        while self._due and self._due[0] <= now:
            heapq.heappop(self._due)
        return min(poll, self._due[0] - now) if self._due else poll
