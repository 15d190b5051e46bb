"""Checkpoints while writing goes on: SQLite's log is copied into the file by a thread, and ended by the writer.

Left to itself SQLite copies the log in the middle of a commit, each time that it has a thousand pages: whoever waits for
that commit waits for the copying and its fsync too, and a page that many commits write is copied again and again. Here
nobody waits for the most of it, and the log is several times as long before it is copied (sqlite.org/wal.html#ckpt).

Nothing of this package is imported here: the process that writes beside us has no use for it (``sqlite_child``).
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Final

#: Rows written from one copy to the next; the log then has some 0.6 pages of 4 KiB for each, 30 MiB.
ROWS: Final = 12_000
#: Pages of the log from which on SQLite copies by itself after all, in the middle of a commit: 120 MiB. For a disk that
#: copies more slowly than is written, and for what no row is counted of.
LAST_RESORT: Final = 30_000


class Checkpoints:
    """What one writing connection does for the log. ``connect`` opens another connection to the same file."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], rows: int = ROWS) -> None:
        self._connect = connect
        self._rows = rows
        self._copying: threading.Thread | None = None
        #: How many rows the writer had written when it was last begun.
        self._written = 0

    def due(self, writer: sqlite3.Connection) -> bool:
        """Whether there is something to do after the next commit, or something under way that keeps the disk busy."""
        return self._copying is not None or abs(writer.total_changes - self._written) >= self._rows

    def wrote(self, writer: sqlite3.Connection) -> None:
        """Do what is due after a commit: begin a copy, or end one. Called by whoever writes, outside any transaction.

        A fault is none of the commit's, which is on the disk: what was not copied stays in the log, to be copied the
        next time. The house-keeper copies it each minute too, and tells of a fault that lasts.
        """
        if self._copying is not None:
            if not self._copying.is_alive():
                self._copying = None
                # What was written during the copy: little, and no other writer comes between it and the next commit,
                # which begins the log anew.
                _copy(writer)
        elif abs(writer.total_changes - self._written) >= self._rows:
            self._written = writer.total_changes
            self._copying = _started(self._copy_beside)

    def close(self) -> None:
        """Wait for a copy that is under way."""
        if self._copying is not None:
            self._copying.join()
            self._copying = None

    def _copy_beside(self) -> None:
        with suppress(sqlite3.Error), closing(self._connect()) as connection:
            _copy(connection)


def _copy(connection: sqlite3.Connection) -> None:
    # It waits for no reader and no writer: it copies what it can.
    with suppress(sqlite3.Error):
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def _started(work: Callable[[], None]) -> threading.Thread | None:
    thread = threading.Thread(target=work, name="sqlite-checkpoint")
    try:
        thread.start()
    except RuntimeError:
        # The machine has no more threads.
        return None
    return thread
