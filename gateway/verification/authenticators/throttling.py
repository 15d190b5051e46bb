"""How often a person may fail at their authenticators: in pure Python, the counting in SQL is in ``statements``.

All checks of a person (service and reference) come one after the other, and none is compared while a lock runs: so
however many ask at once, no more is compared than may be. Failures count together over all authenticators of a person,
deleted ones too. A right answer takes back those at its own authenticator: else who has one could guess at another for
ever, with a right answer between. What nobody takes back counts for a day.

Worst case: 11 tries in the first hour, until locks are the longest, then one an hour: 33 a day. Of a million codes three
are right at a time (TOTP), or eleven (HOTP): a chance of 1.0e-4 and 3.6e-4 a day, below the 1e-3 that codes which are
sent may have.
"""

from __future__ import annotations

from gateway.errors import RateLimited

#: What the limit is called in answers, metrics and logs.
LIMIT = "authenticator"
#: Failures in a row before the first lock.
FREE = 5
#: Seconds of the first lock; each further failure doubles it.
FIRST_LOCK = 60.0
#: Seconds of a lock at most.
LONGEST_LOCK = 3600.0
#: Seconds after the last failure at an authenticator in which those at it count.
REMEMBERED = 86_400.0

#: Doublings after which a lock is the longest anyway: a count has no end, and a float's exponent has.
_DOUBLINGS = 16


def lock_seconds(failures: int) -> float:
    """Return for how many seconds nothing is compared after so many failures in a row; 0.0 for not at all."""
    if failures < FREE:
        return 0.0
    return min(FIRST_LOCK * 2.0 ** min(failures - FREE, _DOUBLINGS), LONGEST_LOCK)


def checks_left(failures: int) -> int:
    """Return how many more wrong answers stand before a lock; 0 where it has begun."""
    return max(FREE - failures, 0)


def refusal(locked_until: float, failures: int, now: float) -> RateLimited:
    """Return the refusal while a lock runs; times in seconds since the Unix epoch."""
    left = locked_until - now
    seconds = max(1, -int(-left // 1))
    return RateLimited(
        f"too many wrong codes; again in {seconds} s",
        retry_after=left,
        headers={
            "RateLimit-Policy": f'"{LIMIT}";q={FREE};w={int(lock_seconds(failures))}',
            "RateLimit": f'"{LIMIT}";r=0;t={seconds}',
        },
        limit=LIMIT,
    )
