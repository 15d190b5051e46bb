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

    @property
    def alive(self) -> bool:
        """Whether the code lives long enough for a retry or a fallback now."""
        return self.now + min_life(self.ttl) <= self.expires_at

    def next_try(self, *, jitter: float, retry_after: float | None) -> float | None:
        """Return when to try again on this channel, or ``None`` to move on.

        What the provider asked for outranks the backoff; a wait that outlives the code or the channel's share
        is not waited for.
        """
        if self.tries >= MAX_TRIES:
            return None
        due = self.now + max(backoff(self.tries, jitter), retry_after or 0.0)
        if due + min_life(self.ttl) > self.expires_at:
            return None
        if self.share_ends_at is not None and due >= self.share_ends_at:
            return None
        return due


def attempt_time(*, timeout: float, now: float, expires_at: float, share_ends_at: float | None) -> float:
    """Return the seconds one attempt may take: never past the channel's share or the code's death."""
    left = min(timeout, expires_at - now)
    return left if share_ends_at is None else min(left, share_ends_at - now)
