"""When a webhook is tried again: a pure function of its tries and what the receiver asked for."""

from __future__ import annotations

from typing import Final

#: Seconds before each try, counted from the one before (Standard Webhooks 1.0.0, "Deliverability and reliability").
DELAYS: Final = (0.0, 5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
#: The part of a delay that chance adds at most: what failed together does not return together.
JITTER: Final = 0.1
#: Seconds a receiver's ``Retry-After`` may ask for at most: the longest delay of the schedule.
MAX_RETRY_AFTER: Final = DELAYS[-1]


def next_try(tries: int, now: float, *, retry_after: float | None, jitter: float) -> float | None:
    """Return when to try again after that many tries (1 …), or ``None`` after the last.

    ``now`` is in seconds since the Unix epoch, ``retry_after`` in seconds, ``jitter`` in 0 … 1. What the receiver asked
    for makes a delay longer, never shorter.
    """
    if tries >= len(DELAYS):
        return None
    asked = min(retry_after or 0.0, MAX_RETRY_AFTER)
    return now + max(DELAYS[tries] * (1.0 + JITTER * jitter), asked)
