"""Time, passed in: seconds since the Unix epoch for what is stored, monotonic seconds for what is waited."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Protocol

_log = logging.getLogger(__name__)

#: Seconds by which the machine's clock may move against the seconds since boot between two looks: a clock that is
#: slewed moves by 0.03 s a minute at most (adjtimex(2), 500 ppm), whatever moves more was stepped.
STEP = 2.0


class Clock(Protocol):
    """Where the time comes from. Tests pass one they move by hand."""

    def now(self) -> float:
        """Return seconds since the Unix epoch (UTC)."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never jump, for deadlines within this process."""
        ...

    def world(self) -> float:
        """Return seconds since the Unix epoch for what others compare with clocks of their own."""
        ...


def _elapsed() -> Callable[[], float]:
    # What time.monotonic() counts stops while a machine sleeps, and a sleeping machine's codes must die in time.
    if hasattr(time, "CLOCK_BOOTTIME"):
        return partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    return time.monotonic


class SystemClock:
    """The machine's clock, set once at start and then carried by a clock that is never stepped.

    A machine's clock may be stepped while codes are alive; ``now`` follows the seconds since boot from the
    moment it was made (or last ``set``), so that no code dies early or lives longer than promised. Seconds in which
    the machine was suspended count where the system has such a clock (Linux: ``CLOCK_BOOTTIME``).
    Whole milliseconds, so that what is shown of two times adds up.
    ``wall`` is the machine's clock, ``elapsed`` seconds that are never stepped; tests pass their own.
    """

    def __init__(self, *, wall: Callable[[], float] = time.time, elapsed: Callable[[], float] | None = None) -> None:
        self._wall = wall
        self._elapsed = elapsed or _elapsed()
        self._offset = wall() - self._elapsed()
        self._follows = False

    def now(self) -> float:
        """Return seconds since the Unix epoch (UTC)."""
        return int((self._elapsed() + self._offset) * 1000) / 1000

    def monotonic(self) -> float:
        """Return seconds that never jump. Those asleep count: what was leased meanwhile may be another node's."""
        return self._elapsed()

    def set(self, now: float) -> None:
        """Take over another clock's time (the database's, where nodes share one)."""
        self._offset, self._follows = now - self._elapsed(), True

    def world(self) -> float:
        """Return what is right now, whatever was stepped: the machine's time, or that of the clock that was taken over."""
        return self.now() if self._follows else self._wall()

    @property
    def offset(self) -> float:
        """Seconds since the Unix epoch less those since boot, which every process of this machine counts alike."""
        return self._offset

    def drift(self) -> float:
        """Return by how many seconds the machine's clock is ahead of ``now``."""
        return self._wall() - (self._elapsed() + self._offset)

    def ahead(self) -> float:
        """Return by how many seconds the machine's clock is ahead of the seconds since boot.

        It changes when the machine's clock is stepped, whatever ``set`` was given meanwhile.
        """
        return self._wall() - self._elapsed()


class Steps:
    """Watches the machine's clock and tells when it was stepped. ``now`` is not misled by that, but others may be."""

    def __init__(self, clock: SystemClock) -> None:
        self._clock = clock
        self._ahead = clock.ahead()

    async def look(self) -> None:
        """Log a warning if the machine's clock was stepped by more than ``STEP`` seconds since the last look."""
        ahead = self._clock.ahead()
        step, self._ahead = ahead - self._ahead, ahead
        if abs(step) > STEP:
            _log.warning("the machine's clock was stepped by %+.1f s; codes live as long as promised", step)


@lru_cache(maxsize=1024)
def rfc3339(seconds: float) -> str:
    """Return seconds since the Unix epoch as RFC 3339 in UTC, cut to milliseconds: ``2026-05-04T10:40:00.000Z``."""
    # A microsecond on top: a double near 2^31 misses whole milliseconds by less, downwards too.
    # What is told of a request names the same moment several times: most of this is remembered.
    whole, milliseconds = divmod(int(seconds * 1000 + 0.001), 1000)
    return f"{_to_the_second(whole)}.{milliseconds:03d}Z"


@lru_cache(maxsize=1024)
def _to_the_second(seconds: int) -> str:
    # Most of what is written within a second tells of the same few seconds.
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:-6]
