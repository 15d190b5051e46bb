"""What the programs of the race share, whatever queue they run: only the standard library, for they run elsewhere too."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

#: Who enqueues at the same time, each one message a transaction.
PRODUCERS = 32
#: Messages under way at once, where a queue has such a bound.
CONCURRENCY = 16
#: Seconds a run may take.
PATIENCE = 120.0


@dataclass(frozen=True, slots=True)
class Race:
    """What came of a run."""

    #: Messages a second, enqueued meanwhile (from the first) or before (from the first that was done on).
    rate: float


class Tally:
    """Counts what is done."""

    def __init__(self, count: int, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self.count = count
        self.done = 0
        self.complete = asyncio.Event()
        self._began_at: float | None = None
        self._before = 0
        self._ended_at = 0.0

    def begin(self) -> None:
        """Say that the clock runs; else it does once the first is done."""
        if self._began_at is None:
            self._began_at, self._before = self._now(), self.done

    def add(self, number: int) -> None:
        """Count some as done and, once all are, stop the clock."""
        if not number or self.complete.is_set():
            return
        self.done += number
        self.begin()
        if self.done >= self.count:
            self._ended_at = self._now()
            self.complete.set()

    def race(self) -> Race:
        """Return what came of it. Raises ``ValueError`` where it has not ended."""
        if self._began_at is None or not self.complete.is_set():
            raise ValueError("the run has not ended")
        number = self.done - self._before
        return Race(number / max(self._ended_at - self._began_at, 1e-9))


async def produce(tally: Tally, enqueue: Callable[[int], Awaitable[object]], count: int, producers: int) -> None:
    """Enqueue ``count`` messages, so many at the same time, with the clock running."""
    tally.begin()
    numbers = iter(range(count))

    async def producer() -> None:
        for number in numbers:
            await enqueue(number)

    await asyncio.gather(*(producer() for _ in itertools.repeat(None, producers)))


async def settled(tally: Tally, left: Callable[[], Awaitable[int]], pause: float = 0.005) -> None:
    """Count everything as done once the database says that nothing is left."""
    while await left():  # noqa: ASYNC110 - it is another program's table that is looked at
        await asyncio.sleep(pause)
    tally.add(tally.count - tally.done)
