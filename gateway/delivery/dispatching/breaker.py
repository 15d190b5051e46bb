"""A channel's breaker: whether it may be sent by at all, from how its last sends ended. Pure: time is passed in.

::

    ok ──(half of 20 answers in 30 s fail)─→ open ──(10 s)─→ probing ──(works)─→ ramping ──(9 s)─→ ok
                                              ↑                 │                  │
                                              └─────(fails)─────┴──────────────────┘
    any ──(credentials or settings refused)─→ stopped ──(one probe a minute works)─→ ramping

Each node has its own for each channel, in memory: what one node cannot reach, another may.
"""

from __future__ import annotations

from enum import Enum, StrEnum, auto
from typing import Final

#: Seconds whose answers are judged together, and into how many parts they are divided to be forgotten.
WINDOW: Final = 30.0
PARTS: Final = 10
#: Answers that say enough, and the part of them that must have failed.
ENOUGH: Final = 20
FAILING: Final = 0.5
#: Seconds without a send before one is tried.
OPEN_TIME: Final = 10.0
#: Seconds between two tries by a channel that is stopped.
STOP_TIME: Final = 60.0
#: The part of its concurrency and rate that a channel begins with once it works again, also what it gains a second.
RAMP: Final = 0.1


class State(StrEnum):
    """Where a channel stands, in the words of readiness and metrics."""

    OK = "ok"
    #: Too many sends failed: none is made.
    OPEN = "open"
    #: One send is under way, to see whether it works again.
    PROBING = "probing"
    #: It works again, and is given more from second to second.
    RAMPING = "ramping"
    #: Its credentials, sender or settings are refused: one send a minute is tried.
    STOPPED = "stopped"
    #: Its provider asked to wait. No state of a breaker: what a channel shows that is otherwise well.
    PAUSED = "paused"


class Verdict(Enum):
    """What the answer to one send says of the channel."""

    #: The provider is there and took our credentials, whatever it thinks of the recipient.
    WORKED = auto()
    #: It cannot be reached, does not answer, or answers with a fault of its own.
    FAILED = auto()
    #: It refuses our credentials, sender or settings.
    REFUSED = auto()
    #: Nothing: nothing was sent, or the provider asked to wait.
    SILENT = auto()


class Entry(Enum):
    """Whether a send may be made."""

    FREE = auto()
    #: It may, and decides for all others: ``record`` or ``abandon`` must follow.
    PROBE = auto()
    REFUSED = auto()


class Change(Enum):
    """What became of a channel."""

    OPENED = auto()
    CLOSED = auto()
    STOPPED = auto()
    RESUMED = auto()


class _Window:
    """How many answers of the last ``WINDOW`` seconds there were, and how many failed."""

    def __init__(self) -> None:
        self.answers = 0
        self.failures = 0
        self._parts = [[0, 0] for _ in range(PARTS)]
        self._current = 0

    def add(self, now: float, *, failed: bool) -> None:
        """Count an answer."""
        part = int(now * PARTS / WINDOW)
        if part != self._current:
            self._forget(part)
        counts = self._parts[part % PARTS]
        counts[0] += 1
        self.answers += 1
        if failed:
            counts[1] += 1
            self.failures += 1

    def clear(self) -> None:
        """Forget every answer."""
        self.answers = self.failures = 0
        for counts in self._parts:
            counts[:] = (0, 0)

    def _forget(self, part: int) -> None:
        for old in range(max(self._current + 1, part - PARTS + 1), part + 1):
            counts = self._parts[old % PARTS]
            self.answers -= counts[0]
            self.failures -= counts[1]
            counts[:] = (0, 0)
        self._current = part


class Breaker:
    """One channel's. All times are monotonic seconds."""

    def __init__(self) -> None:
        self.state = State.OK
        #: Whether there is nothing to ask: every send may be made.
        self.calm = True
        #: When the next probe may be made.
        self.probe_at = 0.0
        self._probing = False
        self._ramps_since = 0.0
        self._window = _Window()

    def admit(self, now: float) -> Entry:
        """Say whether a send may be made now."""
        if self.calm:
            return Entry.FREE
        if self.state is State.RAMPING:
            # Asked for its end, which nothing else would notice.
            self.part(now)
            return Entry.FREE
        if self._probing or now < self.probe_at:
            return Entry.REFUSED
        self._probing = True
        if self.state is State.OPEN:
            self.state = State.PROBING
        self.probe_at = now + (STOP_TIME if self.state is State.STOPPED else OPEN_TIME)
        return Entry.PROBE

    def refuses(self, now: float) -> bool:
        """Whether ``admit`` would refuse a send."""
        if self.calm or self.state is State.RAMPING:
            return False
        return self._probing or now < self.probe_at

    def wait(self, now: float) -> float:
        """Return the seconds until the next probe may be made; 0 where a send may be made now."""
        return self.probe_at - now if self.refuses(now) and now < self.probe_at else 0.0

    def part(self, now: float) -> float:
        """Return how much of its concurrency and rate the channel may use, up to 1."""
        if self.state is not State.RAMPING:
            return 1.0
        part = RAMP + RAMP * (now - self._ramps_since)
        if part < 1.0:
            return part
        self._become(State.OK)
        return 1.0

    def record(self, verdict: Verdict, now: float, *, probe: bool = False) -> Change | None:
        """Take in how a send ended; return what that changed, if anything."""
        if probe:
            return self._probed(verdict, now)
        if verdict is Verdict.REFUSED:
            return None if self.state is State.STOPPED else self._stop(now)
        if verdict is Verdict.SILENT or not (self.calm or self.state is State.RAMPING):
            # What was under way when it opened says nothing new.
            return None
        window = self._window
        window.add(now, failed=verdict is Verdict.FAILED)
        if window.answers >= ENOUGH and window.failures >= window.answers * FAILING:
            self._open(now)
            return Change.OPENED
        return None

    def abandon(self, now: float) -> None:
        """Take back a probe that was not made: the next send may be it."""
        self._probing = False
        if self.state is State.PROBING:
            self._become(State.OPEN)
        self.probe_at = now

    def _probed(self, verdict: Verdict, now: float) -> Change | None:
        stopped = self.state is State.STOPPED
        if verdict is Verdict.SILENT and not stopped:
            self.abandon(now)
            return None
        self._probing = False
        if verdict is Verdict.WORKED:
            self._ramps_since = now
            self._become(State.RAMPING)
            return Change.RESUMED if stopped else Change.CLOSED
        if stopped:
            self.probe_at = now + STOP_TIME
            return None
        if verdict is Verdict.REFUSED:
            return self._stop(now)
        self._open(now)
        return None

    def _open(self, now: float) -> None:
        self.probe_at = now + OPEN_TIME
        self._become(State.OPEN)

    def _stop(self, now: float) -> Change:
        self.probe_at = now + STOP_TIME
        self._become(State.STOPPED)
        return Change.STOPPED

    def _become(self, state: State) -> None:
        self.state = state
        self.calm = state is State.OK
        if state is not State.OK:
            self._window.clear()
