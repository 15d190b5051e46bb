"""Commits on the event loop: a lone one is not handed to a thread while the disk has been quick.

To wake a thread of an idle gateway takes 0.15 ms and to come back from it 0.05, as long as a quick disk's fsync; a code that
nothing else accompanies waits for two commits, and is on its way 0.4 ms sooner (of 2.8, the disk not counted).

What is given up for it: a disk that begins to stall holds up the loop with one commit, and with it whatever else this
process does. After that one the thread waits, for the longer the longer that stall was.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import Final

#: Seconds that a commit may take to be called quick: what the loop can be held up for without anybody's noticing.
QUICK: Final = 0.001
#: Quick ones in a row after which the next is expected to be.
ENOUGH: Final = 8


class Quick:
    """What one writing connection's commits took. ``clock`` tells seconds."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        #: Quick ones in a row; below 0, how many it takes to make up for the last one that was not.
        self._streak = 0

    @property
    def expected(self) -> bool:
        """Whether the next commit may be waited for on the loop."""
        return self._streak >= ENOUGH

    def commit(self, writer: sqlite3.Connection) -> None:
        """Commit, here, and see how long it took. Raises ``sqlite3.Error``."""
        began = self._clock()
        try:
            writer.execute("COMMIT")
        finally:
            seconds = self._clock() - began
            # A stall of a second is paid with a thousand quick commits, so the loop stands for 1 ms a commit at most, on the
            # long average, whatever the disk does.
            self._streak = self._streak + 1 if seconds <= QUICK else -int(seconds / QUICK)
