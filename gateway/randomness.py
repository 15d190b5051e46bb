"""Random bytes from the operating system, fetched in blocks.

A call of ``os.urandom`` gives up the interpreter's lock, and beside a busy thread it takes many times its own time to
get it back; a message needs ten of them. Codes themselves do not come from here.
"""

from __future__ import annotations

import os
import threading

#: Bytes fetched at once.
BLOCK = 4096


class _Block(threading.local):
    """What a thread has fetched and not handed out yet: no two threads, and no fork, share any of it."""

    def __init__(self) -> None:
        self.process = 0
        self.rest = memoryview(b"")


_block = _Block()


def random_bytes(number: int) -> bytes:
    """Return that many bytes, at most ``BLOCK``, none of them handed out before: for ids, nonces and tokens."""
    if len(_block.rest) < number or _block.process != os.getpid():
        _block.process = os.getpid()
        _block.rest = memoryview(os.urandom(BLOCK))
    taken, _block.rest = _block.rest[:number], _block.rest[number:]
    return bytes(taken)
