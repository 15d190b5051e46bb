"""Time, passed in: seconds since the Unix epoch for what is stored, monotonic seconds for what is waited."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol


class Clock(Protocol):
    """Where the time comes from. Tests pass one they move by hand."""

    def now(self) -> float:
        """Return seconds since the Unix epoch (UTC)."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never jump, for deadlines within this process."""
        ...


class SystemClock:
    """The machine's clock, set once at start and then carried by monotonic time.

    A machine's clock may be stepped while codes are alive; ``now`` follows the monotonic clock from the
    moment it was made (or last ``set``), so that no code dies early or lives longer than promised.
    Whole milliseconds, so that what is shown of two times adds up.
    """

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        """Return seconds since the Unix epoch (UTC)."""
        return int((time.monotonic() + self._offset) * 1000) / 1000

    def monotonic(self) -> float:
        """Return seconds that never jump."""
        return time.monotonic()

    def set(self, now: float) -> None:
        """Take over another clock's time (the database's, where nodes share one)."""
        self._offset = now - time.monotonic()


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
