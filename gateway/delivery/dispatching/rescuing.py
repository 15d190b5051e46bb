"""Rescuing what dead nodes had under way, and not what living ones could not hold while the database was away."""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from gateway.clock import Clock
from gateway.delivery.message import LEASE
from gateway.delivery.queue import Queue
from gateway.storage.unit import StorageContendedError, StorageUnavailableError

#: Seconds without an answer of the database after which other nodes' leases may have lapsed though they live, and for
#: which nothing is rescued once it is back: by then they have written down what providers took meanwhile.
AWAY: Final = LEASE / 2


class Rescuing:
    """The looks of one node for attempts whose node died.

    Where it looks for the first time, the database may have been away until now: a crashed node that is started again
    within ``AWAY`` still rescues in time what it had, for its own leases run for twice as long.
    """

    def __init__(self, queue: Queue, clock: Clock) -> None:
        self._queue = queue
        self._clock = clock
        #: When the database last answered, and until when nothing is rescued, in monotonic seconds.
        self._answered = self._rests_until = float("-inf")
        #: Whether it was away, and has not been written since.
        self._away = True

    async def look(self, held: Container[str]) -> int:
        """Return what dead nodes had under way to the queue, and how many there were; ``held`` is this node's own.

        Raises ``StorageError``.
        """
        asked = self._clock.monotonic()
        try:
            rescued = await self._queue.rescue(held, self._may)
        except StorageContendedError:
            raise
        except StorageUnavailableError:
            # It can be read and not written, as after a failover: nor could others renew.
            self._away = self._away or self._answered >= asked
            raise
        if self._away:
            # What was late could be written, if anything was: others can hold what is theirs from now on.
            self._away, self._rests_until = False, self._clock.monotonic() + AWAY
        return rescued

    def _may(self) -> bool:
        """Return whether others have had the time to hold what is theirs; the database has just answered."""
        now = self._clock.monotonic()
        self._away = self._away or now - self._answered > AWAY
        self._answered = now
        return not self._away and now >= self._rests_until
