"""SQLite's write-ahead log, emptied into the file: what was wiped is then gone from the disk, and the log short.

``secure_delete`` overwrites what is deleted in the file's pages, and those go into the log first: codes wiped long ago
can still be read there until it is cut off.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from gateway.housekeeping.house import Duty, Sleep
from gateway.storage.sqlite import connect
from gateway.storage.sqlite_file import log_of
from gateway.storage.unit import StorageError

_log = logging.getLogger(__name__)

#: Seconds between two looks at the log.
EVERY: Final = 60.0
#: Seconds it may keep writers waiting for a reader who is still at an old state; then it is tried again later.
PATIENCE: Final = 0.02
#: Tries at emptying it for somebody who waits for that, and seconds between them.
TRIES: Final = 40
PAUSE: Final = 0.05
#: Bytes of a log that somebody should know of: a reader holds it open for minutes.
LARGE: Final = 256 * 1024 * 1024


class Checkpoint:
    """Empties the log of the database at ``path``, on a connection of its own and in a thread.

    ``away`` says whether the database is known to be away: then a failure has its cause in the log already.
    """

    def __init__(self, path: Path, *, away: Callable[[], bool] = lambda: False) -> None:
        self._path = path
        self._away = away
        self._log = log_of(path)

    def duty(self) -> Duty:
        """Return it for the house-keeper."""
        return Duty("checkpoint", self.empty, EVERY)

    async def empty(self) -> int:
        """Copy the log into the file and cut it off, unless nothing was written; there is never more to do at once.

        Raises ``StorageError``.
        """
        if self._size():
            await asyncio.to_thread(self._empty)
        if (left := self._size()) > LARGE:
            _log.warning("SQLite's log has %d MiB: something has been reading for long", left // 2**20)
        return 0

    async def clear(self, *, tries: int = TRIES, sleep: Sleep = asyncio.sleep) -> bool:
        """Have all that was written by now leave the log; return whether that came about.

        Who reads for long, or another process that writes without a pause, puts it off: then the duty does it later.
        Raises ``StorageError``.
        """
        for number in range(tries):
            if number:
                await sleep(PAUSE)
            if not self._size() or await asyncio.to_thread(self._empty):
                return True
        return False

    def _empty(self) -> bool:
        try:
            with closing(connect(self._path, PATIENCE)) as connection:
                # First what holds up nobody: copying and its fsync. The rest, with the writers' lock, is short then.
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                [busy, *_] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            # SQLite's texts hold no values.
            failed = StorageError(f"SQLite: {error}")
            failed.told = self._away()
            raise failed from None
        return not busy

    def _size(self) -> int:
        try:
            return self._log.stat().st_size
        except FileNotFoundError:
            return 0
