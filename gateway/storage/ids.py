"""Ids: prefixed, unguessable, and sorted by the order they were made in."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Final

from gateway.randomness import random_bytes

#: Returns that many random bytes; ``random_bytes`` outside tests.
RandomBytes = Callable[[int], bytes]

_count = itertools.count()
_16_BITS = (1 << 16) - 1
_48_BITS = (1 << 48) - 1


def new_id(prefix: str, now: float, random: RandomBytes = random_bytes) -> str:
    """Return ``<prefix>_`` and 36 hexadecimal digits: 48 bits of milliseconds, 16 of a counter, 80 random ones.

    The time in front keeps an index's newest rows together and lets a list page by id; the counter orders what one
    process makes within a millisecond; 80 random bits are beyond guessing.
    """
    return f"{prefix}_{_moment(now)}{((next(_count) & _16_BITS).to_bytes(2) + random(10)).hex()}"


def least_id(prefix: str, at: float) -> str:
    """Return what every id that was made at ``at`` or after it is above."""
    return f"{prefix}_{_milliseconds(at)}"


def _moment(now: float) -> str:
    # A request's ids, of which there are half a dozen, are all of its moment.
    at, text = _latest[0]
    if at != now:
        text = _milliseconds(now)
        _latest[0] = now, text
    return text


def _milliseconds(now: float) -> str:
    return f"{int(max(now, 0.0) * 1000) & _48_BITS:012x}"


#: The moment that was asked for last, in one piece: a thread sees all of it or none.
_latest: Final = [(0.0, _milliseconds(0.0))]
