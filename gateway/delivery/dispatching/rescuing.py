"""Rescuing what dead nodes had under way, and not what living ones could not hold while the database was away."""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from gateway.clock import Clock
from gateway.delivery.message import LEASE
from gateway.delivery.queue import Queue
from gateway.storage.unit import StorageUnavailableError

#: Seconds without an answer of the database after which other nodes' leases may have lapsed though they live, and for
#: which nothing is rescued then: by that time they have written down what providers took meanwhile.
AWAY: Final = LEASE / 2


class Rescuing:
    """The looks of one node for attempts whose node died."""

    def __init__(self, queue: Queue, clock: Clock) -> None:
        self._queue = queue
        self._clock = clock
        #: When the database last answered, and until when nothing is rescued, in monotonic seconds.
        self._answered: float | None = None
        self._rests_until = float("-inf")

    async def look(self, held: Container[str]) -> int:
        """Return what dead nodes had under way to the queue, and how many there were; ``held`` is this node's own.

        Raises ``StorageError``.
        """
        asked = self._clock.monotonic()
        try:
            return await self._queue.rescue(held, self._may)
        except StorageUnavailableError:
            if self._answered is not None and self._answered >= asked:
                # It can be read and not written, as after a failover: nor could others renew.
                self._rests_until = self._clock.monotonic() + AWAY
            raise

    def _may(self) -> bool:
        """Return whether others have had the time to hold what is theirs; the database has just answered."""
        now = self._clock.monotonic()
        if self._answered is not None and now - self._answered > AWAY:
            self._rests_until = now + AWAY
        self._answered = now
        return now >= self._rests_until
