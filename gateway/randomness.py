"""Randomness from the operating system, fetched in blocks.

A call of ``os.urandom`` gives up the interpreter's lock, and beside a busy thread it takes many times its own time to
get it back; a message needs ten of them.
"""

from __future__ import annotations

import os
import threading

#: Bytes fetched at once.
BLOCK = 4096
_WORD = 1 << 64


class _Block(threading.local):
    """What a thread has fetched and not handed out yet: no two threads share any of it."""

    bytes = b""
    used = 0


_block = _Block()


def random_bytes(number: int) -> bytes:
    """Return that many bytes, at most ``BLOCK``, none of them handed out before."""
    start = _block.used
    end = start + number
    if end > len(_block.bytes):
        _block.bytes, start, end = os.urandom(BLOCK), 0, number
    _block.used = end
    return _block.bytes[start:end]


def random_below(limit: int) -> int:
    """Return a number from 0 to ``limit`` - 1, ``limit`` up to 2⁶⁴, every one as likely as any other."""
    # What lies above the last whole multiple of the limit would make the small numbers likelier.
    whole = _WORD - _WORD % limit
    while (number := int.from_bytes(random_bytes(8))) >= whole:
        pass
    return number % limit


def _forget() -> None:
    _block.bytes, _block.used = b"", 0


# Two processes must never hand out the same bytes.
os.register_at_fork(after_in_child=_forget)
