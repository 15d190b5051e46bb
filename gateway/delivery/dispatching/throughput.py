"""Throughput: how many messages a channel settles per second on this node, measured while more wait than it can send.

What an idle channel settles says nothing of what it could. Nor does a standstill that is over (a disk or a database that
paused, a process that was stopped): a measurement it interrupted is begun anew when messages are settled again. A
provider that has become slow stands still as well, after each handful: so a second standstill counts that comes before
more was settled than may be under way at once.
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
#: Seconds without anything settled that are a standstill at least, and how many times as long as all slots take at the
#: known rate; and where none is known.
STANDSTILL: Final = 0.1
_LONGER: Final = 2.0
_UNKNOWN: Final = 0.25


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
        #: What was settled when it was last looked at, when that was first seen and when last.
        self._seen = 0
        self._seen_at = self._still_at = 0.0
        #: What was settled when it went on after the latest standstill.
        self._resumed_from = 0
        #: Whether the measurement was begun anew: once, or many short standstills would put it off for ever.
        self._anew = False

    @property
    def measured(self) -> float:
        """What was measured last, per second, however long ago; 0 where nothing was."""
        return self._rate

    def begin(self, now: float) -> None:
        """Begin to measure, if that has not begun: messages wait and may be sent."""
        if not self.measuring:
            self.measuring, self._anew, self._since, self._from = True, False, now, self.settled
            self._seen, self._seen_at, self._still_at = self.settled, now, now

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

    def watch(self, now: float) -> None:
        """See whether something was settled, and begin anew where that ends a standstill; before what is asked."""
        if self.settled == self._seen:
            self._still_at = now
            return
        if self.measuring and self._interrupted(now):
            self._resumed_from = self.settled
            if not self._anew:
                self._anew, self._since, self._from = True, now, self.settled
        self._seen, self._seen_at, self._still_at = self.settled, now, now

    def stands_still(self, now: float) -> float:
        """Return how many seconds a channel whose rate is known has been standing still; 0 where it goes on."""
        still = self.measuring and self._is_known(now) and self._interrupted(now)
        return self._still_at - self._seen_at if still else 0.0

    def look(self, now: float) -> None:
        """Take a measurement that has lasted long enough and begin the next; from time to time."""
        self.watch(now)
        span, settled = now - self._since, self.settled - self._from
        if not self.measuring or span < SPAN or (settled < self._slots and span < LONGEST_SPAN):
            return
        if self._interrupted(now) and not self._anew:
            # What is known holds again when it goes on. Till then ``rate`` is bounded by how long it has lasted.
            return
        sample = settled / span
        self._rate = WEIGHT * sample + (1.0 - WEIGHT) * self._rate if self._is_known(now) else sample
        self._measured_at, self._anew, self._since, self._from = now, False, now, self.settled

    def rate(self, now: float) -> float:
        """Return what the channel can settle per second at most, as far as is known; infinite where nothing is.

        Before the first measurement, and against a sudden change: what was settled since it began, and as many more
        as may be under way, in the time that took.
        """
        most = float("inf")
        if self.measuring and now > self._since:
            most = (self.settled - self._from + self._slots) / (now - self._since)
        if now - self._measured_at > STALE or (not self._rate and self.settled > self._from):
            return most
        return min(self._rate, most)

    def _is_known(self, now: float) -> bool:
        """Whether a rate was measured that is neither of long ago nor that of a dead channel."""
        return self._rate > 0.0 and now - self._measured_at <= STALE

    def _interrupted(self, now: float) -> bool:
        """Whether nothing was seen settled for longer than a while, after more than what may be under way at once."""
        least = max(STANDSTILL, _LONGER * self._slots / self._rate) if self._is_known(now) else _UNKNOWN
        return self._still_at - self._seen_at > least and self._seen - self._resumed_from > self._slots
