"""Ids: prefixed, unguessable, and sorted by the order they were made in."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from gateway.randomness import random_bytes

#: Returns that many random bytes; ``random_bytes`` outside tests.
RandomBytes = Callable[[int], bytes]

_count = itertools.count()
_64_BITS = (1 << 64) - 1


def new_id(prefix: str, now: float, random: RandomBytes = random_bytes) -> str:
    """Return ``<prefix>_`` and 36 hexadecimal digits: 48 bits of milliseconds, 16 of a counter, 80 random ones.

    The time in front keeps an index's newest rows together and lets a list page by id; the counter orders what one
    process makes within a millisecond; 80 random bits are beyond guessing.
    """
    return f"{prefix}_{(int(now * 1000) << 16 | next(_count) & 0xFFFF) & _64_BITS:016x}{random(10).hex()}"
