"""Throughput: how many messages a channel settles per second on this node, measured while more wait than it can send.

What an idle channel settles says nothing of what it could.
"""

from __future__ import annotations

from typing import Final

#: Seconds of one measurement at least, and at most: until every slot was settled once, a slow provider looks dead.
SPAN: Final = 1.0
LONGEST_SPAN: Final = 10.0
#: What a new measurement weighs against those before it.
WEIGHT: Final = 0.4
#: Seconds after which a measurement says nothing of now: the provider may have become faster, or slower.
STALE: Final = 30.0


class Throughput:
    """One channel's. ``slots`` is how many sends may be under way at once. All times are monotonic seconds."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        #: Messages settled so far; counted by whoever settles them.
        self.settled = 0
        #: Whether messages have waited without a break since a measurement began.
        self.measuring = False
        self._since = 0.0
        self._from = 0
        self._rate = 0.0
        self._measured_at = float("-inf")

    def begin(self, now: float) -> None:
        """Begin to measure, if that has not begun: messages wait and may be sent."""
        if not self.measuring:
            self.measuring, self._since, self._from = True, now, self.settled

    def stop(self) -> None:
        """Measure no longer: nothing may be sent."""
        self.measuring = False

    def drained(self, now: float) -> None:
        """Measure no longer, for nothing waits any more: it cannot be slower than it was in the end."""
        if self.measuring:
            self._rate = max(self._rate, (self.settled - self._from) / max(now - self._since, SPAN))
        self.measuring = False

    def forget(self) -> None:
        """Know nothing any more: what was measured while sends failed says nothing of later."""
        self.measuring, self._measured_at = False, float("-inf")

    def look(self, now: float) -> None:
        """Take a measurement that has lasted long enough and begin the next; from time to time."""
        if not self.measuring:
            return
        span, settled = now - self._since, self.settled - self._from
        if span < SPAN or (settled < self._slots and span < LONGEST_SPAN):
            return
        sample = settled / span
        fresh = now - self._measured_at <= STALE
        self._rate = WEIGHT * sample + (1.0 - WEIGHT) * self._rate if fresh else sample
        self._measured_at, self._since, self._from = now, now, self.settled

    def rate(self, now: float) -> float:
        """Return what the channel can settle per second at most, as far as is known; infinite where nothing is.

        Before the first measurement, and against a sudden change: what was settled since it began, and as many more
        as may be under way, in the time that took.
        """
        most = float("inf")
        if self.measuring and now > self._since:
            most = (self.settled - self._from + self._slots) / (now - self._since)
        return min(self._rate, most) if now - self._measured_at <= STALE else most
