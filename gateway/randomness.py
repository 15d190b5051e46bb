"""Randomness from the operating system, fetched in blocks.

A call of ``os.urandom`` gives up the interpreter's lock, and beside a busy thread it takes many times its own time to
get it back; a message needs ten of them. Nor does a block cost much to take from: 0.2 µs, by a reader that knows its place.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable

#: Bytes fetched at once.
BLOCK = 4096
_WORD = 1 << 64


class _Block(threading.local):
    """Reads what a thread has fetched and not handed out yet: no two threads share any of it."""

    read: Callable[[int], bytes] = io.BytesIO().read


_block = _Block()


def random_bytes(number: int) -> bytes:
    """Return that many bytes, at most ``BLOCK``, none of them handed out before."""
    found = _block.read(number)
    if len(found) < number:
        _block.read = io.BytesIO(os.urandom(BLOCK)).read
        found = _block.read(number)
    return found


def random_below(limit: int) -> int:
    """Return a number from 0 to ``limit`` - 1, ``limit`` up to 2⁶⁴, every one as likely as any other."""
    # What lies above the last whole multiple of the limit would make the small numbers likelier. Few words come near it.
    while (number := int.from_bytes(random_bytes(8))) >= _WORD - limit and number >= _WORD - _WORD % limit:
        pass
    return number % limit


def _forget() -> None:
    _block.read = io.BytesIO().read


# Two processes must never hand out the same bytes.
os.register_at_fork(after_in_child=_forget)
