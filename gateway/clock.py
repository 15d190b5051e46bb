"""Time, passed in: seconds since the Unix epoch for what is stored, monotonic seconds for what is waited."""

from __future__ import annotations

import time
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
    """

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        """Return seconds since the Unix epoch (UTC)."""
        return time.monotonic() + self._offset

    def monotonic(self) -> float:
        """Return seconds that never jump."""
        return time.monotonic()

    def set(self, now: float) -> None:
        """Take over another clock's time (the database's, where nodes share one)."""
        self._offset = now - time.monotonic()
