"""When to try again: pure functions of what is left of the code, the channel's share and the attempts."""

from __future__ import annotations

from dataclasses import dataclass

#: Attempts per channel.
MAX_TRIES = 4
#: Seconds a channel has in all while another follows it on the route.
CHANNEL_SHARE = 8.0
#: Seconds: the first backoff, and the longest.
BACKOFF_BASE = 1.0
BACKOFF_CAP = 15.0
#: Attempts of a message that may end without an answer; the last of them is not repeated on this channel. One whose node
#: died counts as such, and is itself always given back: only that an answer was lost is a reason to send nothing more.
MAX_UNKNOWNS = 2
#: Seconds a provider has to report what became of an attempt whose answer was lost, before it is made again.
REPORT_WAIT = 3.0
#: Seconds of the channel's share that the repeat of such an attempt must be left: with less it would only be cut off.
REPEAT_TIME = 1.0
#: Seconds of that wait at least: half of the shortest backoff is not worth a second request.
LEAST_WAIT = 0.5


def backoff(tries: int, jitter: float) -> float:
    """Return the seconds to wait after that many failed tries (1 …), for a ``jitter`` in 0 … 1.

    Exponential, and scaled into the upper half of its value, so that what failed together does not return together.
    """
    return min(BACKOFF_CAP, BACKOFF_BASE * 2.0 ** (tries - 1)) * (0.5 + jitter / 2)


def min_life(ttl: float) -> float:
    """Return the seconds a code must still live for a retry or a fallback to be worth sending.

    A first attempt needs only an unexpired code.
    """
    return min(30.0, ttl / 4)


@dataclass(frozen=True, slots=True)
class Budget:
    """What a message has left."""

    #: Seconds since the Unix epoch.
    now: float
    #: Tries made on this channel.
    tries: int
    #: When the code dies.
    expires_at: float
    #: Seconds the code lived at its birth.
    ttl: float
    #: When the channel's share ends; ``None`` where no channel follows.
    share_ends_at: float | None
    #: Of those tries, the earlier ones whose answer was lost.
    unknowns: int = 0
    #: How the last one ended: ``AttemptOutcome``.
    outcome: str = "transient"
    #: Whether the provider reports later what became of an attempt.
    reports: bool = False

    @property
    def alive(self) -> bool:
        """Whether the code lives long enough for a retry or a fallback now."""
        return self.now + min_life(self.ttl) <= self.expires_at

    def next_try(self, *, jitter: float, retry_after: float | None) -> float | None:
        """Return when to try again on this channel, or ``None`` to move on.

        What the provider asked for outranks the backoff; a wait that outlives the code or the channel's share
        is not waited for. A lost answer is followed by one more try, after the time a report may take.
        """
        if self.tries >= MAX_TRIES or self.outcome == "permanent":
            return None
        due = self.now + max(backoff(self.tries, jitter), retry_after or 0.0)
        if self.outcome == "unknown":
            if self.unknowns + 1 >= MAX_UNKNOWNS:
                return None
            if self.reports:
                due = self._after_reports()
                if due < self.now + LEAST_WAIT:
                    return None
        if due > self.expires_at - min_life(self.ttl):
            return None
        if self.share_ends_at is not None and due >= self.share_ends_at:
            return None
        return due

    def _after_reports(self) -> float:
        """Return when a report has had its time to come; that is short where the code or the channel's share is."""
        due = min(self.now + REPORT_WAIT, self.expires_at - min_life(self.ttl))
        return due if self.share_ends_at is None else min(due, self.share_ends_at - REPEAT_TIME)


def attempt_time(*, timeout: float, now: float, expires_at: float, share_ends_at: float | None) -> float:
    """Return the seconds one attempt may take: never past the channel's share or the code's death."""
    left = min(timeout, expires_at - now)
    return left if share_ends_at is None else min(left, share_ends_at - now)
